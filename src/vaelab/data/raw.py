"""What every reader hands over: images that can be decoded block by block to one shape."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vaelab.data.ranges import Range

Size = tuple[int, int] | None  # height and width; None: as stored


class Block(NamedTuple):
    """Decoded images (n, H, W, C) uint8, why the damaged ones of the rows asked for are missing, values clipped."""

    pixels: np.ndarray
    damaged: dict[int, str]
    clipped: int


class Selection(NamedTuple):
    """Which images of a source are used, where not all are."""

    positions: np.ndarray  # int64 (N,), of the images used among all of the source
    counts: dict[str, int]  # of what was left out, by what it is
    remark: str  # the same in words, empty where nothing was left out


class Labelled(NamedTuple):
    """Names of the images of a source that are used, with their labels."""

    names: list[str]
    labels: np.ndarray | None  # int64 (N,)
    classes: tuple[str, ...]
    split: np.ndarray | None = None  # the source's own, int8 (N,), indices into SPLITS or BY_HASH
    selection: Selection | None = None


@dataclass(frozen=True)
class Raw:
    """Images that are found and checked but not yet decoded."""

    where: str
    count: int
    shape: tuple[int, int, int]  # (H, W, C) of every decoded image
    labels: np.ndarray | None  # int64 (N,)
    classes: tuple[str, ...]
    names: tuple[str, ...] | None  # None: rows of an array
    split: np.ndarray | None  # the source's own, int8 (N,), indices into SPLITS or BY_HASH
    block: Callable[[range], Block]
    selection: Selection | None = None
    span: Range | None = None  # of the values, where they are no bytes


def resized(image: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """One uint8 image (H, W, C) at another size: Pillow's antialiased bicubic, aspect kept by centre crop."""
    from PIL import Image, ImageOps

    height, width, channels = shape
    picture = Image.fromarray(image[..., 0] if channels == 1 else image)
    fitted = ImageOps.fit(picture, (width, height), method=Image.Resampling.BICUBIC)
    return np.asarray(fitted).reshape(shape)


def fitted_block(images: np.ndarray, shape: tuple[int, int, int]) -> Block:
    """A block of undamaged images (n, h, w, c) uint8 at the size asked for."""
    if images.shape[1:] != shape:
        images = np.stack([resized(image, shape) for image in images])
    return Block(images, {}, 0)
