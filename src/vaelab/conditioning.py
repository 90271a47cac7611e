"""kl_weight=conditioned: a network that is told λ, and the loss that draws it, from a configuration"""

import copy
from typing import Any

from omegaconf import DictConfig

from vaelab import UsageError
from vaelab.keys import CONDITIONED
from vaelab.models import VAE, ConditionedVAE, ImageShape, LinearVAE
from vaelab.names import choice_of

GIVEN = f"kl_weight={CONDITIONED}"
OF_ONE = {
    "schedule": "constant",
    "free_bits": None,
    "capacity": None,
    "target": None,
}  # what is said of one λ alone


def at_one_weight(cfg: DictConfig) -> DictConfig:
    """A configuration whose λ is a number: where the network is told λ that of kl_weight_at, and the loss is its own.

    Raises UsageError where there is no KL whose λ each image could have for itself.
    """
    if cfg.get("kl_weight") != CONDITIONED:
        return cfg
    _refuse(cfg)
    converted = copy.deepcopy(cfg)
    converted.kl_weight = converted.regulariser.kl_weight = cfg.kl_weight_at
    converted.loss._target_ = "vaelab.losses.Conditioned"
    return converted


def conditioned(cfg: DictConfig, network: Any, image_shape: ImageShape) -> Any:
    """The network, told λ where that is asked for; raises UsageError for one that cannot be."""
    if cfg.get("kl_weight") != CONDITIONED:
        return network
    if type(network) not in (VAE, LinearVAE):  # others have more than an encoder and a decoder to be told
        raise UsageError(
            f"{GIVEN} is for fc_vae, conv_vae, resnet_vae, spatial_vae and linear_vae: "
            f"model={choice_of('model', str(cfg.model._target_))} takes one λ"
        )
    if getattr(network, "init", "random") != "random":
        raise UsageError(f"model.init={network.init} is the optimum of one λ: leave it out with {GIVEN}")
    low, high = cfg.kl_weight_range
    return ConditionedVAE(network, image_shape, (low, high), cfg.kl_weight_at)


def _refuse(cfg: DictConfig) -> None:
    regulariser = cfg.get("regulariser") or {}
    if choice_of("regulariser", str(regulariser.get("_target_"))) != "kl":
        raise UsageError(f"{GIVEN} gives each image a λ of its KL: take a loss with regulariser=kl")
    if choice_of("loss", str(cfg.loss.get("_target_"))) != "elbo":
        raise UsageError(f"{GIVEN} gives each image a λ of its own: take loss=elbo")
    if cfg.kl_weight_unit != "nats":
        raise UsageError(f"{GIVEN} counts in nats: leave kl_weight_unit={cfg.kl_weight_unit} out")
    if (own := regulariser.get("kl_weight")) != CONDITIONED:
        raise UsageError(f"regulariser.kl_weight={own} is one λ: leave it out with {GIVEN}")
    for key, value in OF_ONE.items():
        if regulariser.get(key) != value:
            raise UsageError(f"regulariser.{key}={regulariser[key]} is for one λ: leave it out with {GIVEN}")
    bounds, at = list(cfg.kl_weight_range), cfg.kl_weight_at
    if len(bounds) != 2 or bounds[0] > bounds[1]:
        raise UsageError(f"kl_weight_range={bounds} is no range: give [LOWEST,HIGHEST], as [0.01,100]")
    asked = {"kl_weight_at": [at]} | {
        f"evaluation.{name}.kl_weights": list(one.get("kl_weights") or [])
        for name, one in (cfg.get("evaluation") or {}).items()
    }
    for key, weights in asked.items():
        for weight in weights:
            if not bounds[0] <= weight <= bounds[1]:
                raise UsageError(
                    f"{key}={weight:g} is outside of kl_weight_range={bounds}: give λ of the range"
                )
