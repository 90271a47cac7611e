"""How the codes of the test images are spread: the moments that several evaluations read."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vaelab import metrics
from vaelab.evaluations.base import Context, encoded

SEED = 0  # of the draws that the KL of some codes is an average over


@dataclass(frozen=True)
class Moments:
    """Of the flattened codes of d dimensions, over the test split, each (d,) in float64."""

    mean: Tensor
    mean_variance: Tensor  # of the posterior means, or of an autoencoder's codes
    aggregate_variance: Tensor  # of the mixture of all posteriors; an autoencoder's is mean_variance
    kl: Tensor | None  # mean KL to the prior in nats; None without one, or where its units are no dimensions

    @property
    def information(self) -> Tensor:
        """What orders dimensions, the most informative highest: the KL, or an autoencoder's variance."""
        return self.mean_variance if self.kl is None else self.kl

    @property
    def active(self) -> Tensor:
        """Which dimensions are active: their mean varies by more than 0.01 (Burda et al. 2016, section 5.2)."""
        return self.mean_variance > metrics.ACTIVE


def moments(context: Context) -> Moments:
    """The moments of the test split's codes, in one pass, for codes of any size."""
    images = 0
    total = squares = variance = torch.zeros((), dtype=torch.float64)
    kl: Tensor | None = None
    noise = context.noise(SEED)
    for _, code in encoded(context):
        mean = code.mean.flatten(1).double()
        images += len(mean)
        total, squares = total.to(mean.device) + mean.sum(0), squares.to(mean.device) + mean.square().sum(0)
        if code.variance is not None:
            variance = variance.to(mean.device) + code.variance.flatten(1).double().sum(0)
        nats = code.kl(code.sample(noise))
        if nats is not None:
            kl = nats.double().sum(0) + (0 if kl is None else kl)
    mean = total / images
    # In float64 the difference of squares loses nothing that float32 codes have.
    mean_variance = (squares / images - mean.square()).clamp_min(0)
    if kl is not None:
        kl = kl / images if kl.shape == mean.shape else None
    return Moments(mean, mean_variance, mean_variance + variance / images, kl)
