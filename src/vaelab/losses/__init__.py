"""What is minimised: a loss yields the turns of its players, as named terms in nats per image."""

from vaelab.losses import likelihoods, regularisers
from vaelab.losses.adversarial import Adversarial
from vaelab.losses.base import Loss, Terms, Turn
from vaelab.losses.conditioned import Conditioned
from vaelab.losses.elbo import ELBO, Reconstruction
from vaelab.losses.iwae import IWAE
from vaelab.losses.likelihoods import Likelihood, Reduction
from vaelab.losses.regularisers import Regulariser

BUILDABLE = (
    ELBO,
    IWAE,
    Adversarial,
    Conditioned,
    Reconstruction,
)  # what a configuration may name as _target_

__all__ = [
    "BUILDABLE",
    "ELBO",
    "IWAE",
    "Adversarial",
    "Conditioned",
    "Likelihood",
    "Loss",
    "Reconstruction",
    "Reduction",
    "Regulariser",
    "Terms",
    "Turn",
    "likelihoods",
    "regularisers",
]
