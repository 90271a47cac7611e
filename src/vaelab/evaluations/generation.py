"""New images from any model: from a generator, the prior, or the codes that the data have."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vaelab.evaluations.base import Context, encoded

AT_ONCE = 128  # images that are decoded in one go


@dataclass(frozen=True)
class Generated:
    """Images (N, C, H, W) in [0, 1] on the model's device, and what they were made of."""

    images: Tensor
    z: Tensor
    label: Tensor | None  # (N,) int64, of a class-conditional model


def generated(context: Context, count: int, seed: int) -> Generated:
    """`count` new images that follow from the seed alone, whatever the device.

    Of a class-conditional model the classes take turns. A VAE decodes its prior; at λ = 0, and in an autoencoder, the
    prior means nothing to the decoder, and a Gaussian fitted to the codes of the train split stands in for it.
    """
    model: Any = context.model
    if "generator" in model.offers or prior_is_meant(context):
        z = model.draw(count, torch.Generator().manual_seed(seed))
    else:
        z = aggregate_posterior_samples(context, count, seed)
    label = in_turn(model, count, z.device)
    return Generated(in_pieces(maker(model), z, label), z, label)


def maker(model: Any) -> Callable[..., Tensor]:
    """What makes images of noise, or of codes, and of labels where the model takes them."""
    make: Callable[..., Tensor] = model.generate if "generator" in model.offers else model.decode
    return make


def in_turn(model: Any, count: int, device: torch.device) -> Tensor | None:
    """Labels (count,) of the classes in turn, of a class-conditional model."""
    return torch.arange(count, device=device) % model.classes if "classes" in model.offers else None


def source(context: Context) -> str:
    """Where generated() takes the codes of its images from."""
    model: Any = context.model
    if "generator" in model.offers:
        return "generator"
    return model.prior if prior_is_meant(context) else "Gaussian fitted to the codes"


def prior_is_meant(context: Context) -> bool:
    """Whether the codes are near the prior: not in an autoencoder, nor where training leaves it out with λ = 0."""
    model, loss = context.model, context.loss
    return "prior" in model.offers and loss.kl_weight != 0  # type: ignore[operator, return-value]


def in_pieces(make: Any, *codes: Tensor | None) -> Tensor:
    """make(*codes), a few images at a time, without gradients."""
    given = [code for code in codes if code is not None]
    with torch.no_grad():
        return torch.cat([make(*part) for part in zip(*(code.split(AT_ONCE) for code in given), strict=True)])


def aggregate_posterior_samples(context: Context, count: int, seed: int) -> Tensor:
    """(count, ...) from the Gaussian with the mean and full covariance of q(z) = mean over x of q(z|x), train split.

    The covariance is that of the posterior means plus the mean posterior variance on the diagonal, which is 0 for
    the codes of an autoencoder. It is never formed: with one standard normal number e for each image x, the sum of
    e · (mean(x) − mean) / √N has the covariance of the means, in one pass and for codes of any size.
    """
    generator = torch.Generator().manual_seed(seed)
    images = 0
    weighted = weight = total = variance = torch.zeros(())
    for _, code in encoded(context, "train"):
        mean = code.mean.double()
        draws = torch.randn(count, len(mean), generator=generator).to(mean)
        weighted = weighted.to(mean) + torch.tensordot(draws, mean, dims=1)
        weight = weight.to(mean) + draws.sum(1)
        total = total.to(mean) + mean.sum(0)
        if code.variance is not None:
            variance = variance.to(mean) + code.variance.double().sum(0)
        images += len(mean)
    centre = total / images
    spread = weighted - weight.view(-1, *[1] * centre.ndim) * centre
    own = torch.randn(spread.shape, generator=generator).to(spread) * (variance.to(spread) / images).sqrt()
    return (centre + spread / math.sqrt(images) + own).float()
