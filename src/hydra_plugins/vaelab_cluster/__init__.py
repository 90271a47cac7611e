"""Launchers of vae-sweep for clusters, each on the engine's own interface."""
