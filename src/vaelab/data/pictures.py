"""Images from files: a folder or a .zip of pictures, decoded by Pillow."""

import io
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

import numpy as np

from vaelab import UsageError
from vaelab.data.archives import images_in, unpacked
from vaelab.data.attributes import by_attribute, listings_in
from vaelab.data.classes import by_folders
from vaelab.data.decode import Header, decode, extremes, header, quiet_pillow
from vaelab.data.filenames import readable
from vaelab.data.limits import MOST_FILE_BYTES, refuse_bomb
from vaelab.data.ranges import BYTES, FILL, WORDS, Range, ambiguous
from vaelab.data.raw import Block, Labelled, Raw, Size, resized
from vaelab.data.sources import Source
from vaelab.data.tables import Listing, listing_at
from vaelab.files import refuse_irregular

LOOKED_AT = 64  # pictures of more than 8 bits, for what their values mean

Opener = Callable[[str], BinaryIO]


def read_folder(source: Source, size: Size, workers: int, attribute: str | None, span: Range | None) -> Raw:
    """The pictures of a folder, labelled by an attribute, else by sub-folder.

    Raises UsageError for mixed sizes where `size` is None, and as `by_attribute` does.
    """
    listings = [listing_at(file) for file in source.listings]
    labelled = _labelled(source.path, source.names(), listings, attribute)
    return raw_pictures(source.path, labelled, lambda name: _file(source.path / name), size, workers, span)


def read_zip(source: Source, size: Size, workers: int, attribute: str | None, span: Range | None) -> Raw:
    """The pictures of a .zip, read in memory; UsageError as `read_folder`, or for entries that leave it."""
    refuse_irregular(source.path)
    try:
        archive = zipfile.ZipFile(source.path)
    except (OSError, zipfile.BadZipFile) as error:
        raise UsageError(f"{source.path} cannot be read: {error}") from None
    entries = images_in(archive)
    if not entries:
        packed = next((entry for entry in archive.namelist() if entry.lower().endswith(".zip")), None)
        found = f", only {packed}: unpack it and" if packed else ":"
        raise UsageError(
            f"no images in {source.path}{found} give a folder or a .zip of images as dataset.path=PATH"
        )
    listings = [listing_at(file) for file in source.listings]
    labelled = _labelled(source.path, list(entries), listings or listings_in(archive), attribute)
    refuse_bomb(source.path, list(entries.values()), "unpack it and remove what is no image")
    return raw_pictures(
        source.path, labelled, lambda name: open_entry(archive, entries[name]), size, workers, span
    )


def _labelled(where: Path, names: list[str], listings: list[Listing], attribute: str | None) -> Labelled:
    images = readable(where, names)
    if attribute is not None:
        return by_attribute(where, images, listings, attribute)
    return by_folders(where, images)


def _file(path: Path) -> BinaryIO:
    if path.exists() and not path.is_file():
        raise ValueError("not a regular file")
    if path.stat().st_size > MOST_FILE_BYTES:
        raise ValueError(f"{path.stat().st_size / 1e9:.1f} GB, more than a picture has")
    return path.open("rb")


def open_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> BinaryIO:
    """A picture of a .zip, inflated to what it declares; ValueError where that is more than a picture has."""
    if entry.file_size > MOST_FILE_BYTES:
        raise ValueError(f"{entry.file_size / 1e9:.1f} GB, more than a picture has")
    return io.BytesIO(unpacked(archive, entry))


def raw_pictures(
    where: Path, labelled: Labelled, open_file: Opener, size: Size, workers: int, span: Range | None
) -> Raw:
    """Pictures that are opened by name, several at once, in about the order of the names."""
    names = labelled.names
    headers = _headers(where, names, open_file, workers, upright=size is None)
    _check_range(where, headers, open_file, workers, span)
    mode = "L" if all(found.gray for found in headers.values()) else "RGB"
    height, width = size or _common_size(where, headers)
    shape = (height, width, len(mode))

    def image(name: str) -> tuple[np.ndarray, int]:
        with headers[name].alone() if name in headers else nullcontext(), open_file(name) as stream:
            pixels, clipped = decode(stream, mode, span)
            if size is None and pixels.shape != shape:
                raise ValueError(f"{pixels.shape[1]}×{pixels.shape[0]} pixels, not {width}×{height}")
            return (pixels if pixels.shape == shape else resized(pixels, shape)), clipped

    def block(rows: range) -> Block:
        images, damaged = [], {}
        for row in rows:
            try:
                images.append(image(names[row]))
            except Exception as error:  # Pillow's decoders raise whatever they like on damaged bytes
                damaged[row] = _reason(error)
        pixels = np.stack([pixels for pixels, _ in images]) if images else np.empty((0, *shape), np.uint8)
        return Block(pixels, damaged, sum(clipped for _, clipped in images))

    _, labels, classes, split, selection = labelled
    return Raw(
        str(where), len(names), shape, labels, classes, tuple(names), split, block, selection, span or WORDS
    )


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()) or "damaged"


def _headers(
    where: Path, names: list[str], open_file: Opener, workers: int, upright: bool
) -> dict[str, Header]:
    def read(name: str) -> Header | str:
        try:
            with open_file(name) as stream:
                return header(stream, upright)
        except Exception as error:  # decoding reports this file by name, or skips it
            return _reason(error)

    with quiet_pillow(), ThreadPoolExecutor(workers) as pool:
        read_all = list(pool.map(read, names))
    headers = {name: found for name, found in zip(names, read_all, strict=True) if isinstance(found, Header)}
    if not headers:
        raise UsageError(
            f"none of the {len(names)} files of {where} can be read as an image, e.g. {names[0]} ({read_all[0]})"
        )
    return headers


def _check_range(
    where: Path, headers: dict[str, Header], open_file: Opener, workers: int, span: Range | None
) -> None:
    """Raises UsageError where values of more than 8 bits are so dark that their white must be another than thought."""

    def seen(names: list[str]) -> tuple[float, float] | None:
        looked_at = names[:: max(1, len(names) // LOOKED_AT)]
        with quiet_pillow(), ThreadPoolExecutor(workers) as pool:
            found = [values for values in pool.map(look, looked_at) if values]
        return (min(low for low, _ in found), max(high for _, high in found)) if found else None

    def look(name: str) -> tuple[float, float] | None:
        try:
            with headers[name].alone(), open_file(name) as stream:
                return extremes(stream)
        except Exception:  # decoding reports this file by name, or skips it
            return None

    deep = [name for name, found in headers.items() if found.deep]
    reduced = [name for name, found in headers.items() if found.reduced]
    if span is not None and not deep and not reduced:
        raise UsageError(f"{where}: dataset.range={span} is for values of more than 8 bits, and these have 8")
    values = seen(deep) if span is None else None
    if values and (values[0] < WORDS.low or not FILL * WORDS.high <= values[1] <= WORDS.high):
        raise ambiguous(f"{where}, {deep[0]} and others of more than 8 bits", *values)
    if span == WORDS or not reduced:
        return
    values = seen(reduced)
    if span is not None or (values and values[1] < FILL * BYTES.high):
        raise UsageError(
            f"{where}: of the 16 bits of each colour, as in {reduced[0]}, the upper 8 are read, and they are dark: "
            "convert the pictures to 8 bits, or give dataset.range=[0,65535] if they are meant to be dark"
        )


def _common_size(where: Path, headers: dict[str, Header]) -> tuple[int, int]:
    sizes = {header.size: name for name, header in headers.items()}
    if len(sizes) > 1:
        some = ", ".join(f"{name} {width}×{height}" for (height, width), name in list(sizes.items())[:2])
        raise UsageError(
            f"{where} has images of {len(sizes)} sizes ({some}): choose one, e.g. dataset.size=64"
        )
    return next(iter(sizes))
