"""The training of one run: its loop, its step and how that is captured, its state."""
