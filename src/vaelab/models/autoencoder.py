"""Autoencoders without noise: fully connected, convolutional, spatial."""

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor, nn

from vaelab.bounds import Between, Maps, Width
from vaelab.codes import Point
from vaelab.models import blocks
from vaelab.models.blocks import EncoderDecoder, ImageShape


class Autoencoder(EncoderDecoder):
    """An encoder to codes and a decoder."""

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Point:
        """Images (B, C, H, W) in [0, 1] to their codes (B, ...)."""
        return Point(self.encoder(images))


class TanhAutoencoder(Autoencoder):
    """An autoencoder whose output is a tanh mapped to [0, 1]."""

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Codes (B, ...) to images (B, C, H, W) in [0, 1], always in float32."""
        # (tanh(a) + 1) / 2 = sigmoid(2a), which keeps its digits near 0
        return torch.sigmoid(2 * self.decoder(z).float())


def fc_ae(
    image_shape: ImageShape,
    latent_dim: Width,
    hidden: Sequence[Width],
    negative_slope: Annotated[float, Between(0, 1)],
) -> Autoencoder:
    """The fully connected network with LeakyReLU and a tanh at its end; codes (B, latent_dim)."""
    activation = nn.LeakyReLU(negative_slope)
    return TanhAutoencoder(
        blocks.fc_encoder(image_shape, hidden, latent_dim, activation),
        blocks.fc_decoder(image_shape, hidden, latent_dim, activation),
        (latent_dim,),
    )


def conv_ae(image_shape: ImageShape, latent_dim: Width, channels: Maps) -> Autoencoder:
    """Convolutions with max-pooling and a fully connected code (B, latent_dim)."""
    return Autoencoder(
        blocks.pooled_encoder(image_shape, channels, latent_dim),
        blocks.upsampling_decoder(image_shape, channels, latent_dim),
        (latent_dim,),
    )


def spatial_ae(image_shape: ImageShape, code_channels: Maps, channels: Maps) -> Autoencoder:
    """Convolutions without pooling: codes (B, code_channels, H - 2, W - 2)."""
    return Autoencoder(
        blocks.spatial_encoder(image_shape, channels, code_channels),
        blocks.spatial_decoder(image_shape, channels, code_channels),
        blocks.spatial_code(image_shape, code_channels),
    )
