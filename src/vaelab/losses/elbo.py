"""The losses of autoencoders and VAEs: -log p(x|z), and λ times a regulariser of the code beside it."""

from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch import Tensor

from vaelab.losses.base import ImageBatch, Loss, Turn
from vaelab.losses.likelihoods import SQUARED_RANGE, Likelihood, Reduction
from vaelab.losses.regularisers import Regulariser


class Reconstruction(Loss):
    """The loss of an autoencoder: -log p(x|z), or the mean error of each pixel with reduction=mean.

    Raises ValueError for a reduction that the likelihood has not.
    """

    needs: ClassVar[str] = "encoder"

    def __init__(self, likelihood: Likelihood, reduction: Reduction) -> None:
        super().__init__()
        likelihood.refuse(reduction)
        self.likelihood, self.reduction = likelihood, reduction

    def forward(self, model: Any, batch: ImageBatch, noise: torch.Generator) -> Iterator[Turn]:
        """One turn of the player "model": terms loss and reconstruction, averaged over the batch."""
        reconstruction = model.decode(model.encode(batch.images).sample(noise))
        nll = self.likelihood.nll(batch.images, reconstruction).mean()
        yield "model", {"loss": self.optimised(nll, batch.images, reconstruction), "reconstruction": nll}

    def optimised(self, nll: Tensor, images: Tensor, reconstruction: Tensor) -> Tensor:
        """What stands beside the regulariser in the loss, averaged over the batch."""
        if self.reduction == "sum":
            return nll
        return SQUARED_RANGE[self.reduction] * self.likelihood.mean_error(images, reconstruction).mean()


class ELBO(Reconstruction):
    """The evidence lower bound with a weighted regulariser (Kingma & Welling 2014; Higgins et al. 2017, equation 4)."""

    needs: ClassVar[str] = "posterior"

    def __init__(self, likelihood: Likelihood, regulariser: Regulariser, reduction: Reduction) -> None:
        super().__init__(likelihood, reduction)
        self.regulariser = regulariser

    @property
    def kl_weight(self) -> float:
        """λ, where no schedule holds it back."""
        return self.regulariser.kl_weight

    def forward(self, model: Any, batch: ImageBatch, noise: torch.Generator) -> Iterator[Turn]:
        """One turn of the player "model": loss, elbo (λ = 1), reconstruction, kl, and what the regulariser has."""
        code = model.encode(batch.images)
        reconstruction = model.decode(code.sample(noise))
        nll = self.likelihood.nll(batch.images, reconstruction).mean()
        terms = self.regulariser(code, self.epoch, noise)
        penalty, kl = terms.pop("penalty"), terms.pop("kl")
        yield (
            "model",
            {
                "loss": self.optimised(nll, batch.images, reconstruction) + penalty,
                "elbo": -(nll + kl),
                "reconstruction": nll,
                "kl": kl,
                **terms,
            },
        )

    def beta_eff(self, pixels: int) -> float:
        """The KL's weight against the summed -log p(x|z) of a unit-variance Gaussian, or of the Bernoulli."""
        return float(self.kl_weight * self.likelihood.variance(self.reduction, pixels))
