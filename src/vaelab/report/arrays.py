"""The array files that a report reads: those that are too large, damaged or odd are refused before they are drawn.

Axes are a letter for each, the same length for the same letter of a file; a digit is a length; * is any further axes.
"""

import io
import math
import struct
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import IO

import numpy as np

from vaelab import UsageError, files
from vaelab.views import FIELD, Rows

Array = np.ndarray
MOST_BYTES = 256 << 20  # of what is read of one file; an atlas of 128×128×3 has 140 MB
MOST_DIRECTORY = 64 << 10  # bytes of a file's list of arrays
LONGEST = 16_000  # along an axis of images; WebP has at most 16,383 pixels
# The end of a zip file without a comment: where a large one has a second end, the signature, the directory's size.
END = struct.Struct("<4s16x4s8xL6x")
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
HEADER = Lock()  # headers are parsed as Python, and Python 3.11 may fail when several threads parse at once
IMAGE = "hwc"

ZIP, ZIP64 = b"PK\x05\x06", b"PK\x06\x07"
KINDS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
WHOLE = ("index", "label", "slice_dimension", "strip_dimension")
MAY_BE_EMPTY = "e"  # a collapsed posterior has no active dimension, so no strip


def refuse(file: Path) -> None:
    """Raises UsageError for a file that is no regular one, or too large to be looked at."""
    files.refuse_irregular(file)
    _refuse_size(file, file.stat().st_size)


def check_view(view: Rows, found: dict[str, Array]) -> dict[str, Array]:
    """The arrays of a view; raises ValueError where they are not what it says: images, and values for every row."""
    images = found[view.images]
    if view.columns_first and images.ndim != 5:
        raise ValueError(f"{view.images} has no rows")
    rows, columns = images.shape[:2] if images.ndim == 5 else (1, len(images))
    if view.columns_first:
        rows, columns = columns, rows
    for key in {view.images, view.beside, view.above} & found.keys():
        own = found[key]
        lengths = (rows, columns) if own.ndim == images.ndim == 5 and key != view.above else (columns,)
        if view.columns_first:
            lengths = lengths[::-1]
        as_images = own.shape[-3:] == images.shape[-3:] and own.shape[-1] in (1, 3)
        if own.shape[: own.ndim - 3] != lengths or not as_images or not min(own.shape):
            raise ValueError(f"{key} holds no gray or colour images")
        if max(own.shape) > LONGEST:
            raise ValueError(f"{key} is too large")
    of_rows = {name for _, name, _ in FIELD.findall(view.rows)}
    for key in {*view.key, *view.arrays} & found.keys():
        own = found[key]
        least = rows if view.columns_first and key in of_rows and own.ndim == 1 else len(images)
        if (
            own.ndim == 0
            or len(own) < least
            or (view.columns_first and own.ndim == 2 and own.shape[1] != rows)
        ):
            raise ValueError(f"{key} has too few values")
    return found


def read(
    file: Path, axes: Mapping[str, str], keys: Sequence[str], if_there: Sequence[str] = ()
) -> dict[str, Array]:
    """The named arrays of a file, with those of `if_there` that it has; empty where it lacks one of the others.

    Raises UsageError for more than a report reads, and any other error for a file that is damaged, or whose arrays
    have other axes or kinds of numbers.
    """
    with _open(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        wanted = {key: entries.get(f"{key}.npy") for key in dict.fromkeys((*keys, *if_there))}
        if any(wanted[key] is None for key in keys):
            return {}
        found = {key: entry for key, entry in wanted.items() if entry is not None}
        _refuse_size(file, sum(entry.file_size for entry in found.values()))
        arrays = {key: _array(archive.read(entry)) for key, entry in found.items()}
    _check(arrays, axes)
    return arrays


def shape(file: Path, key: str) -> tuple[int, ...]:
    """The shape of one array of a file, whose values are not read; raises some error where there is none."""
    refuse(file)
    with _open(file) as archive, archive.open(f"{key}.npy") as stream:
        return _header(stream)[0]


@contextmanager
def _open(file: Path) -> Iterator[zipfile.ZipFile]:
    """A zip file as numpy writes it, whose directory is looked at before it is read whole."""
    with file.open("rb") as stream:
        stream.seek(-END.size, io.SEEK_END)
        second, signature, size = END.unpack(stream.read())
        if second == ZIP64 or signature != ZIP or size > MOST_DIRECTORY:
            raise ValueError("has no end as numpy writes it")
        with zipfile.ZipFile(stream) as archive:
            if any(entry.compress_type not in KINDS for entry in archive.infolist()):
                raise ValueError("is compressed in another way")
            yield archive


def _refuse_size(file: Path, size: int) -> None:
    if size > MOST_BYTES:
        raise UsageError(
            f"{file} is left out: it holds more than the {MOST_BYTES / 1e6:.0f} MB that a report reads of a file"
        )


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns come first, and kind of numbers."""
    with HEADER:
        return HEADERS[np.lib.format.read_magic(stream)](stream)


def _array(data: bytes) -> Array:
    """One array of an archive, without the pickles that numpy's format may hold."""
    stream = io.BytesIO(data)
    shape, in_columns, dtype = _header(stream)
    if dtype.kind not in "fiub":
        raise ValueError("holds no numbers")
    values = np.frombuffer(data, dtype, math.prod(shape), stream.tell())
    return values.reshape(shape, order="F" if in_columns else "C")


def _check(arrays: Mapping[str, Array], axes: Mapping[str, str]) -> None:
    lengths: dict[str, int] = {}
    for key, array in arrays.items():
        named = axes[key].removesuffix("*")
        if array.dtype.kind not in ("iu" if key in WHOLE else "fiub"):
            raise ValueError(f"{key} holds no numbers of its kind")
        if array.ndim < len(named) or (array.ndim > len(named) and named == axes[key]):
            raise ValueError(f"{key} has {array.ndim} axes")
        for letter, length in zip(named, array.shape, strict=False):
            expected = int(letter) if letter.isdigit() else lengths.setdefault(letter, length)
            if length != expected or (length == 0 and letter != MAY_BE_EMPTY):
                raise ValueError(f"{key} has the shape {array.shape}")
        if named.endswith(IMAGE) and (array.shape[-1] not in (1, 3) or max(array.shape) > LONGEST):
            raise ValueError(f"{key} holds no gray or colour images")
