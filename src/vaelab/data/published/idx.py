"""The IDX format of MNIST and of what replaces it."""

import struct
from math import prod
from pathlib import Path

import numpy as np


def idx(file: Path) -> np.ndarray:
    """The bytes of an IDX file (LeCun et al. 1998) as an array, memory-mapped; ValueError unless it is whole."""
    with file.open("rb") as stream:
        zeros, kind, axes = struct.unpack(">HBB", stream.read(4).ljust(4))
        shape = struct.unpack(f">{axes}I", stream.read(4 * axes).ljust(4 * axes))
        start = stream.tell()
    if (zeros, kind) != (0, 8) or not prod(shape) or file.stat().st_size != start + prod(shape):
        raise ValueError(f"{file.name} is no IDX file of bytes, or not all of one")
    return np.memmap(file, np.uint8, "r", start, shape)
