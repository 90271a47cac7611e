"""The array files that a report reads, and which axes each array has: odd ones are refused before they are drawn."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

Array = np.ndarray
DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError)
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
}
WHOLE = ("index", "label", "slice_dimension", "strip_dimension")
MAY_BE_EMPTY = "e"  # a collapsed posterior has no active dimension, so no strip


def read(file: Path, *keys: str) -> dict[str, Array]:
    """The named arrays of a file; empty where it lacks one, as files of older versions may.

    Raises one of DAMAGED for a file that cannot be read, or whose arrays have other axes or kinds of numbers.
    """
    # Opened here, for numpy leaves a file open that is no archive.
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as opened:
        if not set(keys) <= set(opened.files):
            return {}
        arrays = {key: opened[key] for key in keys}
    _check(arrays, AXES[file.stem])
    return arrays


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
