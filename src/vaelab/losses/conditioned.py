"""The ELBO of a network that is told λ: each training image has a λ of its own."""

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from vaelab.losses.base import ImageBatch, Turn
from vaelab.losses.elbo import ELBO


class Conditioned(ELBO):
    """−log p(x|z) + λ · KL, where λ is drawn for each image and told to the network (Bae et al. 2022, equation 5).

    Held-out images have the one λ of the regulariser, which is that of the network, as the ELBO has it.
    """

    needs: ClassVar[str] = "kl_weights"

    def forward(self, model: Any, batch: ImageBatch, noise: torch.Generator) -> Iterator[Turn]:
        """One turn of the player "model", with the terms of an ELBO; in training kl_weight is the mean of the drawn."""
        if not self.training:
            yield from super().forward(model, batch, noise)
            return
        weights = log_uniform(model.kl_weights, len(batch.images), noise)
        code = model.encode(batch.images, batch.labels, weights)
        z = code.sample(noise)
        reconstruction = model.decode(z, batch.labels, weights)
        nll = self.likelihood.nll(batch.images, reconstruction).mean()
        kl = code.kl(z).sum(1)
        yield (
            "model",
            {
                "loss": self.optimised(nll, batch.images, reconstruction) + (weights * kl).mean(),
                "elbo": -(nll + kl.mean()),
                "reconstruction": nll,
                "kl": kl.mean(),
                "kl_weight": weights.mean(),
                **code.terms(z),
            },
        )


def log_uniform(bounds: tuple[float, float], count: int, noise: torch.Generator) -> Tensor:
    """Numbers (count,) between two bounds whose logarithms are uniform."""
    low, high = map(math.log, bounds)
    return torch.exp(low + (high - low) * torch.rand(count, generator=noise, device=noise.device))
