"""The losses of autoencoders and VAEs: -log p(x|z), and λ times a regulariser of the code beside it."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from vaelab.losses.base import LOSS, NATS, RECONSTRUCTION, ImageBatch, Loss, Turn
from vaelab.losses.likelihoods import SQUARED_RANGE, Likelihood, Reduction
from vaelab.losses.regularisers import Regulariser
from vaelab.quantities import Quantity

ELBO_TERM = Quantity("elbo", "−ELBO", NATS, digits=2, better="lower", sign=-1, shown="always")
KL_TERM = Quantity("kl", "KL", NATS, digits=2, shown="always")


class Reconstruction(Loss):
    """The loss of an autoencoder: -log p(x|z), or the mean error of each pixel with reduction=mean.

    Raises ValueError for a reduction that the likelihood has not.
    """

    needs: ClassVar[str] = "encoder"

    def __init__(self, likelihood: Likelihood, reduction: Reduction) -> None:
        super().__init__()
        likelihood.refuse(reduction)
        self.likelihood, self.reduction = likelihood, reduction
        self.quantities = (LOSS, RECONSTRUCTION)

    def forward(self, model: Any, batch: ImageBatch, noise: torch.Generator) -> Iterator[Turn]:
        """One turn of the player "model": terms loss and reconstruction, averaged over the batch."""
        code = model.encode(batch.images, batch.labels)
        reconstruction = model.decode(code.sample(noise), batch.labels)
        nll = self.likelihood.nll(batch.images, reconstruction).mean()
        yield "model", {"loss": self.optimised(nll, batch.images, reconstruction), "reconstruction": nll}

    def optimised(self, nll: Tensor, images: Tensor, reconstruction: Tensor) -> Tensor:
        """What stands beside the regulariser in the loss, averaged over the batch."""
        if self.reduction == "sum":
            return nll
        return SQUARED_RANGE[self.reduction] * self.likelihood.mean_error(images, reconstruction).mean()


class ELBO(Reconstruction):
    """The evidence lower bound with a weighted regulariser (Kingma & Welling 2014; Higgins et al. 2017, equation 4)."""

    needs: ClassVar[str] = "prior"

    def __init__(self, likelihood: Likelihood, regulariser: Regulariser, reduction: Reduction) -> None:
        super().__init__(likelihood, reduction)
        self.regulariser = regulariser
        self.quantities = (LOSS, ELBO_TERM, RECONSTRUCTION, KL_TERM, *regulariser.quantities)

    @property
    def kl_weight(self) -> float | None:
        """λ, where no schedule holds it back; None where the regulariser has none."""
        return self.regulariser.kl_weight

    def forward(self, model: Any, batch: ImageBatch, noise: torch.Generator) -> Iterator[Turn]:
        """One turn of the player "model": loss, elbo (λ = 1), reconstruction, kl, and the terms of the parts."""
        code = model.encode(batch.images, batch.labels)
        z = code.sample(noise)
        reconstruction = model.decode(z, batch.labels)
        nll = self.likelihood.nll(batch.images, reconstruction).mean()
        terms = self.regulariser(code, z, self.epoch, noise)
        penalty, kl = terms.pop("penalty"), terms.pop("kl")
        yield (
            "model",
            {
                "loss": self.optimised(nll, batch.images, reconstruction) + penalty,
                "elbo": -(nll + kl),
                "reconstruction": nll,
                "kl": kl,
                **terms,
                **code.terms(z),
            },
        )
        if self.training:
            model.after_step(code, noise)

    def beta_eff(self, pixels: int) -> float | None:
        """The KL's weight against the summed -log p(x|z) of a unit-variance Gaussian, or of the Bernoulli."""
        share = self.regulariser.kl_share
        if self.kl_weight is None or share is None:
            return None
        return float(self.kl_weight * share * self.likelihood.variance(self.reduction, pixels))

    def findings(self, terms: Mapping[str, float]) -> tuple[str, ...]:
        """What the regulariser says of the terms of held-out images."""
        return self.regulariser.findings(terms)
