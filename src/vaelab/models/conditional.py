"""The VAE that is told the class of an image (Sohn et al. 2015; Kingma et al. 2014, model M2)."""

from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from vaelab.bounds import Between, Maps, Width
from vaelab.codes import Gaussian
from vaelab.models import blocks
from vaelab.models.blocks import ImageShape, OneHot
from vaelab.models.vae import VAE, gaussian


class ConditionalVAE(VAE):
    """q(z|x, y) and p(x|z, y): encoder and decoder are told the class y, and z is left what the class does not say."""

    offers: ClassVar[frozenset[str]] = VAE.offers | {"classes"}

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, latent_dim: int, image_shape: ImageShape, classes: int
    ) -> None:
        super().__init__(encoder, nn.Sequential(OneHot(classes), decoder), (latent_dim,))
        self.classes = classes
        self.plane = nn.Embedding(classes, image_shape[1] * image_shape[2])

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Gaussian:
        """Images (B, C, H, W) in [0, 1] and labels (B,) to q(z|x, y), in float32; raises ValueError without labels."""
        plane = self.plane(self.one_hot(labels, "encode(images, labels)")).unflatten(
            1, (1, *images.shape[2:])
        )
        return gaussian(self.encoder(torch.cat((images, plane), 1)))

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Codes (B, latent_dim) and labels (B,) to images in [0, 1], float32; raises ValueError without labels."""
        told = self.one_hot(labels, "decode(z, labels)")
        return torch.sigmoid(self.decoder((z, told)).float())

    def one_hot(self, labels: Tensor | None, call: str) -> Tensor:
        """The labels; raises ValueError where there are none."""
        if labels is None:
            raise ValueError(f"this model is class-conditional: {call} takes labels 0 to {self.classes - 1}")
        return labels


def conditional_vae(
    image_shape: ImageShape,
    classes: int,
    latent_dim: Annotated[int, Between(1, 512)],
    channels: Maps,
    hidden: Width,
) -> ConditionalVAE:
    """The networks of conv_vae with a learned plane of each class beside the image, and the class beside the code.

    Raises ValueError for data with fewer than two classes.
    """
    blocks.refuse_unlabelled("conditional_vae", classes, "conv_vae")
    planes, height, width = image_shape
    return ConditionalVAE(
        blocks.strided_encoder((planes + 1, height, width), channels, 2 * latent_dim),
        blocks.strided_decoder(image_shape, channels, hidden, latent_dim + classes),
        latent_dim,
        image_shape,
        classes,
    )
