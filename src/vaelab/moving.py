"""Moving pictures: frames of images as a GIF of bounded size, the same bytes for the same arrays."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from vaelab import files
from vaelab.canvas import Array, in_rows

MOST_BYTES = 1_000_000
COLUMNS = 8
GAP = 2  # white pixels between two images
STEP, HOLD, EPOCH = 150, 900, 1200  # milliseconds of a step, of an end, of an epoch


@dataclass(frozen=True)
class Moving:
    """Frames (T, rows, columns, H, W, C) of images in [0, 1], and the milliseconds of each."""

    frames: Array
    milliseconds: Sequence[int]


def there_and_back(images: Array) -> Moving:
    """Images (N, T, H, W, C) along N ways side by side, there and back again."""
    there = np.stack([in_rows(frame, COLUMNS) for frame in images.swapaxes(0, 1)])
    last = len(there) - 1
    held = [HOLD if place in (0, last) else STEP for place in range(len(there))]
    return Moving(np.concatenate((there, there[-2:0:-1])), [*held, *held[-2:0:-1]])


def along_epochs(frames: Sequence[Array]) -> Moving:
    """Images (rows, columns, H, W, C) at one epoch after the other."""
    return Moving(np.stack(frames), [EPOCH] * (len(frames) - 1) + [2 * EPOCH])


def gif(moving: Moving) -> bytes:
    """The frames as a GIF that goes on for ever; gray is exact, and colours are 256 that all frames share.

    Columns, then rows, are left out until it is small enough. Frames that are alike are one that lasts as long.
    """
    frames = moving.frames
    while True:
        encoded = _encoded(frames, moving.milliseconds)
        rows, columns = frames.shape[1:3]
        if len(encoded) <= MOST_BYTES or rows == columns == 1:
            return encoded
        frames = frames[:, :, : columns // 2] if columns > 1 else frames[:, : rows // 2]


def save_gif(moving: Moving, path: Path) -> None:
    """Writes a GIF whole or not at all."""
    with files.whole(path) as part:
        part.write_bytes(gif(moving))


def _encoded(frames: Array, milliseconds: Sequence[int]) -> bytes:
    sheets = [_sheet(frame) for frame in frames]
    if sheets[0].shape[-1] == 1:
        pictures = [Image.fromarray(sheet[..., 0]) for sheet in sheets]
    else:
        whole = Image.fromarray(np.concatenate(sheets))
        palette = whole.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        pictures = [
            Image.fromarray(sheet).quantize(palette=palette, dither=Image.Dither.NONE) for sheet in sheets
        ]
    stream = io.BytesIO()
    pictures[0].save(
        stream, "GIF", save_all=True, append_images=pictures[1:], duration=list(milliseconds), loop=0,
        optimize=False,
    )  # fmt: skip
    return stream.getvalue()


def _sheet(images: Array) -> Array:
    """Images (rows, columns, H, W, C) in [0, 1] as one picture in bytes, with gaps between them."""
    rows, columns, height, width, channels = images.shape
    spaced = np.full((rows, height + GAP, columns, width + GAP, channels), 255, np.uint8)
    spaced[:, :height, :, :width] = np.round(images.transpose(0, 2, 1, 3, 4) * 255)
    return spaced.reshape(rows * (height + GAP), columns * (width + GAP), channels)[:-GAP, :-GAP]
