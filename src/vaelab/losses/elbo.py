"""Likelihoods and the KL term, and the losses of autoencoders and VAEs that combine them, in nats per image."""

import math
from collections.abc import Callable, Iterator
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from vaelab.bounds import Above, AtLeast
from vaelab.losses.base import ImageBatch, Loss, Turn, mean_terms

LikelihoodName = Literal["bernoulli", "gaussian", "gaussian_learned"]
Reduction = Literal["sum", "mean", "mean_signed"]
ScheduleName = Literal["constant", "linear", "cyclical"]

SQUARED_RANGE = {
    "mean": 1.0,
    "mean_signed": 4.0,
}  # squared errors of images in [-1, 1] are four times those in [0, 1]


def per_image(values: Tensor) -> Tensor:
    """Sums over the pixels and channels: (..., B, C, H, W) to (..., B)."""
    return values.sum(dim=(-3, -2, -1))


def bernoulli_nll(images: Tensor, reconstruction: Tensor) -> Tensor:
    """-log p(x|z) in nats per image (..., B), for real-valued targets too (Kingma & Welling 2014, appendix C.1).

    Means are kept inside (0, 1), so that a pixel costs at most 69 nats; what is not a number stays so.
    """
    return CrossEntropy.apply(reconstruction, images)


class CrossEntropy(torch.autograd.Function):
    """-log p of Bernoulli pixels, with its slope in one formula: half the time of what autograd keeps."""

    @staticmethod
    def forward(ctx: Any, reconstruction: Tensor, images: Tensor) -> Tensor:
        """Nats per image (..., B)."""
        means = reconstruction.clamp(1e-30, 1 - 2**-24)
        ctx.save_for_backward(means, images)
        return per_image(-torch.lerp(torch.log1p(-means), torch.log(means), images))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        """(mean - x) / (mean (1 - mean)) for each pixel."""
        means, images = ctx.saved_tensors
        variance = means.addcmul(means, means, value=-1)
        return (means - images).div_(variance).mul_(slope[..., None, None, None]), None


def gaussian_nll(images: Tensor, reconstruction: Tensor, sigma: Tensor | float) -> Tensor:
    """-log N(x; reconstruction, sigma² I) in nats per image (..., B), with its constant (appendix C.2 of the same)."""
    pixels = math.prod(reconstruction.shape[-3:])
    log_sigma = torch.log(sigma) if isinstance(sigma, Tensor) else math.log(sigma)
    squared = per_image((images - reconstruction) ** 2)
    return 0.5 * squared / sigma**2 + pixels * (log_sigma + 0.5 * math.log(2 * math.pi))


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) ‖ N(0, 1)) of each dimension, in nats (Kingma & Welling 2014, appendix B)."""
    return 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)


class Bernoulli(nn.Module):
    """Independent Bernoulli pixels whose means are the reconstruction."""

    def nll(self, images: Tensor, reconstruction: Tensor) -> Tensor:
        """-log p(x|z) in nats per image (..., B)."""
        return bernoulli_nll(images, reconstruction)

    def mean_error(self, images: Tensor, reconstruction: Tensor) -> Tensor:
        """The convention reduction=mean: binary cross-entropy averaged over pixels, (..., B)."""
        return bernoulli_nll(images, reconstruction) / math.prod(images.shape[-3:])

    def variance(self, reduction: Reduction, pixels: int) -> float:
        """The factor that makes this likelihood's weighted loss one of nats with a KL of weight beta_eff."""
        return 1.0 if reduction == "sum" else float(pixels)


class Gaussian(nn.Module):
    """Independent Gaussian pixels around the reconstruction, all with the same given sigma."""

    def __init__(self, sigma: float) -> None:
        super().__init__()
        if not sigma > 0:
            raise ValueError(f"sigma={sigma} is not above 0")
        self.sigma = sigma

    def nll(self, images: Tensor, reconstruction: Tensor) -> Tensor:
        """-log p(x|z) in nats per image (..., B)."""
        return gaussian_nll(images, reconstruction, self.sigma)

    def mean_error(self, images: Tensor, reconstruction: Tensor) -> Tensor:
        """The convention reduction=mean: squared error averaged over pixels, (..., B)."""
        return ((images - reconstruction) ** 2).mean(dim=(-3, -2, -1))

    def variance(self, reduction: Reduction, pixels: int) -> float:
        """The factor that makes this likelihood's weighted loss one of unit-variance nats."""
        return self.sigma**2 if reduction == "sum" else pixels / 2 / SQUARED_RANGE[reduction]


class GaussianLearned(nn.Module):
    """Independent Gaussian pixels with one sigma, the optimal one (Rybkin et al. 2021, equation 6).

    In training sigma² is the batch's mean squared error; held-out images are measured with the running
    average of the training batches (as in batch normalisation), so that their ELBO is a bound.
    """

    momentum = 0.1
    running_variance: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running_variance", torch.tensor(float("nan")))

    def nll(self, images: Tensor, reconstruction: Tensor) -> Tensor:
        """-log p(x|z) in nats per image (..., B)."""
        sigma = self._variance(images, reconstruction).sqrt()
        return gaussian_nll(images, reconstruction, sigma.unsqueeze(-1))

    def variance(self, reduction: Reduction, pixels: int) -> float:
        """The factor that makes the weighted loss one of unit-variance nats, with the sigma learned so far."""
        return float(self.running_variance)

    def _variance(self, images: Tensor, reconstruction: Tensor) -> Tensor:
        if not self.training:
            return self.running_variance
        # At the optimum the loss has no slope in sigma, so nothing is lost by detaching.
        variance = ((images - reconstruction.detach()) ** 2).mean(dim=(-4, -3, -2, -1)).clamp(min=1e-8)
        old = torch.where(self.running_variance.isnan(), variance, self.running_variance)
        self.running_variance.copy_(torch.lerp(old, variance, self.momentum))
        return variance


LIKELIHOODS: dict[str, Callable[[float], Any]] = {
    "bernoulli": lambda sigma: Bernoulli(),
    "gaussian": Gaussian,
    "gaussian_learned": lambda sigma: GaussianLearned(),
}


def constant(epoch: Tensor, period: float) -> Tensor:
    """The full weight from the first step."""
    return torch.ones_like(epoch)


def linear(epoch: Tensor, period: float) -> Tensor:
    """Warm-up from 0 to the full weight over the first `period` epochs (Bowman et al. 2016, section 3.1)."""
    return (epoch / period).clamp(max=1)


def cyclical(epoch: Tensor, period: float) -> Tensor:
    """Cycles of `period` epochs: linear over the first half, then full (Fu et al. 2019, equation 6, R = 0.5)."""
    return (2 * (epoch % period) / period).clamp(max=1)


KL_SCHEDULES = {"constant": constant, "linear": linear, "cyclical": cyclical}


class Reconstruction(Loss):
    """The loss of an autoencoder: -log p(x|z), or the mean error of each pixel with reduction=mean."""

    needs: ClassVar[str] = "encoder"

    def __init__(self, likelihood: LikelihoodName, sigma: float, reduction: Reduction) -> None:
        super().__init__()
        if reduction != "sum" and likelihood == "gaussian_learned":
            raise ValueError(
                f"reduction={reduction} has no learned sigma: take likelihood=gaussian or reduction=sum"
            )
        if reduction == "mean_signed" and likelihood != "gaussian":
            raise ValueError("reduction=mean_signed is a squared error: take likelihood=gaussian")
        self.likelihood = LIKELIHOODS[likelihood](sigma)
        self.reduction = reduction

    def forward(self, model: Any, batch: ImageBatch, noise: torch.Generator) -> Iterator[Turn]:
        """One turn of the player "model": terms loss and reconstruction, averaged over the batch."""
        reconstruction = model.decode(model.encode(batch.images).sample(noise))
        nll = self.likelihood.nll(batch.images, reconstruction)
        yield "model", mean_terms(loss=self.optimised(nll, batch.images, reconstruction), reconstruction=nll)

    def optimised(self, nll: Tensor, images: Tensor, reconstruction: Tensor) -> Tensor:
        """What stands beside the KL term in the loss, per image (..., B)."""
        if self.reduction == "sum":
            return nll
        return SQUARED_RANGE[self.reduction] * self.likelihood.mean_error(images, reconstruction)


class ELBO(Reconstruction):
    """The evidence lower bound with a weighted KL term (Kingma & Welling 2014; Higgins et al. 2017, equation 4)."""

    needs: ClassVar[str] = "posterior"

    def __init__(
        self,
        kl_weight: Annotated[float, AtLeast(0)],
        likelihood: LikelihoodName,
        sigma: Annotated[float, Above(0)],
        reduction: Reduction,
        kl_schedule: ScheduleName,
        kl_schedule_epochs: Annotated[float, Above(0)],
    ) -> None:
        super().__init__(likelihood, sigma, reduction)
        if not kl_schedule_epochs > 0:
            raise ValueError(f"kl_schedule_epochs={kl_schedule_epochs} is not above 0")
        self.kl_weight = kl_weight
        self.kl_schedule = KL_SCHEDULES[kl_schedule]
        self.kl_schedule_epochs = kl_schedule_epochs

    def forward(self, model: Any, batch: ImageBatch, noise: torch.Generator) -> Iterator[Turn]:
        """One turn of the player "model": loss (weighted), elbo (λ = 1), reconstruction and kl, batch averages."""
        posterior = model.encode(batch.images)
        reconstruction = model.decode(posterior.sample(noise))
        nll = self.likelihood.nll(batch.images, reconstruction)
        kl = gaussian_kl(posterior.mean, posterior.log_variance).flatten(start_dim=1).sum(1)
        kl_weight = self.kl_weight * self.kl_schedule(self.epoch, self.kl_schedule_epochs)
        terms = mean_terms(
            loss=self.optimised(nll, batch.images, reconstruction) + kl_weight * kl,
            elbo=-(nll + kl),
            reconstruction=nll,
            kl=kl,
        )
        yield "model", terms | {"kl_weight": kl_weight.to(kl.dtype)}

    def beta_eff(self, pixels: int) -> float:
        """The KL's weight against the summed -log p(x|z) of a unit-variance Gaussian, or of the Bernoulli."""
        return float(self.kl_weight * self.likelihood.variance(self.reduction, pixels))
