"""Arrays of images as small WebP pictures that a page can carry, several images in one picture."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

Array = np.ndarray
QUALITY = 84  # of WebP: at 28×28 and 64×64 no blocks are seen, at a fifth of PNG's bytes
LARGEST_CELL = 96  # pixels; a page shows no image larger than this from one of its sheets
LARGEST_ON_PAPER = 256  # pixels of an image's side on paper
WIDEST = 16_383  # pixels of a WebP picture
AT_ONCE = 16 << 20  # bytes of images that are rounded together


@dataclass(frozen=True)
class Sheet:
    """One picture with images in rows and columns, without gaps."""

    uri: str
    rows: int
    columns: int
    cell: tuple[int, int]  # width and height in pixels

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the whole picture."""
        return self.columns * self.cell[0], self.rows * self.cell[1]

    def as_json(self) -> dict[str, object]:
        """What the page's script needs to cut it up."""
        return {"uri": self.uri, "rows": self.rows, "columns": self.columns, "cell": self.cell}


@dataclass(frozen=True)
class Strip:
    """One row of a matrix: images of one run, and what each column is."""

    run: str
    label: str
    images: Array  # (columns, H, W, C) uint8
    sheet: Sheet
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Matrix:
    """Rows of images that the eye compares."""

    id: str
    title: str
    strips: tuple[Strip, ...]
    left_out: tuple[str, ...] = ()  # labels of runs that show other images, or none
    frames: tuple[tuple[str, "Matrix"], ...] = ()  # the same earlier in training, with when
    note: str = ""
    on_paper: bool = False  # whether report.md shows it
    why: str = "Not here, for they have none yet, or show other images"  # of those left out

    @property
    def widest(self) -> int:
        """Images of the longest row."""
        return max(len(strip.columns) for strip in self.strips)


def strip_of(run: str, label: str, images: Array, columns: Sequence[str], scale: float) -> Strip:
    """A row of the first images (N, H, W, C) in [0, 1], one for each column, each reduced by `scale` in the sheet."""
    images = images[: len(columns)]
    step = -(-max(images.shape[1:3]) // LARGEST_ON_PAPER)
    kept = in_bytes(images[:, ::step, ::step])
    return Strip(run, label, kept, sheet(images[None], scale), tuple(columns))


def sheet(images: Array, scale: float = 1.0) -> Sheet:
    """Images (rows, columns, H, W, C) in [0, 1] as one picture, each reduced by `scale` and to at most 96 pixels."""
    rows, columns, height, width, channels = images.shape
    pixels = in_bytes(images).transpose(0, 2, 1, 3, 4).reshape(rows * height, columns * width, channels)
    picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    factor = min(1.0, scale, LARGEST_CELL / max(height, width))
    cell = (_fit(width * factor, columns), _fit(height * factor, rows))
    if cell != (width, height):
        picture = picture.resize((columns * cell[0], rows * cell[1]), Image.Resampling.BOX)
    return Sheet(_uri(picture), rows, columns, cell)


def in_bytes(images: Array) -> Array:
    """Images in [0, 1] as uint8; what is not a number is black."""
    if images.nbytes > AT_ONCE and images.ndim > 3:
        return np.stack([in_bytes(part) for part in images])
    scaled = images * np.float32(255)
    np.fmax(scaled, 0, out=scaled)  # which drops what is not a number
    np.minimum(scaled, 255, out=scaled)
    scaled += np.float32(0.5)
    return scaled.astype(np.uint8)


def _fit(side: float, count: int) -> int:
    """The side in whole pixels, of which `count` fit into a picture."""
    return max(1, min(max(4, round(side)), WIDEST // count))


def _uri(picture: Image.Image) -> str:
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=QUALITY, method=2)
    return "data:image/webp;base64," + base64.b64encode(stream.getvalue()).decode()
