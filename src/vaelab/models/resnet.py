"""The residual VAE: blocks of pre-activation (He et al. 2016, "Identity Mappings")."""

import math
from itertools import pairwise
from typing import Annotated

from torch import Tensor, nn

from vaelab.bounds import Between, Maps, Width
from vaelab.models.blocks import Expand, ImageShape, Reshape, doubling, stage_sizes, stage_widths
from vaelab.models.vae import VAE


def activated(layer: nn.Module, channels: int) -> nn.Sequential:
    """GroupNorm in up to 8 groups and the activation, before a layer."""
    return nn.Sequential(nn.GroupNorm(math.gcd(8, channels), channels), nn.SiLU(), layer)


class Residual(nn.Module):
    """(B, C, H, W) to x + f(x), where f is twice norm, activation and 3×3 convolution (He et al. 2016, figure 1b).

    The last convolution begins at zero, so that the block begins as the identity (Goyal et al. 2017, section 5.1;
    Zhang et al. 2019, Fixup).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        last = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.change = nn.Sequential(activated(first, channels), activated(last, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.change(x)


def residuals(channels: int, blocks: int) -> list[nn.Module]:
    """Residual blocks at one resolution."""
    return [Residual(channels) for _ in range(blocks)]


def halving(a: int, b: int) -> nn.Module:
    """The 4×4 convolution of stride 2, with weights that keep the variance, which no norm does on this path."""
    layer = nn.Conv2d(a, b, 4, stride=2, padding=1)
    nn.init.normal_(layer.weight, std=(16 * a) ** -0.5)
    return layer


def growing(a: int, b: int, size: tuple[int, int]) -> nn.Module:
    """The transposed convolution to this size, with weights that keep the variance: four of the 16 reach each pixel."""
    layer = doubling(a, b, size, bias=True)
    nn.init.normal_(layer.weight, std=(4 * a) ** -0.5)
    return layer


def residual_encoder(image_shape: ImageShape, channels: int, blocks: int, out: int) -> nn.Module:
    """Images (B, C, H, W) to (B, out): strided 4×4 convolutions, each with residual blocks after it.

    No norm is on the path of the identity, nor before the last layer: it would take brightness and contrast away.
    """
    sizes = stage_sizes(image_shape)
    widths = [image_shape[0], *stage_widths(channels, len(sizes) - 1)]
    stages = [nn.Sequential(halving(a, b), *residuals(b, blocks)) for a, b in pairwise(widths)]
    end = nn.Linear(widths[-1] * math.prod(sizes[-1]), out)
    return nn.Sequential(*stages, nn.SiLU(), nn.Flatten(), end)


def residual_decoder(
    image_shape: ImageShape, channels: int, blocks: int, hidden: int, latent_dim: int
) -> nn.Module:
    """Codes (B, latent_dim) to logits (B, C, H, W): the residual encoder run backwards."""
    sizes = stage_sizes(image_shape)
    widths = stage_widths(channels, len(sizes) - 1)
    stages = [
        nn.Sequential(*residuals(b, blocks), growing(b, a, size))
        for (a, b), size in zip(pairwise(widths), sizes[1:-1], strict=True)
    ]
    return nn.Sequential(
        Expand(latent_dim, hidden, widths[-1] * math.prod(sizes[-1])),
        Reshape((widths[-1], *sizes[-1])),
        *reversed(stages),
        *residuals(widths[0], blocks),
        activated(growing(widths[0], image_shape[0], sizes[0]), widths[0]),
    )


def resnet_vae(
    image_shape: ImageShape,
    latent_dim: Width,
    channels: Maps,
    blocks: Annotated[int, Between(1, 64)],
    hidden: Width,
) -> VAE:
    """Residual blocks at each resolution but the image's own; latents (B, latent_dim)."""
    return VAE(
        residual_encoder(image_shape, channels, blocks, 2 * latent_dim),
        residual_decoder(image_shape, channels, blocks, hidden, latent_dim),
        (latent_dim,),
    )
