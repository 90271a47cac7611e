"""-log p(x) of pixels under the densities that likelihoods are made of, in nats per image."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

LEVELS = 256  # values of an 8-bit pixel: 0, 1/255, ..., 1


def per_image(values: Tensor) -> Tensor:
    """Sums over the pixels and channels: (..., B, C, H, W) to (..., B)."""
    return values.sum(dim=(-3, -2, -1))


def pixels_of(images: Tensor) -> int:
    """Values of one image (..., C, H, W)."""
    return math.prod(images.shape[-3:])


def bits_per_dim(nats: float, pixels: int) -> float:
    """Nats per image as bits per value of a pixel; they mean something where the pixels are discrete."""
    return nats / (math.log(2) * pixels)


def bernoulli_nll(images: Tensor, mean: Tensor) -> Tensor:
    """-log p(x|z) in nats per image (..., B), for real-valued targets too (Kingma & Welling 2014, appendix C.1).

    Means are kept inside (0, 1), so that a pixel costs at most 69 nats; what is not a number stays so.
    """
    return CrossEntropy.apply(mean, images)


class CrossEntropy(torch.autograd.Function):
    """-log p of Bernoulli pixels, with its slope in one formula: half the time of what autograd keeps."""

    @staticmethod
    def forward(ctx: Any, mean: Tensor, images: Tensor) -> Tensor:
        """Nats per image (..., B)."""
        mean = inside(mean)
        ctx.save_for_backward(mean, images)
        return per_image(-torch.lerp(torch.log1p(-mean), torch.log(mean), images))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None]:
        """(mean - x) / (mean (1 - mean)) for each pixel."""
        mean, images = ctx.saved_tensors
        variance = mean.addcmul(mean, mean, value=-1)
        return (mean - images).div_(variance).mul_(slope[..., None, None, None]), None


def inside(mean: Tensor) -> Tensor:
    """Means of pixels, kept where both logarithms are finite in float32."""
    return mean.clamp(1e-30, 1 - 2**-24)


def gaussian_nll(images: Tensor, mean: Tensor, sigma: Tensor | float) -> Tensor:
    """-log N(x; mean, sigma² I) in nats per image (..., B), with its constant (appendix C.2 of the same)."""
    log_sigma = torch.log(sigma) if isinstance(sigma, Tensor) else math.log(sigma)
    squared = per_image((images - mean) ** 2)
    return 0.5 * squared / sigma**2 + pixels_of(mean) * (log_sigma + 0.5 * math.log(2 * math.pi))


def log_normaliser(parameter: Tensor) -> Tensor:
    """log C of a continuous Bernoulli, pixel by pixel (Loaiza-Ganem & Cunningham 2019).

    C is 2 atanh(y) / y with y = 1 - 2 · parameter, near y = 0 by the series of atanh, whose rest is below 1e-8 there.
    """
    y = 1 - 2 * parameter
    near = y.abs() < 0.25
    series, square = torch.full_like(y, 1 / 11), y.square()
    for power in (9, 7, 5, 3, 1):
        series = series * square + 1 / power
    # Neither branch may meet a value at which its slope is infinite, not even where the other one is taken.
    far = torch.where(near, 0.25, parameter)
    quotient = (torch.log1p(-far) - torch.log(far)) / (1 - 2 * far)
    return torch.log(torch.where(near, 2 * series, quotient))


def logistic_nll(images: Tensor, mean: Tensor, log_scale: Tensor) -> Tensor:
    """-log of the probabilities of 8-bit pixels in [0, 1] under discretized logistics, in nats per image (..., B).

    A bin from a to b has σ(b) - σ(a) = σ(b) σ(-a) (1 - exp(a - b)), of which every logarithm is exact in both tails.
    """
    level = (images * (LEVELS - 1)).round()
    error, inverse = level / (LEVELS - 1) - mean, torch.exp(-log_scale)
    half = 0.5 / (LEVELS - 1)
    below_upper = F.softplus(-(error + half) * inverse).masked_fill(level == LEVELS - 1, 0)
    above_lower = F.softplus((error - half) * inverse).masked_fill(level == 0, 0)
    bounded = (level > 0) & (level < LEVELS - 1)
    width = torch.log(-torch.expm1(-2 * half * inverse))
    return per_image(below_upper + above_lower - width * bounded)
