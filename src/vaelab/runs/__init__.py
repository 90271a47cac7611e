"""A run: its folder and what is in it, the request for one, its performance, and the Python door to it."""
