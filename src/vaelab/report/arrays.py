"""The array files that a report reads, and which axes each array has: odd ones are refused before they are drawn."""

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
from vaelab.views import Rows

Array = np.ndarray
MOST_BYTES = 256 << 20  # of what is read of one file; an atlas of 128×128×3 has 140 MB
MOST_DIRECTORY = 64 << 10  # bytes of a file's list of arrays
LONGEST = 16_000  # along an axis of images; WebP has at most 16,383 pixels
# The end of a zip file without a comment: where a large one has a second end, the signature, the directory's size.
END = struct.Struct("<4s16x4s8xL6x")
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
HEADER = Lock()  # headers are parsed as Python, and Python 3.11 may fail when several threads parse at once
IMAGE = "hwc"

# A letter for each axis, the same length for the same letter of a file; a digit is a length; * is any further axes.
AXES: dict[str, dict[str, str]] = {
    "reconstructions": {"original": f"n{IMAGE}", "reconstruction": f"n{IMAGE}", "index": "n"},
    "prior_samples": {"image": f"n{IMAGE}", "aggregate_image": f"n{IMAGE}", "z": "n*", "label": "n"},
    "interpolations": {"image": f"ps{IMAGE}", "index": "p2"},
    "kl_per_dimension": {"kl": "d", "aggregate_variance": "d"},
    "latent_space": {"embedding": "n2", "index": "n", "label": "n"},
    "latent_space_tsne": {"embedding": "n2", "index": "n", "label": "n"},
    "atlas": {
        "slice": f"ss{IMAGE}",
        "slice_dimension": "2",
        "slice_value": "2s",
        "slice_kl": "2",
        "strip": f"et{IMAGE}",
        "strip_dimension": "e",
        "strip_value": "et",
        "strip_kl": "e",
        "index": "n",
        "original": f"n{IMAGE}",
        "reconstruction": f"n{IMAGE}",
    },
    "test_metrics": dict.fromkeys(("index", "mse", "psnr", "ssim"), "n"),
    "samples": {"image": f"n{IMAGE}", "label": "n", "z": "n*"},
    "z_interpolations": {"image": f"ps{IMAGE}", "label": "p", "z": "ps*"},
    "class_pairs": {"image": f"kv{IMAGE}", "label": "k", "z": "v*"},
    "nearest_neighbours": {
        "image": f"m{IMAGE}",  # the first of n samples
        "neighbour": f"mk{IMAGE}",
        "distance": "nk",
        "index": "nk",
    },
    "noise_perturbation": {
        "original": f"n{IMAGE}",
        "image": f"nk{IMAGE}",
        "index": "n",
        "z": "nk*",
        "label": "n",
        **dict.fromkeys(("mse", "psnr", "ssim"), "nk"),
    },
    "latent_edit": {
        "original": f"n{IMAGE}",
        "reconstruction": f"n{IMAGE}",
        "edited": f"nk{IMAGE}",
        "index": "n",
        "z": "nmd",  # m is 1 + k: the code as it was, then after each edit
    },
}
ZIP, ZIP64 = b"PK\x05\x06", b"PK\x06\x07"
KINDS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
WHOLE = ("index", "label", "slice_dimension", "strip_dimension")
MAY_BE_EMPTY = "e"  # a collapsed posterior has no active dimension, so no strip


def refuse(file: Path) -> None:
    """Raises UsageError for a file that is no regular one, or too large to be looked at."""
    files.refuse_irregular(file)
    _refuse_size(file, file.stat().st_size)


def fitting(view: Rows, found: dict[str, Array]) -> dict[str, Array]:
    """The arrays of a view; raises ValueError where they are not what it says: images, and values for every row."""
    images = found[view.images]
    for key in {view.images, view.beside, view.above} & found.keys():
        own = found[key]
        several = key != view.above and own.ndim == images.ndim == 5
        if (
            not (several or own.ndim == 4)
            or own.shape[-1] not in (1, 3)
            or not min(own.shape)
            or max(own.shape) > LONGEST
        ):
            raise ValueError(f"{key} holds no gray or colour images")
    for key in {*view.key, *view.arrays} & found.keys():
        if found[key].ndim == 0 or len(found[key]) < len(images):
            raise ValueError(f"{key} has too few values")
    return found


def read(
    file: Path, axes: Mapping[str, str], keys: Sequence[str], if_there: Sequence[str] = ()
) -> dict[str, Array]:
    """The named arrays of a file, with those of `if_there` that it has; empty where it lacks one of the others.

    Raises UsageError for more than a report reads, and any other error for a file that is damaged, or whose arrays
    have other axes or kinds of numbers.
    """
    with _opened(file) as archive:
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
    with _opened(file) as archive, archive.open(f"{key}.npy") as stream:
        return _header(stream)[0]


@contextmanager
def _opened(file: Path) -> Iterator[zipfile.ZipFile]:
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
