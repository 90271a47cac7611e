"""vaelab's own part of Hydra: the sweeper that knows finished runs, and the launcher that trains runs together."""
