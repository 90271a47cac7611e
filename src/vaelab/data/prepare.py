"""Prepares images: reads a source, decodes and resizes in parallel, writes pixels, labels and split."""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from tqdm import tqdm

from vaelab import UsageError
from vaelab.data.arrays import read_digits, read_npy, read_npz
from vaelab.data.imageset import hashed_split, split_sizes
from vaelab.data.pictures import read_folder, read_zip
from vaelab.data.raw import Raw, Size
from vaelab.data.sources import Source

BLOCK = 64  # images per task: large enough that handing over costs nothing, small enough for an even bar
SHOWN = 5


def read(source: Source, settings: dict[str, Any]) -> Raw:
    """The checked but not yet decoded images of a source; UsageError where they are none."""
    size: Size = tuple(settings["size"]) if settings["size"] else None
    if source.kind == "embedded":
        return read_digits(size)
    if source.kind == "npz":
        return read_npz(source.path, size, settings["image_key"], settings["label_key"])
    if source.kind == "npy":
        return read_npy(source.files, size)
    if source.kind == "zip":
        return read_zip(source, size, _workers(), settings.get("attribute"))
    return read_folder(source, size, _workers(), settings.get("attribute"))


def _workers() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def write_arrays(folder: Path, raw: Raw, name: str, on_error: str) -> dict[str, Any]:
    """Decode all images into arrays in `folder`; returns classes, names, fingerprint and what was left out.

    Raises UsageError for a damaged image unless on_error is skip, and where a split would be empty.
    """
    with (folder / "images.npy").open("wb") as file:
        digest, damaged = _write_images(file, raw, name, on_error)
    kept = np.setdiff1d(np.arange(raw.count), list(damaged))
    split = _split(raw, name, kept)
    _check_split(raw.where, split)
    np.save(folder / "split.npy", split)
    digest.update(split.tobytes())
    if raw.labels is not None:
        labels = raw.labels[kept]
        np.save(folder / "labels.npy", labels)
        digest.update(labels.tobytes())
    names = raw.names
    skipped = {names[row] if names else f"row {row}": reason for row, reason in damaged.items()}
    if skipped:
        some = ", ".join(list(skipped)[:SHOWN]) + (", ..." if len(skipped) > SHOWN else "")
        print(
            f"skipped {len(skipped)} of {raw.count} images of {raw.where}, damaged: {some}", file=sys.stderr
        )
    if raw.selection and raw.selection.remark:
        print(raw.selection.remark, file=sys.stderr)
    made = {
        "classes": raw.classes,
        "names": [names[row] for row in kept] if names else None,
        "fingerprint": digest.hexdigest(),
        "skipped": skipped,
    }
    return made | (raw.selection.counts if raw.selection else {})


def _split(raw: Raw, name: str, kept: np.ndarray) -> np.ndarray:
    if raw.split is not None:
        return raw.split[kept]
    if raw.selection is not None:
        # By the place among all images, so that an image has the same split with every attribute.
        positions = raw.selection.positions[kept]
        return hashed_split(name, positions.max(initial=-1) + 1)[positions]
    return hashed_split(name, len(kept))


def _write_images(file: BinaryIO, raw: Raw, name: str, on_error: str) -> tuple[blake2b, dict[int, str]]:
    # Rows are appended rather than written into a memory map: a full disk is then an error and no crash.
    digest = blake2b(repr(raw.shape).encode(), digest_size=8)
    damaged: dict[int, str] = {}
    _write_header(file, raw.count, raw.shape)
    start = file.tell()
    blocks = [range(first, min(first + BLOCK, raw.count)) for first in range(0, raw.count, BLOCK)]
    pool = ThreadPoolExecutor(_workers())
    try:
        with tqdm(desc=f"preparing {name}", total=raw.count, unit="image") as bar:
            for rows, block in zip(blocks, pool.map(raw.block, blocks), strict=True):
                if block.damaged and on_error == "stop":
                    row, reason = next(iter(block.damaged.items()))
                    raise damaged_image(raw.where, raw.names[row] if raw.names else f"row {row}", reason)
                damaged |= block.damaged
                pixels = np.ascontiguousarray(block.pixels)
                file.write(pixels.data)
                digest.update(pixels.data)
                bar.update(len(rows))
    finally:
        pool.shutdown(cancel_futures=True)
    if damaged:
        file.seek(0)
        _write_header(file, raw.count - len(damaged), raw.shape)
        # numpy pads its headers so that the first axis can change in place
        if file.tell() != start:
            raise RuntimeError("the header of images.npy changed its length")
    return digest, damaged


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
    return UsageError(f"damaged image {name} in {where} ({reason}): {remedy}")
