"""Images from arrays: .npz, .npy and the embedded digits, whatever their layout and range."""

import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from math import isqrt
from pathlib import Path
from typing import BinaryIO

import numpy as np

from vaelab import UsageError
from vaelab.data.raw import Block, Raw, Size, resized

OWN_SPLITS = ("train", "valid", "test")


def read_npz(path: Path, size: Size, image_key: str | None, label_key: str | None) -> Raw:
    """Images of an .npz under `image_key`, or under train, valid and test, which then are its splits.

    Raises UsageError for missing keys, pickles, and shapes, ranges or counts that are not those of images.
    """
    with path.open("rb") as stream, _npz(path, stream) as archive:
        keys = list(archive.files)
        if image_key in keys:
            images, labels = _member(path, archive, image_key), None
            if label_key is not None and _has_label(path, keys, label_key):
                labels = _member(path, archive, label_key)
            return _raw(f"{path}, key {image_key!r}", images, labels, size)
        if not set(OWN_SPLITS) <= set(keys):
            remedy = "name one with dataset.image_key=KEY" if keys else "it is empty"
            raise UsageError(
                f"{path} has no array {image_key!r}, only {', '.join(keys) or 'nothing'}: {remedy}"
            )
        parts = [_member(path, archive, key) for key in OWN_SPLITS]
    if len({part.shape[1:] for part in parts}) > 1 or any(part.ndim < 2 for part in parts):
        shapes = ", ".join(f"{key} {part.shape}" for key, part in zip(OWN_SPLITS, parts, strict=True))
        raise UsageError(f"{path}: the images of its splits differ in shape: {shapes}")
    split = np.repeat(np.arange(3, dtype=np.int8), [len(part) for part in parts])
    return _raw(f"{path}, keys train, valid, test", np.concatenate(parts), None, size, split)


def read_npy(files: tuple[Path, ...], size: Size) -> Raw:
    """Images of an .npy, and labels where there is a second file; raises UsageError as `read_npz` does."""
    images, *labels = [_npy(file) for file in files]
    return _raw(str(files[0]), images, labels[0] if labels else None, size)


def read_digits(size: Size) -> Raw:
    """The 1,797 handwritten digits that scikit-learn brings, 8×8, values 0 to 16."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return _raw("digits", digits.images / 16, digits.target, size)


def _npz(path: Path, stream: BinaryIO) -> np.lib.npyio.NpzFile:
    with _reading(path):
        archive = np.load(stream, allow_pickle=False)
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise UsageError(f"{path} is not an .npz archive: save it with numpy.savez, or name it .npy")
    return archive


def _npy(path: Path) -> np.ndarray:
    with path.open("rb") as stream:
        if stream.read(6) != b"\x93NUMPY":
            raise UsageError(
                f"{path} is not an .npy array (pickles are never loaded): save it with numpy.save"
            )
    with _reading(path):
        return np.load(path, mmap_mode="r", allow_pickle=False)


def _member(path: Path, archive: np.lib.npyio.NpzFile, key: str) -> np.ndarray:
    with _reading(path, f" under the key {key!r}"):
        return archive[key]


@contextmanager
def _reading(path: Path, key: str = "") -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        # numpy has one ValueError for every kind of bad file; only its text tells objects from damage
        if "allow_pickle" in str(error) or "Python objects" in str(error):
            problem = "holds pickled Python objects, which are never loaded: save plain numbers"
            raise UsageError(f"{path}{key} {problem}") from None
        raise UsageError(f"{path}{key} cannot be read: {' '.join(str(error).split())}") from None


def _has_label(path: Path, keys: list[str], label_key: str) -> bool:
    if label_key in keys:
        return True
    if nearest := get_close_matches(label_key, keys, n=1, cutoff=0.8):
        remedy = f"give dataset.label_key={nearest[0]}, or null for no labels"
        raise UsageError(f"{path} has no labels {label_key!r}, but {nearest[0]!r}: {remedy}")
    return False


def _raw(
    where: str, array: np.ndarray, label: np.ndarray | None, size: Size, split: np.ndarray | None = None
) -> Raw:
    images = _as_nhwc(where, array)
    scale = _scaling(where, images)
    labels, classes = (None, ()) if label is None else _classes(where, label, len(images))
    height, width, channels = images.shape[1:]
    shape = (*(size or (height, width)), channels)

    def block(rows: range) -> Block:
        pixels = scale(images[rows.start : rows.stop])
        if pixels.shape[1:] != shape:
            pixels = np.stack([resized(image, shape) for image in pixels])
        return Block(pixels, {})

    return Raw(where, len(images), shape, labels, classes, None, split, block)


def _as_nhwc(where: str, array: np.ndarray) -> np.ndarray:
    shape = array.shape
    if array.size == 0:
        raise UsageError(f"{where}: no images in an array of shape {shape}")
    if array.ndim == 2 and isqrt(shape[1]) ** 2 == shape[1]:
        return array.reshape(-1, isqrt(shape[1]), isqrt(shape[1]), 1)
    if array.ndim == 3:
        return array[..., None]
    if array.ndim == 4 and shape[3] in (1, 3):
        return array
    if array.ndim == 4 and shape[1] in (1, 3):
        return array.transpose(0, 2, 3, 1)
    layouts = "(N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3, or rows (N, H·W) of square images"
    raise UsageError(f"{where}: shape {shape} is not that of images: {layouts}")


def _scaling(where: str, images: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    if images.dtype.kind not in "buif":
        raise UsageError(
            f"{where}: images of type {images.dtype} are not numbers: save them as uint8 or float"
        )
    low, high = images.min(), images.max()  # NaN anywhere makes both NaN, and every comparison false
    if images.dtype.kind == "f":
        if low >= 0 and high <= 1:
            return lambda block: np.rint(_wide(block) * 255).astype(np.uint8)
        if low >= -1 and high <= 1:
            return lambda block: np.rint((_wide(block) + 1) * 127.5).astype(np.uint8)
        if low >= 0 and high <= 255:
            return lambda block: np.rint(block).astype(np.uint8)
    elif low >= 0 and high <= 1:
        return lambda block: block.astype(np.uint8) * np.uint8(255)
    elif low >= 0 and high <= 255:
        return lambda block: block.astype(np.uint8)
    ranges = "0 to 255, or floats 0 to 1 or -1 to 1"
    raise UsageError(f"{where}: values from {low} to {high} are not those of images: scale them to {ranges}")


def _wide(block: np.ndarray) -> np.ndarray:
    return block.astype(np.promote_types(block.dtype, np.float32))


def _classes(where: str, label: np.ndarray, count: int) -> tuple[np.ndarray, tuple[str, ...]]:
    if label.ndim == 2 and label.shape[1] == 1:
        label = label[:, 0]
    if label.ndim != 1:
        raise UsageError(
            f"{where}: labels of shape {label.shape} are not one class per image, (N,) or (N, 1)"
        )
    if len(label) != count:
        raise UsageError(
            f"{where}: {len(label)} labels for {count} images: there must be one label per image"
        )
    if label.dtype.kind == "S":
        label = np.char.decode(label, "utf-8")
    if label.dtype.kind == "f" and np.isfinite(label).all() and (label == np.rint(label)).all():
        label = label.astype(np.int64)
    if label.dtype.kind not in "buiU":
        raise UsageError(
            f"{where}: labels of type {label.dtype} are not classes: save them as integers or strings"
        )
    values, indices = np.unique(
        label.astype(np.int64) if label.dtype.kind == "b" else label, return_inverse=True
    )
    return indices.astype(np.int64), tuple(str(value) for value in values)
