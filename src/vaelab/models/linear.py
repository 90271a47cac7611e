"""The linear VAE, whose optimum has a closed form: what other models, losses and measures are checked against."""

import math
from collections.abc import Iterable
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from vaelab import UsageError
from vaelab.bounds import Width
from vaelab.models.blocks import ImageShape, Reshape
from vaelab.models.vae import LOG_VARIANCE_RANGE, VAE

PASSES = 8  # over the images for their axes; more than enough for spectra that fall as those of images do


class LinearEncoder(nn.Module):
    """Images (B, C, H, W) to linear means and the log variance of each unit, together (B, 2 * latent_dim).

    The variance is one learned vector, for at the optimum it is the same for all images (Lucas et al. 2019, section 4).
    """

    def __init__(self, pixels: int, latent_dim: int) -> None:
        super().__init__()
        self.mean = nn.Linear(pixels, latent_dim)
        self.log_variance = nn.Parameter(torch.zeros(latent_dim))

    def forward(self, images: Tensor) -> Tensor:
        mean = self.mean(images.flatten(1))
        return torch.cat((mean, self.log_variance.expand_as(mean)), dim=1)


class LinearVAE(VAE):
    """A linear encoder and the decoder Wz + mu, for Gaussian pixels.

    At λ = 1 its optimum is probabilistic PCA (Tipping & Bishop 1999).
    """

    bounded: ClassVar[bool] = False
    encoder: LinearEncoder
    decoder: nn.Sequential

    def __init__(self, image_shape: ImageShape, latent_dim: int, init: Literal["random", "pca"]) -> None:
        pixels = math.prod(image_shape)
        super().__init__(
            LinearEncoder(pixels, latent_dim),
            nn.Sequential(nn.Linear(latent_dim, pixels), Reshape(image_shape)),
            (latent_dim,),
        )
        self.init = init

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Codes (B, latent_dim) to images (B, C, H, W) as they are, beyond [0, 1] too, always in float32."""
        return self.decoder(z).float()

    @torch.no_grad()
    def initialise(self, batches: Iterable[Any], beta_eff: float | None) -> None:
        """With init=pca moves the weights to the optimum for the images of these batches, which are read several times.

        For variances e along axes u, and beta_eff = λσ²: W = wu where w² = max(0, e - λσ²), the code's mean is
        (w / e) u'(x - mu) and its variance λσ² / e, or 1 where w is 0. Raises UsageError where no noise is given.
        """
        if self.init == "random":
            return
        if beta_eff is None or math.isnan(beta_eff):
            raise UsageError(
                "model.init=pca needs Gaussian pixels of a given sigma: use likelihood=gaussian, or init=random"
            )
        encoder, decoder = self.encoder, self.decoder[0]
        assert isinstance(decoder, nn.Linear)
        offset, variances, axes = principal_axes(batches, encoder.log_variance.numel())
        amplitudes = (variances - beta_eff).clamp(min=0).sqrt()
        used = amplitudes > 0
        projection = torch.where(used, amplitudes / variances, 0) * axes
        log_variance = torch.where(used, torch.log(beta_eff / variances), 0).clamp(*LOG_VARIANCE_RANGE)
        for parameter in (encoder.log_variance, encoder.mean.weight, encoder.mean.bias, decoder.weight):
            parameter.zero_()  # codes larger than an image have units for which there is no axis
        units = len(variances)
        encoder.mean.weight[:units] = projection.T
        encoder.mean.bias[:units] = -(offset @ projection)
        encoder.log_variance[:units] = log_variance
        decoder.weight[:, :units] = amplitudes * axes
        decoder.bias.copy_(offset)


def principal_axes(batches: Iterable[Any], count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The mean (D,) of the images, their largest variances (count,) and the axes (D, count) of these, in float64.

    By subspace iteration (Halko et al. 2011, algorithm 4.4), so that no D × D matrix is made; exact for small images.
    There are D axes where more are asked for.
    """
    example = next(iter(batches)).images
    pixels = example[0].numel()
    width = min(pixels, 2 * count + 10)
    start = torch.randn(pixels, width, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    axes = torch.linalg.qr(start.to(example.device)).Q
    for _ in range(PASSES):
        _, product = covariance_times(axes, batches)
        axes = torch.linalg.qr(product).Q
    mean, product = covariance_times(axes, batches)
    variances, rotation = torch.linalg.eigh(axes.T @ product)
    largest = variances.argsort(descending=True)[:count]
    return mean, variances[largest], axes @ rotation[:, largest]


def covariance_times(axes: Tensor, batches: Iterable[Any]) -> tuple[Tensor, Tensor]:
    """The mean (D,) of the images of all batches, and their covariance times the axes (D, n), in one pass."""
    count, total, product = 0, axes.new_zeros(len(axes)), torch.zeros_like(axes)
    for batch in batches:
        images = batch.images.flatten(1).to(axes.dtype)
        count += len(images)
        total += images.sum(0)
        product += images.T @ (images @ axes)
    mean = total / count
    return mean, product / count - torch.outer(mean, mean @ axes)


def linear_vae(image_shape: ImageShape, latent_dim: Width, init: Literal["random", "pca"]) -> LinearVAE:
    """Linear encoder and decoder; latents (B, latent_dim). Random weights, or the optimum of the training images."""
    return LinearVAE(image_shape, latent_dim, init)
