"""The VAE of a discrete code: one of K vectors at each place (van den Oord et al. 2017)."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn

from vaelab.bounds import Between, Maps, Width
from vaelab.codes import Code, Quantised
from vaelab.models.blocks import EncoderDecoder, ImageShape, Reshape, stage_sizes, stage_widths
from vaelab.models.quantisers import Codebook, Grid, Quantiser
from vaelab.models.resnet import activated, growing, halving, residual_decoder, residual_encoder, residuals
from vaelab.quantities import Quantity

HALVINGS = 2  # of the resolution, from the image to a spatial code
MOST = 65_536  # vectors


class VQVAE(EncoderDecoder):
    """An encoder to vectors at places (B, P, D), a quantiser of these, and a decoder of what it gives.

    The prior is the frequency of each vector at each place, one place for itself: what an image's places have to do
    with each other it does not know. Whatever is decoded is first replaced by the nearest vectors.
    """

    offers: ClassVar[frozenset[str]] = frozenset({"encoder", "prior", "quantiser"})
    prior: ClassVar[str | None] = "prior of counted vectors, each place by itself"

    def __init__(self, encoder: nn.Module, decoder: nn.Module, quantiser: Quantiser) -> None:
        super().__init__(encoder, decoder, (len(quantiser.frequency), quantiser.dim))
        self.quantiser = quantiser
        self.quantities = (
            Quantity("batch_perplexity", "perplexity of the codebook, of a batch"),
            Quantity("batch_codebook_use", "share of the codebook that is used, of a batch"),
        )

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Quantised:
        """Images (B, C, H, W) in [0, 1] to the nearest vectors at each place, (B, P, D)."""
        code: Quantised = self.quantiser(self.encoder(images))
        return code

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """The nearest vectors of (B, P, D) to images (B, C, H, W) in [0, 1], always in float32."""
        # In training they are what the quantiser gave.
        return super().decode(z if self.training else self.quantiser.snapped(z))

    def after_step(self, code: Code, noise: torch.Generator) -> None:
        """Moves the codebook and the prior toward a training batch."""
        assert isinstance(code, Quantised)
        self.quantiser.after_step(code, noise)

    def draw(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Codes (count, P, D) from the prior on the model's device, the same ones on any device."""
        prior = self.quantiser.prior
        if generator is not None:
            prior = prior.to(generator.device)
        index = torch.multinomial(prior, count, replacement=True, generator=generator).T
        return self.quantiser.vectors(index.to(self.quantiser.frequency.device))


class Places(nn.Module):
    """(B, D, H, W) to (B, H * W, D)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(2).transpose(1, 2)


class Map(nn.Module):
    """(B, H * W, D) to (B, D, H, W)."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, z: Tensor) -> Tensor:
        return z.transpose(1, 2).unflatten(2, self.size)


def spatial_networks(
    image_shape: ImageShape, dim: int, channels: int, blocks: int
) -> tuple[nn.Module, nn.Module, int]:
    """Encoder to and decoder from vectors that keep the image's layout, at a quarter of its sides; and the places."""
    sizes = stage_sizes(image_shape)[: HALVINGS + 1]
    widths = [image_shape[0], *stage_widths(channels, len(sizes) - 1)]
    down = [nn.Sequential(halving(a, b), *residuals(b, blocks)) for a, b in pairwise(widths)]
    up = [
        nn.Sequential(*residuals(b, blocks), growing(b, a, size))
        for (a, b), size in zip(pairwise(widths[1:]), sizes[1:-1], strict=True)
    ]
    encoder = nn.Sequential(*down, nn.SiLU(), nn.Conv2d(widths[-1], dim, 1), Places())
    decoder = nn.Sequential(
        Map(sizes[-1]),
        nn.Conv2d(dim, widths[-1], 3, padding=1),
        *reversed(up),
        *residuals(widths[1], blocks),
        activated(growing(widths[1], widths[0], sizes[0]), widths[1]),
    )
    return encoder, decoder, sizes[-1][0] * sizes[-1][1]


def vector_networks(
    image_shape: ImageShape, places: int, dim: int, channels: int, blocks: int, hidden: int
) -> tuple[nn.Module, nn.Module, int]:
    """Encoder to and decoder from so many vectors, each of which may tell of the whole image."""
    encoder = residual_encoder(image_shape, channels, blocks, places * dim)
    decoder = residual_decoder(image_shape, channels, blocks, hidden, places * dim)
    return nn.Sequential(encoder, Reshape((places, dim))), nn.Sequential(nn.Flatten(), decoder), places


def vq_vae(
    image_shape: ImageShape,
    latent_dim: Width,
    layout: Literal["spatial", "vector"],
    quantiser: Literal["vq", "fsq"],
    codes: Annotated[int, Between(2, MOST)],
    code_dim: Annotated[int, Between(1, 1024)],
    levels: Sequence[Annotated[int, Between(2, 256)]],
    channels: Maps,
    blocks: Annotated[int, Between(1, 64)],
    hidden: Width,
) -> VQVAE:
    """Residual networks around a codebook of `codes` vectors (vq) or a grid of `levels` (fsq).

    A spatial code has a place for each 4×4 pixels, of images with a side below 16 for each 2×2; one of vectors has
    `latent_dim` places. Raises ValueError for levels that are no grid.
    """
    if quantiser == "fsq" and not 2 <= math.prod(levels) <= MOST:
        raise ValueError(
            f"quantiser=fsq takes levels whose product, the number of vectors, is from 2 to {MOST:,}: "
            "give model.levels=[8,6,5]"
        )
    dim = code_dim if quantiser == "vq" else len(levels)
    if layout == "spatial":
        encoder, decoder, places = spatial_networks(image_shape, dim, channels, blocks)
    else:
        encoder, decoder, places = vector_networks(image_shape, latent_dim, dim, channels, blocks, hidden)
    return VQVAE(
        encoder, decoder, Codebook(places, codes, dim) if quantiser == "vq" else Grid(places, levels)
    )
