"""Reads dSprites and 3D Shapes, which show every combination of some factors; the shape is the class."""

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy

from vaelab import UsageError
from vaelab.data.raw import Block, Raw, Size, fitted_block
from vaelab.data.stream import Stream

PIECE = 256  # images of a compressed array that are unpacked at a time
CHUNK_BYTES = 1 << 29  # most bytes of images that lie in the same chunks of HDF5, and are unpacked together


def dsprites(file: Path, size: Size, classes: tuple[str, ...]) -> Raw:
    """The images of Matthey et al. 2017 as published: an .npz, of which only two arrays are read, and no pickle."""
    with zipfile.ZipFile(file) as archive:
        with archive.open("latents_classes.npy") as stream:
            count, factors = _header(stream, (737_280, 6), np.int64)
            labels = np.frombuffer(stream.read(count * factors * 8), np.int64).reshape(count, factors)[:, 1]
        with archive.open("imgs.npy") as stream:
            _header(stream, (count, 64, 64), np.uint8)

    def images() -> Iterator[np.ndarray]:
        with zipfile.ZipFile(file) as archive, archive.open("imgs.npy") as stream:
            _header(stream, (count, 64, 64), np.uint8)
            for first in range(0, count, PIECE):
                binary = stream.read(min(PIECE, count - first) * 64 * 64)
                yield from np.frombuffer(binary, np.uint8).reshape(-1, 64, 64, 1) * np.uint8(255)

    return _raw(file, labels, (64, 64, 1), classes, images, size)


def _header(stream: IO[bytes], most: tuple[int, ...], dtype: type) -> tuple[int, ...]:
    """The shape that an .npy declares; ValueError for another type, or more rows than are published."""
    if npy.read_magic(stream) != (1, 0):
        raise ValueError("another version of .npy")
    shape, is_fortran, found = npy.read_array_header_1_0(stream)
    _check(shape, most, found, dtype)
    if is_fortran:
        raise ValueError("columns before rows")
    return shape


def _check(shape: tuple[int, ...], most: tuple[int, ...], found: np.dtype, dtype: type) -> None:
    if shape[1:] != most[1:] or not 0 < shape[0] <= most[0] or found != dtype:
        raise ValueError(f"an array {shape} of {found} instead of {most} of {np.dtype(dtype)}")


def shapes3d(file: Path, size: Size, classes: tuple[str, ...]) -> Raw:
    """The images of Burgess & Kim 2018 as published, in HDF5; UsageError without h5py."""
    try:
        import h5py
    except ImportError:
        raise UsageError("dataset=shapes3d needs h5py: pip install 'vaelab[shapes3d]'") from None
    with h5py.File(file) as arrays:
        _check(arrays["images"].shape, (480_000, 64, 64, 3), arrays["images"].dtype, np.uint8)
        _check(arrays["labels"].shape, (len(arrays["images"]), 6), arrays["labels"].dtype, np.float64)
        labels = arrays["labels"][:, 4].astype(np.int64)

    def images() -> Iterator[np.ndarray]:
        with h5py.File(file) as arrays:
            stored = arrays["images"]
            together = stored.chunks[0] if stored.chunks else PIECE
            step = min(together, CHUNK_BYTES // stored[0].nbytes)
            for first in range(0, len(stored), step):
                yield from stored[first : first + step]

    return _raw(file, labels, (64, 64, 3), classes, images, size)


def _raw(
    file: Path,
    labels: np.ndarray,
    native: tuple[int, int, int],
    classes: tuple[str, ...],
    images: Callable[[], Iterator[np.ndarray]],
    size: Size,
) -> Raw:
    if labels.min() < 0 or labels.max() >= len(classes):
        raise ValueError(f"shapes from {labels.min()} to {labels.max()}")
    shape = (*(size or native[:2]), native[2])
    stream = Stream(images)

    def block(rows: range) -> Block:
        return fitted_block(np.stack(stream.take(rows)), shape)

    return Raw(str(file), len(labels), shape, labels, classes, None, None, block)
