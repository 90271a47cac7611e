"""Limits of what is read: sizes that a file declares are checked before anything of that size is made."""

from collections.abc import Sequence
from pathlib import Path
from zipfile import ZipInfo

from vaelab import UsageError
from vaelab.machine import free_memory

MOST_PIXELS = 1024 * 1024 * 1024 // 4 // 3  # of one image; Pillow's own limit, Image.MAX_IMAGE_PIXELS
MOST_IMAGES = 1 << 24  # their names alone take a gigabyte
MOST_FILE_BYTES = 1 << 28  # of one picture; without compression the largest image has these
BOMB_BYTES, BOMB_RATIO = 1 << 30, 250  # dSprites, as regular as images get, inflates 116-fold to 3 GB


def refuse_images(where: str, count: int, height: int, width: int) -> None:
    """Raises UsageError for more images, or larger ones, than are read."""
    if count > MOST_IMAGES:
        raise UsageError(f"{where}: {count:,} images are more than the {MOST_IMAGES:,} that are read")
    if height * width > MOST_PIXELS:
        raise UsageError(f"{where}: an image has {too_large(height, width)}: make them smaller first")


def too_large(height: int, width: int) -> str:
    """What is wrong with an image of more than MOST_PIXELS."""
    return f"{width}×{height} pixels, more than the {MOST_PIXELS:,} that are read"


def refuse_bomb(path: Path, entries: Sequence[ZipInfo], remedy: str) -> None:
    """Raises UsageError for entries of an archive that inflate to a gigabyte and far more than images do."""
    refuse_ratio(path, sum(e.compress_size for e in entries), sum(e.file_size for e in entries), remedy)


def refuse_ratio(path: Path, packed: int, unpacked: int, remedy: str) -> None:
    """Raises UsageError for bytes that unpack to a gigabyte and far more than images do."""
    if unpacked > BOMB_BYTES and unpacked > BOMB_RATIO * packed:
        raise UsageError(
            f"{path} is refused: {packed / 1e6:.1f} MB of it unpack to {unpacked / 1e9:.1f} GB, which no images do: "
            f"{remedy}"
        )


def refuse_larger_than_memory(where: str, size: int) -> None:
    """Raises UsageError for bytes that need more than half of the free memory; a copy takes the other half."""
    free = free_memory()
    if size > free // 2:
        raise UsageError(
            f"{where} has {size / 1e9:.1f} GB to be unpacked, and {free / 1e9:.1f} GB of memory are free: "
            "save it as .npy, which is read from the disk bit by bit"
        )
