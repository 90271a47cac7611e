"""Images from arrays: .npz, .npy and the embedded digits, whatever their layout and range."""

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from math import isqrt, prod
from pathlib import Path
from tokenize import TokenError

import numpy as np
from numpy.lib import format as npy

from vaelab import UsageError
from vaelab.data.limits import refuse_bomb, refuse_images, refuse_larger_than_memory
from vaelab.data.ranges import Range, range_of, scaled
from vaelab.data.raw import Block, Raw, Size, resized
from vaelab.files import refuse_irregular
from vaelab.words import printable

OWN_SPLITS = ("train", "valid", "test")
HEADER_BYTES = 1 << 16  # numpy refuses headers of more than 10,000 characters, after it has read them
SHOWN_KEYS = 10


def read_npz(path: Path, size: Size, image_key: str | None, label_key: str | None, span: Range | None) -> Raw:
    """Images of an .npz under `image_key`, or under train, valid and test, which then are its splits.

    Raises UsageError for missing keys, pickles, and shapes, ranges, sizes or counts that are not those of images.
    """
    with _npz(path) as archive:
        keys = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
        if image_key in keys:
            images, labels = _member(path, archive, image_key), None
            if label_key is not None and has_label(path, keys, label_key):
                labels = _member(path, archive, label_key)
            return _raw(f"{path}, key {image_key!r}", images, labels, size, span)
        if not set(OWN_SPLITS) <= set(keys):
            remedy = "name one with dataset.image_key=KEY" if keys else "it is empty"
            raise UsageError(f"{path} has no array {image_key!r}, only {_some(keys)}: {remedy}")
        parts = [_member(path, archive, key) for key in OWN_SPLITS]
    return _of_splits(path, parts, size, span)


def read_npy(files: tuple[Path, ...], size: Size, span: Range | None) -> Raw:
    """Images of an .npy, and labels where there is a second file; raises UsageError as `read_npz` does."""
    images, *labels = [open_npy(file) for file in files]
    return _raw(str(files[0]), images, labels[0] if labels else None, size, span)


def read_digits(size: Size, span: Range | None) -> Raw:
    """The 1,797 handwritten digits that scikit-learn brings, 8×8, values 0 to 16."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return _raw("digits", digits.images / 16, digits.target, size, span)


def _npz(path: Path) -> zipfile.ZipFile:
    refuse_irregular(path)
    if not zipfile.is_zipfile(path):
        raise UsageError(f"{path} is not an .npz archive: save it with numpy.savez, or name it .npy")
    with _reading(path):
        return zipfile.ZipFile(path)


def open_npy(path: Path) -> np.ndarray:
    """The array of a file, memory-mapped; raises UsageError where its header or its length are not those of one."""
    refuse_irregular(path)
    with path.open("rb") as stream:
        head = stream.read(HEADER_BYTES)
    if not head.startswith(npy.MAGIC_PREFIX):
        raise UsageError(f"{path} is not an .npy array (pickles are never loaded): save it with numpy.save")
    with _reading(path):
        _declared_bytes(head)
        return np.load(path, mmap_mode="r", allow_pickle=False)


def _member(path: Path, archive: zipfile.ZipFile, key: str) -> np.ndarray:
    entry = archive.getinfo(f"{key}.npy")
    refuse_bomb(path, [entry], f"save {key!r} as .npy")
    refuse_larger_than_memory(f"{path}, key {key!r},", entry.file_size)
    with _reading(path, f" under the key {key!r}"):
        with archive.open(entry) as stream:
            declared = _declared_bytes(stream.read(HEADER_BYTES))
        if declared != entry.file_size:
            raise ValueError(f"its header stands for {declared:,} bytes, and it has {entry.file_size:,}")
        with archive.open(entry) as stream:
            return npy.read_array(stream, allow_pickle=False)


def _declared_bytes(head: bytes) -> int:
    """Bytes of an .npy file with this header; ValueError where they are damaged or hold Python objects."""
    stream = io.BytesIO(head)
    read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(stream)
    if version not in read_header:  # 3.0 is for columns with names beyond Latin-1
        raise ValueError("it is a table with named columns, not plain numbers")
    try:
        shape, _, dtype = read_header[version](stream)
    except (SyntaxError, TokenError, RecursionError, MemoryError):  # the header is the text of a Python dict
        raise ValueError("its header is damaged") from None
    if dtype.hasobject:
        raise ValueError("Python objects")
    return stream.tell() + prod(shape) * dtype.itemsize


@contextmanager
def _reading(path: Path, key: str = "") -> Iterator[None]:
    try:
        yield
    except (
        OSError,
        ValueError,
        EOFError,
        OverflowError,
        RuntimeError,
        NotImplementedError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        # numpy has one ValueError for every kind of bad file; only its text tells objects from damage
        if "allow_pickle" in str(error) or "Python objects" in str(error):
            problem = "holds pickled Python objects, which are never loaded: save plain numbers"
            raise UsageError(f"{path}{key} {problem}") from None
        raise UsageError(f"{path}{key} cannot be read: {' '.join(str(error).split())}") from None


def _of_splits(path: Path, parts: list[np.ndarray], size: Size, span: Range | None) -> Raw:
    where = f"{path}, keys train, valid, test"
    if len({part.shape[1:] for part in parts}) > 1 or any(part.ndim < 2 for part in parts):
        shapes = ", ".join(f"{key} {part.shape}" for key, part in zip(OWN_SPLITS, parts, strict=True))
        raise UsageError(f"{path}: the images of its splits differ in shape: {shapes}")
    ranges = {
        key: range_of(f"{path}, key {key!r}", part, span)
        for key, part in zip(OWN_SPLITS, parts, strict=True)
        if part.size
    }
    if len(set(ranges.values())) > 1:
        found = ", ".join(f"{key} {found}" for key, found in ranges.items())
        raise UsageError(f"{path}: the values of its splits differ in range: {found}: scale them alike")
    split = np.repeat(np.arange(3, dtype=np.int8), [len(part) for part in parts])
    return _raw(where, np.concatenate(parts), None, size, next(iter(ranges.values()), span), split)


def _some(keys: list[str]) -> str:
    more = f" and {len(keys) - SHOWN_KEYS} more" if len(keys) > SHOWN_KEYS else ""
    return (", ".join(map(printable, keys[:SHOWN_KEYS])) or "nothing") + more


def has_label(path: Path, keys: list[str], label_key: str) -> bool:
    """Whether there are labels of this name; UsageError for one that is nearly the same."""
    if label_key in keys:
        return True
    if nearest := get_close_matches(label_key, keys, n=1, cutoff=0.8):
        remedy = f"give dataset.label_key={printable(nearest[0])}, or null for no labels"
        raise UsageError(f"{path} has no labels {label_key!r}, but {nearest[0]!r}: {remedy}")
    return False


def _raw(
    where: str,
    array: np.ndarray,
    label: np.ndarray | None,
    size: Size,
    given: Range | None,
    split: np.ndarray | None = None,
) -> Raw:
    images = _as_nhwc(where, array)
    height, width, channels = images.shape[1:]
    refuse_images(where, len(images), height, width)
    span = range_of(where, images, given)
    labels, classes = (None, ()) if label is None else classes_of(where, label, len(images))
    shape = (*(size or (height, width)), channels)

    def block(rows: range) -> Block:
        pixels, clipped = scaled(images[rows.start : rows.stop], span)
        if pixels.shape[1:] != shape:
            pixels = np.stack([resized(image, shape) for image in pixels])
        return Block(pixels, {}, clipped)

    return Raw(where, len(images), shape, labels, classes, None, split, block, span=span)


def _as_nhwc(where: str, array: np.ndarray) -> np.ndarray:
    shape = array.shape
    if array.size == 0:
        raise UsageError(f"{where}: no images in an array of shape {shape}")
    if array.ndim == 2 and isqrt(shape[1]) ** 2 == shape[1]:
        return array.reshape(-1, isqrt(shape[1]), isqrt(shape[1]), 1)
    if array.ndim == 3:
        _refuse_other_layouts(where, *shape)
        return array[..., None]
    if array.ndim == 4 and shape[3] in (1, 3):
        return array
    if array.ndim == 4 and shape[1] in (1, 3):
        return array.transpose(0, 2, 3, 1)
    layouts = "(N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3, or rows (N, H·W) of square images"
    raise UsageError(f"{where}: shape {shape} is not that of images: {layouts}")


def _refuse_other_layouts(where: str, first: int, second: int, third: int) -> None:
    """Raises UsageError for an array that is one colour image, (H, W, C) or (C, H, W), or that is (H, W, N)."""
    shape = (first, second, third)
    if third in (1, 3, 4) or (first in (1, 3, 4) and second == third):
        raise UsageError(f"{where}: shape {shape} is that of one image: give many, (N, H, W) or (N, H, W, C)")
    if first == second != third:
        raise UsageError(
            f"{where}: shape {shape} can be (H, W, N) or (N, H, W): save it as (N, H, W, 1), from the former by "
            "numpy.moveaxis(images, 2, 0)[..., None]"
        )


def classes_of(where: str, label: np.ndarray, count: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Indices int64 (N,) of the classes of labels (N,) or (N, 1), and their names; UsageError where they are none."""
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
