"""Somebody else's VAE: a checkpoint of another tool, measured into a run folder as one's own are."""
