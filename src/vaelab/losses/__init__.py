"""What is minimised: a loss yields the turns of its players, as named terms in nats per image."""

from vaelab.losses.adversarial import Adversarial
from vaelab.losses.base import Loss, Terms, Turn
from vaelab.losses.elbo import (
    ELBO,
    Reconstruction,
    Reduction,
    bernoulli_nll,
    gaussian_kl,
    gaussian_nll,
    stack,
)

__all__ = [
    "ELBO",
    "Adversarial",
    "Loss",
    "Reconstruction",
    "Reduction",
    "Terms",
    "Turn",
    "bernoulli_nll",
    "gaussian_kl",
    "gaussian_nll",
    "stack",
]
