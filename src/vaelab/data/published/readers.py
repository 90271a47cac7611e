"""Reads published data sets: one small reader for each layout."""

import pickle
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import md5
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vaelab import UsageError
from vaelab.data.archives import images_in
from vaelab.data.imageset import BY_HASH, SPLITS
from vaelab.data.pictures import open_entry, raw_pictures
from vaelab.data.published.factors import dsprites, shapes3d
from vaelab.data.published.fetch import checksums
from vaelab.data.published.idx import idx
from vaelab.data.published.layouts import EMNIST_CLASSES, LAYOUTS
from vaelab.data.raw import Block, Labelled, Raw, Size, fitted_block
from vaelab.data.sources import Source

# Test is as published; of train, which has no val, the hash takes a tenth for it.
TRAIN_AND_TEST = BY_HASH, SPLITS.index("test")


class Part(NamedTuple):
    """The images (n, H, W, C) of one published split and the indices of their classes (n,)."""

    images: np.ndarray
    labels: np.ndarray


Parts = tuple[Part, Part]  # train and test


def read_published(source: Source, size: Size, workers: int, subset: str | None) -> Raw:
    """The images of the published data set that the source's kind names; UsageError where they are damaged."""
    name = source.kind
    with _reading(source):
        if name == "omniglot":
            return _omniglot(source, size, workers)
        if name in ("dsprites", "shapes3d"):
            read = dsprites if name == "dsprites" else shapes3d
            return read(source.path, size, LAYOUTS[name].classes)
        classes = tuple(EMNIST_CLASSES[subset]) if subset else LAYOUTS[name].classes
        return _of_parts(source, *READERS[name](source.files), classes, size)


@contextmanager
def _reading(source: Source) -> Iterator[None]:
    try:
        yield
    except (UsageError, MemoryError):
        raise
    except Exception as error:  # the readers of .mat, .npz and .h5 raise whatever they like on damaged bytes
        reason = " ".join(str(error).split())
        raise UsageError(
            f"{source.path} is damaged, or not dataset={source.kind} as published ({reason}): remove it and give the "
            "command again, which fetches it"
        ) from None


def _of_parts(source: Source, train: Part, test: Part, classes: tuple[str, ...], size: Size) -> Raw:
    labels = np.concatenate([train.labels, test.labels]).astype(np.int64)
    counts = len(train.images), len(test.images)
    if (*map(len, (train.labels, test.labels)),) != counts:
        raise ValueError("labels and images differ in number")
    if labels.min() < 0 or labels.max() >= len(classes):
        raise ValueError(f"labels from {labels.min()} to {labels.max()}")
    height, width, channels = train.images.shape[1:]
    shape = (*(size or (height, width)), channels)

    def block(rows: range) -> Block:
        tested = slice(*(max(0, row - counts[0]) for row in (rows.start, rows.stop)))
        return fitted_block(
            np.concatenate([train.images[rows.start : rows.stop], test.images[tested]]), shape
        )

    split = np.repeat(TRAIN_AND_TEST, counts)
    return Raw(str(source.path), sum(counts), shape, labels, classes, None, split, block)


def _mnist(files: tuple[Path, ...]) -> Parts:
    images, labels, test_images, test_labels = map(idx, files)
    return Part(images[..., None], labels), Part(test_images[..., None], test_labels)


def _emnist(files: tuple[Path, ...]) -> Parts:
    first = int("letters" in files[0].name)  # they count their classes from 1
    train, test = (
        Part(part.images.swapaxes(1, 2), part.labels.astype(int) - first) for part in _mnist(files)
    )
    return train, test


def _svhn(files: tuple[Path, ...]) -> Parts:
    train, test = map(_mat, files)
    return train, test


def _mat(file: Path) -> Part:
    from scipy.io import loadmat

    arrays = loadmat(file, variable_names=["X", "y"])
    return Part(arrays["X"].transpose(3, 0, 1, 2), arrays["y"].ravel() % 10)  # the class of the digit 0 is 10


def _cifar10(files: tuple[Path, ...]) -> Parts:
    expected = checksums("cifar10")
    *batches, test = (_batch(file, expected[file.name]) for file in files)
    images, labels = zip(*batches, strict=True)
    return Part(np.concatenate(images), np.concatenate(labels)), test


def _batch(file: Path, checksum: str) -> Part:
    # It is a pickle: nothing is unpickled but the published bytes.
    data = file.read_bytes()
    if md5(data, usedforsecurity=False).hexdigest() != checksum:
        raise ValueError(f"{file.name} has another checksum")
    with warnings.catch_warnings():  # numpy writes such pickles otherwise today
        warnings.simplefilter("ignore")
        batch = pickle.loads(data, encoding="latin1")
    return Part(batch["data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), np.array(batch["labels"]))


def _stl10(files: tuple[Path, ...]) -> Parts:
    images, labels, test_images, test_labels = (np.memmap(file, np.uint8, "r") for file in files)
    # An image is three planes, each column by column; classes count from 1.
    train, test = (array.reshape(-1, 3, 96, 96).transpose(0, 3, 2, 1) for array in (images, test_images))
    return Part(train, labels.astype(int) - 1), Part(test, test_labels.astype(int) - 1)


def _omniglot(source: Source, size: Size, workers: int) -> Raw:
    archives = [zipfile.ZipFile(file) for file in source.files]
    entries = {name: (archive, entry) for archive in archives for name, entry in images_in(archive).items()}
    names = list(entries)
    alphabets, labels = np.unique([name.split("/")[1] for name in names], return_inverse=True)
    train = sum(name.startswith("images_background/") for name in names)
    split = np.repeat(TRAIN_AND_TEST, (train, len(names) - train))
    labelled = Labelled(names, labels.astype(np.int64), tuple(map(str, alphabets)), split)
    return raw_pictures(source.path, labelled, lambda name: open_entry(*entries[name]), size, workers, None)


READERS: dict[str, Callable[[tuple[Path, ...]], Parts]] = {
    "mnist": _mnist,
    "fashion_mnist": _mnist,
    "kmnist": _mnist,
    "emnist": _emnist,
    "svhn": _svhn,
    "cifar10": _cifar10,
    "stl10": _stl10,
}
KINDS = frozenset((*READERS, "omniglot", "dsprites", "shapes3d"))  # kinds of sources
