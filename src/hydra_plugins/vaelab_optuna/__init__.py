"""The search of vae-sweep: hydra/sweeper=optuna."""
