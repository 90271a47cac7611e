"""A set of prepared images with labels, and its fixed split into train, val and test."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b

import numpy as np

from vaelab import UsageError

SPLITS = ("train", "val", "test")
BY_HASH = -1  # in a source's own split: train, or what the hash says where the source has no such split
LEFT_OUT = len(SPLITS)  # in place of a split
HASHED = 4096  # images at a time


@dataclass(frozen=True)
class ImageSet:
    """Prepared images (N, H, W, C) uint8 with optional labels, their origin and their split."""

    name: str
    images: np.ndarray  # uint8 (N, H, W, C), memory-mapped read-only
    labels: np.ndarray | None  # int64 (N,), indices into classes
    classes: tuple[str, ...]  # () without labels
    names: tuple[str, ...]  # where each image came from: a file name, or "row 12"
    split: np.ndarray  # int8 (N,), indices into SPLITS
    fingerprint: str  # hash of pixels, labels and split, 16 hex digits
    source: str  # path that it was made from, or "embedded"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape (C, H, W) of one image as models see it."""
        height, width, channels = self.images.shape[1:]
        return channels, height, width

    def indices(self, split: str) -> np.ndarray:
        """Rows of one split, ascending, int64; KeyError unless the split is one of SPLITS."""
        if split not in SPLITS:
            raise KeyError(f"{split!r} is not one of {', '.join(SPLITS)}")
        return np.flatnonzero(self.split == SPLITS.index(split)).astype(np.int64)

    @classmethod
    def of(
        cls, name: str, images: np.ndarray, labels: np.ndarray | None = None, classes: Sequence[str] = ()
    ) -> "ImageSet":
        """A set of uint8 images (N, H, W, C), C 1 or 3, and labels (N,) that number the classes, split by their index.

        Raises UsageError for arrays that are not such.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
            found = f"{images.dtype} {images.shape}"
            raise UsageError(
                f"dataset {name}: images are uint8 (N, H, W, C) with C 1 or 3, these are {found}"
            )
        if labels is not None:
            labels = np.asarray(labels).astype(np.int64)
            if labels.shape != images.shape[:1] or not np.isin(labels, range(len(classes))).all():
                raise UsageError(f"dataset {name}: labels are (N,) numbers of its {len(classes)} classes")
        split = hashed_split(name, len(images))
        names = tuple(f"row {row}" for row in range(len(images)))
        digest = fingerprint(images, labels, split)
        return cls(name, images, labels, tuple(classes), names, split, digest, source="memory")

    def with_training_images(self, count: int | None) -> "ImageSet":
        """The set with so many images in train (None: all), the same at each time, and those of fewer among them.

        Raises UsageError where train has fewer.
        """
        rows = self.indices("train")
        if count is None or count == len(rows):
            return self
        if count > len(rows):
            raise UsageError(f"train_images={count}: {self.name} has {len(rows)} training images")
        order = np.argsort(hashes(f"{self.name} train", len(self.split))[rows], kind="stable")
        split = self.split.copy()
        split[rows[order[count:]]] = LEFT_OUT
        return replace(self, split=split)

    def is_intact(self) -> bool:
        """Whether pixels, labels and split are those that the fingerprint was made of."""
        return fingerprint(self.images, self.labels, self.split) == self.fingerprint

    def sizes(self) -> dict[str, int]:
        """Number of images of each split."""
        return split_sizes(self.split)


def fingerprint(images: np.ndarray, labels: np.ndarray | None, split: np.ndarray) -> str:
    """Hash of pixels, labels and split, 16 hex digits."""
    digest = blake2b(repr(images.shape[1:]).encode(), digest_size=8)
    for first in range(0, len(images), HASHED):
        digest.update(np.ascontiguousarray(images[first : first + HASHED]).data)
    for array in (split, labels):
        digest.update(b"" if array is None else array.tobytes())
    return digest.hexdigest()


def split_sizes(split: np.ndarray) -> dict[str, int]:
    """Number of images of each split, from split indices (N,)."""
    counts = np.bincount(split, minlength=len(SPLITS))[: len(SPLITS)]
    return {name: int(count) for name, count in zip(SPLITS, counts, strict=True)}


def hashed_split(name: str, count: int) -> np.ndarray:
    """Split indices int8 (count,), 80/10/10 by a hash of name and index.

    An image keeps its split when images are appended, and no seed changes it.
    """
    thresholds = np.array([8 * 2**64 // 10, 9 * 2**64 // 10], dtype=np.uint64)
    return np.searchsorted(thresholds, hashes(name, count), side="right").astype(np.int8)


def hashes(name: str, count: int) -> np.ndarray:
    """Hashes uint64 (count,) of a name and each index (splitmix64, Steele et al. 2014)."""
    salt = np.uint64(int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little"))
    bits = (np.arange(count, dtype=np.uint64) ^ salt) + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def filled_split(own: np.ndarray, hashed: np.ndarray) -> np.ndarray:
    """A source's own split int8 (N,), with `hashed` (N,) for BY_HASH where that is a split that the source lacks."""
    chosen = np.where(np.isin(hashed, own), SPLITS.index("train"), hashed)
    return np.where(own == BY_HASH, chosen, own).astype(np.int8)
