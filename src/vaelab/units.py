"""Weights of the KL as other tools count them, in nats beside −log p(x|z) of a unit-variance Gaussian."""

import copy
import math
from collections.abc import Callable
from typing import Any, Literal

from omegaconf import DictConfig

from vaelab import UsageError
from vaelab.names import choice_of

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


def in_nats(cfg: DictConfig, network: Any, image_shape: tuple[int, int, int]) -> DictConfig:
    """A configuration with λ in nats for the weight of another tool, of this network and images (C, H, W).

    Raises UsageError where the weight would stand beside another error than there, or beside none.
    """
    unit: Unit = cfg.kl_weight_unit
    if unit == "nats":
        return cfg
    given = f"kl_weight_unit={unit}"
    if choice_of("regulariser", str((cfg.get("regulariser") or {}).get("_target_"))) != "kl":
        raise UsageError(f"{given} is a weight of the KL: take a loss with regulariser=kl")
    if cfg.loss.get("reduction", "sum") != "sum":
        raise UsageError(
            f"{given} says how the error is reduced: leave loss.reduction={cfg.loss.reduction} out"
        )
    likelihood = choice_of("likelihood", str(cfg.likelihood.get("_target_")))
    if likelihood != "gaussian" or cfg.likelihood.sigma != 1:
        raise UsageError(
            f"{given} is a weight beside a squared error: take likelihood=gaussian, whose sigma is 1"
        )
    converted = copy.deepcopy(cfg)
    values, units = math.prod(image_shape), math.prod(network.code_shape)
    converted.regulariser.kl_weight = cfg.regulariser.kl_weight * FACTORS[unit](values, units)
    return converted
