"""Images from files: a folder or a .zip of pictures, decoded by Pillow."""

import io
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from vaelab import UsageError
from vaelab.data.attributes import Listing, by_attribute, listings_in
from vaelab.data.raw import Block, Labelled, Raw, Size, resized
from vaelab.data.sources import Source, images_in_zip

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

GRAY_MODES = frozenset(("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"))
EXIF_ORIENTATION = 0x0112

Opener = Callable[[str], BinaryIO]


class Header(NamedTuple):
    """What a picture's first bytes say: gray or not, height and width as shown."""

    gray: bool
    size: tuple[int, int]


def read_folder(source: Source, size: Size, workers: int, attribute: str | None) -> Raw:
    """The pictures of a folder, labelled by an attribute, else by sub-folder.

    Raises UsageError for mixed sizes where `size` is None, and as `by_attribute` does.
    """
    listings = [Listing(str(file), file.read_bytes()) for file in source.listings]
    labelled = _labelled(source.path, source.names(), listings, attribute)
    return _raw(source.path, labelled, lambda name: (source.path / name).open("rb"), size, workers)


def read_zip(source: Source, size: Size, workers: int, attribute: str | None) -> Raw:
    """The pictures of a .zip, read in memory; UsageError as `read_folder`, or for entries that leave it."""
    try:
        archive = zipfile.ZipFile(source.path)
    except (OSError, zipfile.BadZipFile) as error:
        raise UsageError(f"{source.path} cannot be read: {error}") from None
    names = images_in_zip(archive)
    if not names:
        packed = next((entry for entry in archive.namelist() if entry.lower().endswith(".zip")), None)
        found = f", only {packed}: unpack it and" if packed else ":"
        raise UsageError(
            f"no images in {source.path}{found} give a folder or a .zip of images as dataset.path=PATH"
        )
    listings = [Listing(str(file), file.read_bytes()) for file in source.listings]
    labelled = _labelled(source.path, names, listings or listings_in(archive), attribute)
    return _raw(source.path, labelled, lambda name: io.BytesIO(archive.read(name)), size, workers)


def _labelled(where: Path, names: list[str], listings: list[Listing], attribute: str | None) -> Labelled:
    if attribute is not None:
        return by_attribute(where, names, listings, attribute)
    return Labelled(names, *classes_of(names))


def classes_of(names: list[str]) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Labels (N,) and class names: the first folder that is not common to all; None where there is none."""
    folders = [PurePosixPath(name).parts[:-1] for name in names]
    shared = 0
    while all(len(parts) > shared for parts in folders) and len({parts[shared] for parts in folders}) == 1:
        shared += 1
    if any(len(parts) == shared for parts in folders):
        return None, ()
    classes, labels = np.unique([parts[shared] for parts in folders], return_inverse=True)
    return labels.astype(np.int64), tuple(str(name) for name in classes)


def decode(stream: BinaryIO, mode: str) -> np.ndarray:
    """One picture as uint8 (H, W, C), mode L or RGB: turned by its EXIF, alpha over white, 16 bits to 8."""
    from PIL import Image, ImageOps

    with Image.open(stream) as opened:
        picture = _opaque(_eight_bits(ImageOps.exif_transpose(opened))).convert(mode)
    return np.atleast_3d(np.asarray(picture))


def _eight_bits(picture: "Picture") -> "Picture":
    from PIL import Image

    if picture.mode == "F":
        raise ValueError("floating-point pixels have no fixed range")
    if not picture.mode.startswith("I"):
        return picture
    values = np.asarray(picture).astype(np.int64).clip(0, 65535)
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _opaque(picture: "Picture") -> "Picture":
    from PIL import Image

    if not picture.has_transparency_data:
        return picture
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture.convert("RGBA"))


def _header(stream: BinaryIO) -> Header:
    from PIL import Image

    with Image.open(stream) as picture:
        turned = picture.getexif().get(EXIF_ORIENTATION, 1) >= 5
        width, height = picture.size[::-1] if turned else picture.size
        return Header(picture.mode in GRAY_MODES, (height, width))


def _raw(where: Path, labelled: Labelled, open_file: Opener, size: Size, workers: int) -> Raw:
    from PIL import UnidentifiedImageError

    names = labelled.names
    headers = _headers(names, open_file, workers)
    if not headers:
        raise UsageError(
            f"none of the {len(names)} files of {where} can be read as an image, e.g. {names[0]}"
        )
    mode = "L" if all(header.gray for header in headers.values()) else "RGB"
    height, width = size or _common_size(where, headers)
    shape = (height, width, len(mode))

    def block(rows: range) -> Block:
        pixels, damaged = [], {}
        for row in rows:
            try:
                with open_file(names[row]) as stream:
                    image = decode(stream, mode)
            except UnidentifiedImageError:
                damaged[row] = "not an image"
                continue
            except Exception as error:  # Pillow's decoders raise whatever they like on damaged bytes
                damaged[row] = " ".join(str(error).split()) or type(error).__name__
                continue
            pixels.append(image if image.shape == shape else resized(image, shape))
        return Block(np.stack(pixels) if pixels else np.empty((0, *shape), np.uint8), damaged)

    _, labels, classes, split, selection = labelled
    return Raw(str(where), len(names), shape, labels, classes, tuple(names), split, block, selection)


def _headers(names: list[str], open_file: Opener, workers: int) -> dict[str, Header]:
    def header(name: str) -> Header | None:
        try:
            with open_file(name) as stream:
                return _header(stream)
        except Exception:  # decoding reports this file by name, or skips it
            return None

    with ThreadPoolExecutor(workers) as pool:
        found = pool.map(header, names)
        return {name: header for name, header in zip(names, found, strict=True) if header}


def _common_size(where: Path, headers: dict[str, Header]) -> tuple[int, int]:
    sizes = {header.size: name for name, header in headers.items()}
    if len(sizes) > 1:
        some = ", ".join(f"{name} {width}×{height}" for (height, width), name in list(sizes.items())[:2])
        raise UsageError(
            f"{where} has images of {len(sizes)} sizes ({some}): choose one, e.g. dataset.size=64"
        )
    return next(iter(sizes))
