"""Variational autoencoders: fully connected, convolutional, spatial."""

from collections.abc import Sequence
from typing import Annotated, ClassVar

from torch import Tensor, nn

from vaelab.bounds import Between, Maps, Width
from vaelab.codes import Gaussian
from vaelab.models import blocks
from vaelab.models.blocks import EncoderDecoder, ImageShape

# exp(log variance) stays finite in float32 far beyond any useful noise; without bounds one bad step is fatal.
LOG_VARIANCE_RANGE = (-30.0, 20.0)


class VAE(EncoderDecoder):
    """An encoder to the mean and log variance of q(z|x) and a decoder."""

    offers: ClassVar[frozenset[str]] = frozenset({"encoder", "posterior"})

    def encode(self, images: Tensor) -> Gaussian:
        """Images (B, C, H, W) in [0, 1] to q(z|x), in float32 (Kingma & Welling 2014, appendix C.2)."""
        output = self.encoder(images).float()
        mean, log_variance = output.chunk(2, dim=1)
        return Gaussian(mean, log_variance.clamp(*LOG_VARIANCE_RANGE))


def fc_vae(image_shape: ImageShape, latent_dim: Width, hidden: Sequence[Width]) -> VAE:
    """The fully connected network of Kingma & Welling 2014; latents (B, latent_dim)."""
    activation = nn.ReLU()
    return VAE(
        blocks.fc_encoder(image_shape, hidden, 2 * latent_dim, activation),
        blocks.fc_decoder(image_shape, hidden, latent_dim, activation),
    )


def conv_vae(
    image_shape: ImageShape, latent_dim: Annotated[int, Between(1, 512)], channels: Maps, hidden: Width
) -> VAE:
    """Strided convolutions with GroupNorm; latents (B, latent_dim)."""
    return VAE(
        blocks.strided_encoder(image_shape, channels, 2 * latent_dim),
        blocks.strided_decoder(image_shape, channels, hidden, latent_dim),
    )


def spatial_vae(image_shape: ImageShape, code_channels: Maps, channels: Maps) -> VAE:
    """Convolutions without pooling: latents (B, code_channels, H - 2, W - 2)."""
    return VAE(
        blocks.spatial_encoder(image_shape, channels, 2 * code_channels),
        blocks.spatial_decoder(image_shape, channels, code_channels),
    )
