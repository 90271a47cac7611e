"""Differentiable augmentation of what a discriminator sees (Zhao et al. 2020), on images in [-1, 1]."""

import torch
import torch.nn.functional as F
from torch import Tensor

TRANSLATION = 0.125  # of the side, to every direction
CUTOUT = 0.5  # of the side


def color(images: Tensor, noise: torch.Generator) -> Tensor:
    """Brightness by up to ±0.5, saturation and contrast by factors from 0 to 2 and 0.5 to 1.5: (B, C, H, W)."""
    images = images + uniform(images, noise) - 0.5
    gray = images.mean(1, keepdim=True)
    images = gray + (images - gray) * 2 * uniform(images, noise)
    level = images.mean((1, 2, 3), keepdim=True)
    return level + (images - level) * (uniform(images, noise) + 0.5)


def translation(images: Tensor, noise: torch.Generator) -> Tensor:
    """Moves each image by up to an eighth of its sides; what comes in is 0: (B, C, H, W)."""
    reach = [round(side * TRANSLATION) for side in images.shape[-2:]]
    padded = F.pad(images, (reach[1], reach[1], reach[0], reach[0]))
    rows, columns = (
        torch.randint(2 * most + 1, (len(images), 1), generator=noise, device=images.device)
        + torch.arange(side, device=images.device)
        for most, side in zip(reach, images.shape[-2:], strict=True)
    )
    number = torch.arange(len(images), device=images.device)[:, None, None]
    # Indices around the channel axis put it last.
    return padded[number, :, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)


def cutout(images: Tensor, noise: torch.Generator) -> Tensor:
    """Sets one rectangle of half the sides, anywhere and in part outside, to 0 in each image: (B, C, H, W)."""
    rows, columns = (cut(len(images), side, noise) for side in images.shape[-2:])
    return images * ~(rows[:, :, None] & columns[:, None, :])[:, None]


def cut(count: int, side: int, noise: torch.Generator) -> Tensor:
    """Which places (count, side) of one axis a random interval of half the side covers."""
    length = round(side * CUTOUT)
    first = (
        torch.randint(side + 1 - length % 2, (count, 1), generator=noise, device=noise.device) - length // 2
    )
    place = torch.arange(side, device=noise.device)
    return (place >= first) & (place < first + length)


def uniform(images: Tensor, noise: torch.Generator) -> Tensor:
    """One number in [0, 1) for each image, (B, 1, 1, 1)."""
    return torch.rand(len(images), 1, 1, 1, generator=noise, device=images.device)


AUGMENTATIONS = {"color": color, "translation": translation, "cutout": cutout}
