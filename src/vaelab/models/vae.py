"""Variational autoencoders: fully connected, convolutional, spatial."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaelab.bounds import Between, Maps, Width
from vaelab.codes import Gaussian
from vaelab.models import blocks
from vaelab.models.blocks import EncoderDecoder, ImageShape

# exp(log variance) stays finite in float32 far beyond any useful noise; without bounds one bad step is fatal.
LOG_VARIANCE_RANGE = (-30.0, 20.0)


class NormalPrior(EncoderDecoder):
    """An encoder to a posterior, and a decoder of codes whose prior is N(0, I)."""

    offers: ClassVar[frozenset[str]] = frozenset({"encoder", "prior", "posterior"})
    prior: ClassVar[str | None] = "prior N(0, I)"

    def draw(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Codes (count, ...) from the prior on the model's device, which a generator on the CPU gives on any device."""
        device = next(self.parameters()).device
        where = device if generator is None else generator.device
        return torch.randn(count, *self.code_shape, generator=generator, device=where).to(device)


class VAE(NormalPrior):
    """An encoder to the mean and log variance of q(z|x) and a decoder."""

    offers: ClassVar[frozenset[str]] = NormalPrior.offers | {"gaussian"}

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Gaussian:
        """Images (B, C, H, W) in [0, 1] to q(z|x), in float32 (Kingma & Welling 2014, appendix C.2)."""
        return gaussian(self.encoder(images))


def gaussian(output: Tensor) -> Gaussian:
    """An encoder's output (B, 2n, ...) as the means and log variances of codes (B, n, ...), in float32."""
    mean, log_variance = output.float().chunk(2, dim=1)
    return Gaussian(mean, bounded(log_variance))


def bounded(log_variance: Tensor) -> Tensor:
    """Log variances kept in their range."""
    return F.hardtanh(log_variance, *LOG_VARIANCE_RANGE)  # clamp() is five operations backward, this is one


def fc_vae(
    image_shape: ImageShape, latent_dim: Width, hidden: Sequence[Width], activation: Literal["relu", "tanh"]
) -> VAE:
    """The fully connected network of Kingma & Welling 2014; latents (B, latent_dim)."""
    between = {"relu": nn.ReLU(), "tanh": nn.Tanh()}[activation]
    return VAE(
        blocks.fc_encoder(image_shape, hidden, 2 * latent_dim, between),
        blocks.fc_decoder(image_shape, hidden, latent_dim, between),
        (latent_dim,),
    )


def conv_vae(
    image_shape: ImageShape, latent_dim: Annotated[int, Between(1, 512)], channels: Maps, hidden: Width
) -> VAE:
    """Strided convolutions with GroupNorm; latents (B, latent_dim)."""
    return VAE(
        blocks.strided_encoder(image_shape, channels, 2 * latent_dim),
        blocks.strided_decoder(image_shape, channels, hidden, latent_dim),
        (latent_dim,),
    )


def burgess_vae(
    image_shape: ImageShape, latent_dim: Annotated[int, Between(1, 512)], channels: Maps, hidden: Width
) -> VAE:
    """The network of Burgess et al. 2018, appendix A, all convolutions of one width; latents (B, latent_dim)."""
    return VAE(
        blocks.plain_encoder(image_shape, channels, hidden, 2 * latent_dim),
        blocks.plain_decoder(image_shape, channels, hidden, latent_dim),
        (latent_dim,),
    )


def spatial_vae(image_shape: ImageShape, code_channels: Maps, channels: Maps) -> VAE:
    """Convolutions without pooling: latents (B, code_channels, H - 2, W - 2)."""
    return VAE(
        blocks.spatial_encoder(image_shape, channels, 2 * code_channels),
        blocks.spatial_decoder(image_shape, channels, code_channels),
        blocks.spatial_code(image_shape, code_channels),
    )
