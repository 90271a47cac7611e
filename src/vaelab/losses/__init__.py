"""What is minimised: a loss yields the turns of its players, as named terms in nats per image."""

from vaelab.losses.adversarial import Adversarial
from vaelab.losses.base import Loss, Terms, Turn
from vaelab.losses.elbo import (
    ELBO,
    Reconstruction,
    Reduction,
    bernoulli_nll,
    gaussian_nll,
)

BUILDABLE = (ELBO, Adversarial, Reconstruction)  # what a configuration may name as _target_

__all__ = [
    "BUILDABLE",
    "ELBO",
    "Adversarial",
    "Loss",
    "Reconstruction",
    "Reduction",
    "Terms",
    "Turn",
    "bernoulli_nll",
    "gaussian_nll",
]
