"""Weights of the KL as other tools count them, in nats beside −log p(x|z) of a unit-variance Gaussian."""

from collections.abc import Callable
from typing import Literal

Unit = Literal[
    "nats", "mean_mse", "tanh_mse", "pythae", "pytorch_vae", "bolts", "disentangling_vae", "diffusers"
]

# Each loss times a number is half the summed squared error of images in [0, 1] and λ · KL; `values` are those of an
# image, `units` those of its code.
FACTORS: dict[Unit, Callable[[int, int], float]] = {
    "nats": lambda values, units: 1.0,
    "mean_mse": lambda values, units: values / 2,  # mean squared error + w · KL
    "tanh_mse": lambda values, units: values / 8,  # the same of images in [-1, 1], four times as large
    "pythae": lambda values, units: 1.0,  # half the summed squared error + β · KL
    "pytorch_vae": lambda values, units: values / 2,  # AntixK's: mean squared error + w · KL
    "bolts": lambda values, units: values / (2 * units),  # mean squared error + c · mean over units of the KL
    "disentangling_vae": lambda values, units: 1 / 510,  # summed squared error of 0 to 255, by 255, + β · KL
    "diffusers": lambda values, units: 0.5,  # summed squared error + λ · KL
}


def in_nats(kl_weight: float, unit: Unit, values: int, units: int) -> float:
    """λ for a weight that another tool has, of images of so many values and codes of so many units."""
    return kl_weight * FACTORS[unit](values, units)
