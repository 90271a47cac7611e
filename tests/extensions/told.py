"""A conditional VAE: the class stands beside the pixels and beside the code."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaelab.codes import Gaussian
from vaelab.models import VAE, ImageShape


class Told(VAE):
    offers = VAE.offers | {"classes"}

    def __init__(self, image_shape: ImageShape, classes: int, latent_dim: int, width: int) -> None:
        pixels = math.prod(image_shape)
        encoder = nn.Sequential(
            nn.Linear(pixels + classes, width), nn.ReLU(), nn.Linear(width, 2 * latent_dim)
        )
        decoder = nn.Sequential(
            nn.Linear(latent_dim + classes, width),
            nn.ReLU(),
            nn.Linear(width, pixels),
            nn.Unflatten(1, image_shape),
        )
        super().__init__(encoder, decoder, (latent_dim,))
        self.classes = classes

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Gaussian:
        mean, log_variance = self.encoder(self.beside(images.flatten(1), labels)).float().chunk(2, 1)
        return Gaussian(mean, log_variance.clamp(-30, 20))

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return torch.sigmoid(self.decoder(self.beside(z, labels)).float())

    def beside(self, values: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None
        return torch.cat((values, F.one_hot(labels, self.classes)), 1)
