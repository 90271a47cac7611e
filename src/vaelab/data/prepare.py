"""Prepares images: reads a source, decodes and resizes in parallel, writes pixels, labels and split."""

import math
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from tqdm import tqdm

from vaelab import UsageError, machine
from vaelab.data.arrays import open_npy, read_digits, read_npy, read_npz
from vaelab.data.decode import quiet_pillow
from vaelab.data.imageset import filled_split, hashed_split, split_sizes
from vaelab.data.parquet import read_parquet
from vaelab.data.pictures import read_folder, read_zip
from vaelab.data.published.readers import KINDS, read_published
from vaelab.data.ranges import Range
from vaelab.data.raw import Block, Raw, Size
from vaelab.data.sources import Source
from vaelab.data.tar import read_tar
from vaelab.words import printable

BLOCK = 64  # images per task: large enough that handing over costs nothing, small enough for an even bar
BLOCK_BYTES, AHEAD_BYTES = 1 << 24, 1 << 28  # a task of large images has fewer, and fewer tasks are ahead
SHOWN = 5
RULES = 2  # raise it when names, classes or split of the same source change, for rules.py to compare them


def refuse_unreadable(source: Source) -> None:
    """Raises UsageError for an array that its header alone says to be none, before gigabytes of it are hashed."""
    for file in source.files if source.kind == "npy" else ():
        open_npy(file)


def read(source: Source, settings: dict[str, Any]) -> Raw:
    """The checked but not yet decoded images of a source; UsageError where they are none."""
    size: Size = tuple(settings["size"]) if settings["size"] else None
    span = Range(*settings["range"]) if "range" in settings else None
    if source.kind == "embedded":
        return read_digits(size, span)
    if source.kind == "npz":
        return read_npz(source.path, size, settings["image_key"], settings["label_key"], span)
    if source.kind == "npy":
        return read_npy(source.files, size, span)
    if source.kind == "tar":
        return read_tar(source, size, machine.cores(), settings["label_key"], span)
    if source.kind == "parquet":
        return read_parquet(source, size, machine.cores(), settings["image_key"], settings["label_key"], span)
    if source.kind in KINDS:
        return read_published(source, size, machine.cores(), settings.get("subset"))
    read_pictures = read_zip if source.kind == "zip" else read_folder
    return read_pictures(source, size, machine.cores(), settings.get("attribute"), span)


def write_arrays(folder: Path, raw: Raw, name: str, on_error: str) -> dict[str, Any]:
    """Decode all images into arrays in `folder`; returns classes, names, fingerprint and what was left out.

    Raises UsageError for a damaged image unless on_error is skip, and where a split would be empty.
    """
    with (folder / "images.npy").open("wb") as file:
        digest, damaged, clipped = _write_images(file, raw, name, on_error)
    kept = np.setdiff1d(np.arange(raw.count), list(damaged))
    split = split_of(raw, name, kept)
    _check_split(raw.where, split)
    np.save(folder / "split.npy", split)
    digest.update(split.tobytes())
    if raw.labels is not None:
        labels = raw.labels[kept]
        np.save(folder / "labels.npy", labels)
        digest.update(labels.tobytes())
    names = [printable(name) for name in raw.names] if raw.names else None
    skipped = {names[row] if names else f"row {row}": reason for row, reason in damaged.items()}
    if skipped:
        some = ", ".join(list(skipped)[:SHOWN]) + (", ..." if len(skipped) > SHOWN else "")
        print(
            f"skipped {len(skipped)} of {raw.count} images of {raw.where}, damaged: {some}", file=sys.stderr
        )
    if clipped:
        values = "1 value" if clipped == 1 else f"{clipped:,} values"
        print(f"clipped {values} of {raw.where} to {raw.span}", file=sys.stderr)
    if raw.selection and raw.selection.remark:
        print(printable(raw.selection.remark), file=sys.stderr)
    made = {
        "classes": raw.classes,
        "names": [names[row] for row in kept] if names else None,
        "fingerprint": digest.hexdigest(),
        "skipped": skipped,
        "rules": RULES,
    }
    return made | (raw.selection.counts if raw.selection else {})


def split_of(raw: Raw, name: str, kept: np.ndarray) -> np.ndarray:
    """The split int8 (n,) of the rows kept (n,): the source's own, else by the hash of the data set's name."""
    # By the place among all images, so that an image has the same split with every attribute.
    positions = raw.selection.positions[kept] if raw.selection else np.arange(len(kept))
    hashed = hashed_split(name, positions.max(initial=-1) + 1)[positions]
    return hashed if raw.split is None else filled_split(raw.split[kept], hashed)


def _write_images(file: BinaryIO, raw: Raw, name: str, on_error: str) -> tuple[blake2b, dict[int, str], int]:
    # Rows are appended rather than written into a memory map: a full disk is then an error and no crash.
    digest = blake2b(repr(raw.shape).encode(), digest_size=8)
    damaged: dict[int, str] = {}
    clipped = 0
    _write_header(file, raw.count, raw.shape)
    start = file.tell()
    with tqdm(desc=f"preparing {name}", total=raw.count, unit="image") as bar, quiet_pillow():
        for rows, block in _decoded(raw):
            if block.damaged and on_error == "stop":
                row, reason = next(iter(block.damaged.items()))
                raise damaged_image(raw.where, raw.names[row] if raw.names else f"row {row}", reason)
            damaged |= block.damaged
            clipped += block.clipped
            pixels = np.ascontiguousarray(block.pixels)
            file.write(pixels.data)
            digest.update(pixels.data)
            bar.update(len(rows))
    if damaged:
        file.seek(0)
        _write_header(file, raw.count - len(damaged), raw.shape)
        # numpy pads its headers so that the first axis can change in place
        if file.tell() != start:
            raise RuntimeError("the header of images.npy changed its length")
    return digest, damaged, clipped


def _decoded(raw: Raw) -> Iterator[tuple[range, Block]]:
    """All blocks in order, decoded in parallel, and never many ahead of what is written."""
    step = max(1, min(BLOCK, BLOCK_BYTES // math.prod(raw.shape)))
    most = max(1, min(2 * machine.cores(), AHEAD_BYTES // (step * math.prod(raw.shape))))
    pool = ThreadPoolExecutor(machine.cores())
    ahead: deque[tuple[range, Future[Block]]] = deque()
    try:
        for first in range(0, raw.count, step):
            rows = range(first, min(first + step, raw.count))
            ahead.append((rows, pool.submit(raw.block, rows)))
            if len(ahead) == most:
                rows, block = ahead.popleft()
                yield rows, block.result()
        for rows, block in ahead:
            yield rows, block.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _write_header(file: BinaryIO, count: int, shape: tuple[int, int, int]) -> None:
    header = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
    np.lib.format.write_array_header_1_0(file, header)


def _check_split(where: str, split: np.ndarray) -> None:
    sizes = split_sizes(split)
    if not all(sizes.values()):
        counts = ", ".join(f"{count} {name}" for name, count in sizes.items())
        raise UsageError(
            f"{where}: {len(split)} images give {counts}, and no split may be empty: add more images"
        )


def damaged_image(where: str, name: str, reason: str) -> UsageError:
    """The error that names a damaged image and the remedies."""
    remedy = "replace or remove it, or leave out such images with dataset.on_error=skip"
    return UsageError(f"damaged image {printable(name)} in {where} ({reason}): {remedy}")
