"""Decodes one picture with Pillow: turned upright, laid over white, in 8 bits; or says in words why it cannot."""

import re
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from vaelab.data.limits import MOST_PIXELS, too_large
from vaelab.data.ranges import WORDS, Range, scaled

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from PIL.ImageFile import ImageFile

# A file is what its bytes are: without this list a .png that is PostScript would start Ghostscript.
FORMATS = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
GRAY_MODES = frozenset(("1", "L", "LA", "La", "F"))
SIDEWAYS = (5, 6, 7, 8)  # values of EXIF's orientation that swap height and width
EXIF_ORIENTATION = 0x0112
SIGNATURES = {  # of formats that Pillow reads in some builds only, or not at all; offset and bytes
    "HEIC": (4, (b"ftyphei", b"ftyphev", b"ftypmif1", b"ftypmsf1")),
    "AVIF": (4, (b"ftypavi",)),
    "JPEG 2000": (0, (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")),
    "JPEG XL": (0, (b"\0\0\0\x0cJXL ", b"\xff\x0a")),
}
DEEP_COLOURS = re.compile(r"(RGB|RGBX|RGBA|LA|CMYK);16[BLN]")  # as Pillow names the pixels of a file
LARGE_PIXELS = 1 << 24
_ONE_LARGE = Lock()


class Header(NamedTuple):
    """What a picture's first bytes say of its colours, its height and width as shown, and its bits."""

    gray: bool
    size: tuple[int, int]
    deep: bool  # more than 8 bits, or floating-point
    reduced: bool  # colours of 16 bits, of which Pillow hands over the upper 8

    def alone(self) -> AbstractContextManager[object]:
        """Large pictures are decoded one at a time: each takes up to 16 bytes a pixel while it is."""
        height, width = self.size
        return _ONE_LARGE if height * width > LARGE_PIXELS else nullcontext()


def header(stream: BinaryIO, upright: bool) -> Header:
    """The header of a picture; without `upright` its size may be turned by 90°, and a .png is read faster."""
    with _opened(stream) as picture:
        found = Header(
            gray=picture.mode in GRAY_MODES or picture.mode.startswith("I"),
            size=picture.size[::-1],
            deep=picture.mode == "F" or picture.mode.startswith("I"),
            reduced=any(DEEP_COLOURS.search(str(tile.args)) for tile in picture.tile),
        )
        if not upright:
            return found
        with found.alone():  # where a .png has its EXIF at the end, Pillow decodes it to find it
            return found._replace(size=found.size[::-1]) if _is_sideways(picture) else found


def decode(stream: BinaryIO, mode: str, span: Range | None) -> tuple[np.ndarray, int]:
    """One picture as uint8 (H, W, C), mode L or RGB, and how many of its values were clipped to the range.

    `span` is that of gray values of more than 8 bits; without one those are 16 bits. Raises ValueError for what is no
    picture, too large, or without a range, and whatever Pillow raises for damaged ones.
    """
    from PIL import ImageOps

    with _opened(stream) as picture:
        picture.load()
        if _orientation(picture) is not None:
            ImageOps.exif_transpose(picture, in_place=True)
        shown, clipped = _eight_bits(picture, span)
        shown = _opaque(shown)
        shown = (
            shown if shown.mode == mode else shown.convert(mode)
        )  # a large one is let go of before the next
        return np.atleast_3d(np.asarray(shown)), clipped


def extremes(stream: BinaryIO) -> tuple[float, float]:
    """The smallest and the largest value, but for alpha, as Pillow reads a picture; raises as `decode` does."""
    with _opened(stream) as picture:
        values = np.asarray(picture)[..., :-1] if picture.mode in ("LA", "RGBA") else np.asarray(picture)
        return values.min().item(), values.max().item()


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Ignores what Pillow warns of, here and in all threads that are started: each picture is read or named."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="PIL")
        yield


@contextmanager
def _opened(stream: BinaryIO) -> Iterator["ImageFile"]:
    from PIL import Image, UnidentifiedImageError

    try:
        picture = Image.open(stream, formats=_formats())
    except UnidentifiedImageError:
        raise ValueError(_unidentified(stream)) from None
    except Image.DecompressionBombError:
        raise ValueError(f"more than the {MOST_PIXELS:,} pixels that are read") from None
    with picture:
        width, height = picture.size
        if width * height > MOST_PIXELS:
            raise ValueError(too_large(height, width))
        yield picture


@cache
def _formats() -> tuple[str, ...]:
    from PIL import Image

    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _unidentified(stream: BinaryIO) -> str:
    stream.seek(0)
    head = stream.read(16)
    for name, (offset, starts) in SIGNATURES.items():
        if head[offset:].startswith(starts):
            return f"{name}, which this Pillow cannot read: convert it to PNG or JPEG"
    return "not an image" if head else "an empty file"


def _is_sideways(picture: "Picture") -> bool:
    # Pillow gives the size of a TIFF as its own tag turns it, but not as XMP does, which also turns it.
    is_turned = getattr(picture, "tag_v2", {}).get(EXIF_ORIENTATION) in SIDEWAYS
    return _orientation(picture) in SIDEWAYS and not is_turned


def _orientation(picture: "Picture") -> object:
    try:
        return picture.getexif().get(EXIF_ORIENTATION)
    except Exception:  # EXIF that cannot be read says nothing; whether the pixels can, decoding tells
        return None


def _eight_bits(picture: "Picture", span: Range | None) -> tuple["Picture", int]:
    from PIL import Image

    if picture.mode == "F" and span is None:
        raise ValueError("floating-point pixels do not say which is white: give e.g. dataset.range=[0,1]")
    if picture.mode != "F" and not picture.mode.startswith("I"):
        return picture, 0
    values = np.asarray(picture)
    if not np.isfinite(values).all():
        raise ValueError("NaN or infinite values")
    if span is None and not (values.min() >= WORDS.low and values.max() <= WORDS.high):
        raise ValueError(f"values from {values.min()} to {values.max()}: give dataset.range=[LOW,HIGH]")
    pixels, clipped = scaled(values, span or WORDS)
    return Image.fromarray(pixels), clipped


def _opaque(picture: "Picture") -> "Picture":
    from PIL import Image

    if not picture.has_transparency_data:
        return picture
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture if picture.mode == "RGBA" else picture.convert("RGBA"))
