"""The array files that a report reads, and which axes each array has: odd ones are refused before they are drawn."""

import io
import math
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import IO

import numpy as np

Array = np.ndarray
DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError)
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
HEADER = Lock()  # headers are parsed as Python, and Python 3.11 may fail when several threads parse at once
IMAGE = "hwc"

# A letter for each axis, the same length for the same letter of a file; a digit is a length; * is any further axes.
AXES: dict[str, dict[str, str]] = {
    "reconstructions": {"original": f"n{IMAGE}", "reconstruction": f"n{IMAGE}", "index": "n"},
    "prior_samples": {"image": f"n{IMAGE}", "aggregate_image": f"n{IMAGE}", "z": "n*"},
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
WHOLE = ("index", "label", "slice_dimension", "strip_dimension")
MAY_BE_EMPTY = "e"  # a collapsed posterior has no active dimension, so no strip


def read(file: Path, kind: str, *keys: str) -> dict[str, Array]:
    """The named arrays of a file of a kind of AXES; empty where it lacks one, as files of older versions may.

    Raises one of DAMAGED for a file that cannot be read, or whose arrays have other axes or kinds of numbers.
    """
    with zipfile.ZipFile(file) as archive:
        if not {f"{key}.npy" for key in keys} <= set(archive.namelist()):
            return {}
        arrays = {key: _array(archive.read(f"{key}.npy")) for key in keys}
    _check(arrays, AXES[kind])
    return arrays


def shape(file: Path, key: str) -> tuple[int, ...]:
    """The shape of one array of a file, whose values are not read; raises one of DAMAGED where there is none."""
    with zipfile.ZipFile(file) as archive, archive.open(f"{key}.npy") as stream:
        return _header(stream)[0]


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns come first, and kind of numbers."""
    with HEADER:
        return HEADERS[np.lib.format.read_magic(stream)](stream)


def _array(data: bytes) -> Array:
    """One array of an archive, without the pickles that numpy's format may hold."""
    stream = io.BytesIO(data)
    shape, in_columns, dtype = _header(stream)
    if dtype.hasobject:
        raise ValueError("holds Python objects")
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
        if named.endswith(IMAGE) and array.shape[-1] not in (1, 3):
            raise ValueError(f"{key} holds no gray or colour images")
