"""Diagonal Gaussians by their means and log variances, value by value."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Moments = tuple[Tensor, Tensor]  # mean and log variance


def joined(layers: Sequence[Moments]) -> Moments:
    """The moments of all layers, one beside the other."""
    means, log_variances = zip(*layers, strict=True)
    return torch.cat(means, -1), torch.cat(log_variances, -1)


def drawn(moments: Moments, noise: torch.Generator) -> Tensor:
    """A draw of a Gaussian with these moments."""
    mean, log_variance = moments
    # Not randn_like, whose numbers follow the order of the memory on a GPU.
    epsilon = torch.randn(mean.shape, generator=noise, dtype=mean.dtype, device=mean.device)
    return mean + torch.exp(0.5 * log_variance) * epsilon


def standard_kl(moments: Moments) -> Tensor:
    """KL(N(mean, variance) ‖ N(0, 1)) in nats, value by value."""
    mean, log_variance = moments
    return 0.5 * torch.addcmul(torch.expm1(log_variance) - log_variance, mean, mean)


def log_normal(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log N(z; mean, exp(log_variance)), value by value."""
    squared = (z - mean).square() * torch.exp(-log_variance)
    return -0.5 * (squared + log_variance + math.log(2 * math.pi))


def log_standard_normal(z: Tensor) -> Tensor:
    """log N(z; 0, 1), value by value."""
    return -0.5 * (z.square() + math.log(2 * math.pi))
