"""Likelihoods: -log p(x|z) of independent pixels around a decoded image, in nats per image."""

import math
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, distributions, nn
from torch.distributions import Distribution

from vaelab.bounds import Above
from vaelab.losses.densities import (
    bernoulli_nll,
    gaussian_nll,
    inside,
    log_normaliser,
    logistic_nll,
    per_image,
    pixels_of,
)

Reduction = Literal["sum", "mean", "mean_signed"]

# Squared errors of images in [-1, 1] are four times those in [0, 1].
SQUARED_RANGE = {"mean": 1.0, "mean_signed": 4.0}


class Likelihood(nn.Module):
    """A density of images (..., B, C, H, W) in [0, 1], given the decoded ones."""

    words: ClassVar[str]  # in a report
    of_means: ClassVar[bool] = False  # which lie in [0, 1], as what is decoded must then
    reductions: ClassVar[tuple[Reduction, ...]] = ("sum",)  # conventions that its error has
    without_error: ClassVar[str] = ": this likelihood has no error to average:"
    discrete: ClassVar[bool] = False  # of 8-bit pixels, so that bits per dimension mean something

    def nll(self, images: Tensor, mean: Tensor) -> Tensor:
        """-log p(x|z) in nats per image (..., B), with all constants."""
        raise NotImplementedError

    def distribution(self, mean: Tensor) -> Distribution | None:
        """p(x|z) by torch.distributions, of independent values (..., C, H, W) in float64; None where it has none."""
        return None

    def mean_error(self, images: Tensor, mean: Tensor) -> Tensor:
        """What reduction=mean averages over the pixels, (..., B); raises ValueError where there is no such error."""
        self.refuse("mean")
        raise NotImplementedError

    def variance(self, reduction: Reduction, pixels: int) -> float:
        """The factor that turns the weighted loss of this likelihood into nats of a unit-variance Gaussian, or nan.

        Raises ValueError for a reduction that this likelihood has not.
        """
        self.refuse(reduction)
        return math.nan

    def refuse(self, reduction: Reduction) -> None:
        """Raises ValueError for a reduction that this likelihood has not."""
        if reduction in self.reductions:
            return
        if "mean" in self.reductions:
            raise ValueError(f"reduction={reduction} is a squared error: take likelihood=gaussian")
        raise ValueError(f"reduction={reduction}{self.without_error} use reduction=sum")


class Bernoulli(Likelihood):
    """Independent Bernoulli pixels with the decoded means."""

    words: ClassVar[str] = "Bernoulli"
    of_means: ClassVar[bool] = True
    reductions: ClassVar[tuple[Reduction, ...]] = ("sum", "mean")

    def nll(self, images: Tensor, mean: Tensor) -> Tensor:
        """-log p(x|z) in nats per image (..., B)."""
        return bernoulli_nll(images, mean)

    def distribution(self, mean: Tensor) -> Distribution:
        """Of values in [0, 1], which torch.distributions takes unless it validates them."""
        mean = inside(mean).double()
        return distributions.Bernoulli(logits=torch.log(mean) - torch.log1p(-mean), validate_args=False)

    def mean_error(self, images: Tensor, mean: Tensor) -> Tensor:
        """Binary cross-entropy averaged over pixels, (..., B)."""
        return self.nll(images, mean) / pixels_of(images)

    def variance(self, reduction: Reduction, pixels: int) -> float:
        """The factor that makes the weighted loss one of this likelihood's own nats."""
        self.refuse(reduction)
        return 1.0 if reduction == "sum" else float(pixels)


class ContinuousBernoulli(Bernoulli):
    """Independent pixels in [0, 1] of the density C μ^x (1 - μ)^(1 - x) (Loaiza-Ganem & Cunningham 2019).

    The decoded image is the parameter μ, which lies further from 1/2 than the mean of the density does.
    """

    words: ClassVar[str] = "continuous Bernoulli"

    def nll(self, images: Tensor, mean: Tensor) -> Tensor:
        """-log p(x|z) in nats per image (..., B), which may be negative, as it is one of a density."""
        return bernoulli_nll(images, mean) - per_image(log_normaliser(inside(mean)))

    def distribution(self, mean: Tensor) -> Distribution:
        """Of values in [0, 1]."""
        return distributions.ContinuousBernoulli(probs=inside(mean).double(), validate_args=False)


class Gaussian(Likelihood):
    """Independent Gaussian pixels around the decoded ones, all with the same given sigma."""

    words: ClassVar[str] = "Gaussian"
    reductions: ClassVar[tuple[Reduction, ...]] = ("sum", "mean", "mean_signed")

    def __init__(self, sigma: Annotated[float, Above(0)]) -> None:
        super().__init__()
        if not sigma > 0:
            raise ValueError(f"sigma={sigma} is not above 0")
        self.sigma = sigma

    def nll(self, images: Tensor, mean: Tensor) -> Tensor:
        """-log p(x|z) in nats per image (..., B)."""
        return gaussian_nll(images, mean, self.sigma)

    def distribution(self, mean: Tensor) -> Distribution:
        """Of any values."""
        return distributions.Normal(mean.double(), self.sigma, validate_args=False)

    def mean_error(self, images: Tensor, mean: Tensor) -> Tensor:
        """Squared error averaged over pixels, (..., B)."""
        return ((images - mean) ** 2).mean(dim=(-3, -2, -1))

    def variance(self, reduction: Reduction, pixels: int) -> float:
        """The factor that makes the weighted loss one of unit-variance nats."""
        return self.sigma**2 if reduction == "sum" else pixels / 2 / SQUARED_RANGE[reduction]


class GaussianLearned(Likelihood):
    """Independent Gaussian pixels with one sigma, the optimal one (Rybkin et al. 2021, equation 6).

    In training sigma² is the batch's mean squared error; held-out images are measured with the running
    average of the training batches (as in batch normalisation), so that their ELBO is a bound.
    """

    words: ClassVar[str] = "Gaussian of learned σ"
    without_error: ClassVar[str] = " has no learned sigma: take likelihood=gaussian, or"
    momentum = 0.1
    running_variance: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("running_variance", torch.tensor(float("nan")))

    def nll(self, images: Tensor, mean: Tensor) -> Tensor:
        """-log p(x|z) in nats per image (..., B)."""
        sigma = self._variance(images, mean).sqrt()
        return gaussian_nll(images, mean, sigma.unsqueeze(-1))

    def distribution(self, mean: Tensor) -> Distribution:
        """Of any values, with the sigma learned so far."""
        return distributions.Normal(mean.double(), self.running_variance.double().sqrt(), validate_args=False)

    def variance(self, reduction: Reduction, pixels: int) -> float:
        """The factor that makes the weighted loss one of unit-variance nats, with the sigma learned so far."""
        self.refuse(reduction)
        return float(self.running_variance)

    def _variance(self, images: Tensor, mean: Tensor) -> Tensor:
        if not self.training:
            return self.running_variance
        # At the optimum the loss has no slope in sigma, so nothing is lost by detaching.
        variance = ((images - mean.detach()) ** 2).mean(dim=(-4, -3, -2, -1)).clamp(min=1e-8)
        old = torch.where(self.running_variance.isnan(), variance, self.running_variance)
        self.running_variance.copy_(torch.lerp(old, variance, self.momentum))
        return variance


class Laplace(Likelihood):
    """Independent Laplace pixels around the decoded ones, all with the same given scale."""

    words: ClassVar[str] = "Laplace"
    reductions: ClassVar[tuple[Reduction, ...]] = ("sum", "mean")

    def __init__(self, scale: Annotated[float, Above(0)]) -> None:
        super().__init__()
        if not scale > 0:
            raise ValueError(f"scale={scale} is not above 0")
        self.scale = scale

    def nll(self, images: Tensor, mean: Tensor) -> Tensor:
        """-log p(x|z) in nats per image (..., B)."""
        absolute = per_image((images - mean).abs())
        return absolute / self.scale + pixels_of(mean) * math.log(2 * self.scale)

    def distribution(self, mean: Tensor) -> Distribution:
        """Of any values."""
        return distributions.Laplace(mean.double(), self.scale, validate_args=False)

    def mean_error(self, images: Tensor, mean: Tensor) -> Tensor:
        """Absolute error averaged over pixels, (..., B)."""
        return (images - mean).abs().mean(dim=(-3, -2, -1))

    def variance(self, reduction: Reduction, pixels: int) -> float:
        """The variance 2 · scale² of a pixel; the mean absolute error is one of scale 1."""
        self.refuse(reduction)
        return 2 * self.scale**2 if reduction == "sum" else 2.0 * pixels


class DiscretizedLogistic(Likelihood):
    """Independent 8-bit pixels: what a logistic density around the decoded one has in each level's bin.

    The lowest and the highest bin reach to infinity, so that the levels' probabilities sum to 1 (Salimans et al. 2017,
    equation 2, with one component). All pixels share one scale, the optimal one, which needs no optimizer: it begins
    with the spread of the first batch's errors, and each training batch moves its logarithm a tenth of a step of
    Fisher scoring. Held-out images are measured with the scale that training has come to.
    """

    words: ClassVar[str] = "discretized logistic"
    discrete: ClassVar[bool] = True
    rate = 0.1
    log_scale: Tensor
    information = (math.pi**2 + 3) / 9  # of the logarithm of a logistic's scale, in one observation
    log_scale_range = (
        math.log(1e-4),
        math.log(100),
    )  # from a fortieth of a bin to where all levels are in the edges

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("log_scale", torch.tensor(float("nan")))

    def nll(self, images: Tensor, mean: Tensor) -> Tensor:
        """-log p(x|z) in nats per image (..., B), at least 0."""
        if not self.training:
            return logistic_nll(images, mean, self.log_scale)
        with torch.enable_grad():
            log_scale = self._begun(images, mean.detach()).requires_grad_()
            nll = logistic_nll(images, mean, log_scale)
            (slope,) = torch.autograd.grad(nll.mean(), log_scale, retain_graph=True)
        # The slope is 1 at most where the scale is too large, but without bound where it is too small.
        step = self.rate * (slope / pixels_of(images)).clamp(min=-10) / self.information
        self.log_scale.copy_((log_scale.detach() - step).clamp(*self.log_scale_range))
        return nll

    def variance(self, reduction: Reduction, pixels: int) -> float:
        """The variance π² scale² / 3 of a pixel, with the scale learned so far."""
        self.refuse(reduction)
        return math.pi**2 / 3 * math.exp(2 * float(self.log_scale))

    def _begun(self, images: Tensor, mean: Tensor) -> Tensor:
        """A copy of the log scale, or that of a logistic with the errors' variance where there is none yet."""
        variance = ((images - mean) ** 2).mean().clamp(min=1e-8)
        first = 0.5 * torch.log(3 * variance) - math.log(math.pi)
        return torch.where(self.log_scale.isnan(), first, self.log_scale)


BUILDABLE = (Bernoulli, ContinuousBernoulli, Gaussian, GaussianLearned, Laplace, DiscretizedLogistic)
