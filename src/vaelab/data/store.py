"""Finds a data set, prepared before or not, and keeps prepared ones as memory-mapped arrays."""

import json
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from uuid import uuid4

import numpy as np

from vaelab import UsageError
from vaelab.data.attributes import with_listings
from vaelab.data.download import download
from vaelab.data.imageset import ImageSet
from vaelab.data.prepare import damaged_image, read, write_arrays
from vaelab.data.sources import Source, find, source_at

FORMAT_VERSION = 1  # raise it when the same source would be prepared to other pixels


def load(
    *,
    name: str,
    path: str | None,
    data_dir: str,
    files: Sequence[str],
    size: int | Sequence[int] | None,
    on_error: str,
    image_key: str | None,
    label_key: str | None,
    url: str | None,
    blob_id: str | None,
    hint: str,
    attribute: str | None = None,  # absent from the configurations of older run folders
    attributes: str | None = None,
) -> ImageSet:
    """The images of a data set, found or fetched, prepared on first use and memory-mapped ever after.

    Raises UsageError where the source is missing or no set of images, or where data_dir cannot be written.
    """
    _check(name, on_error, url, blob_id)
    if attributes is not None and attribute is None:
        raise UsageError(
            f"dataset.attributes={attributes} needs dataset.attribute, the column that becomes the label"
        )
    settings = _settings(size, image_key, label_key, attribute)
    store = Store(Path(data_dir).expanduser(), name, settings, on_error)
    try:
        source = find(path, store.data_dir, files, label_key)
        # Without patterns the name stands for no data in particular (image_folder, npz): the user has to say which.
        if source is None and files and (newest := store.newest()):
            return newest
        if source is None and url is not None and blob_id is not None:
            target = store.data_dir / Path(urlparse(url).path).name
            source = source_at(download(url, target, blob_id), label_key)
        if source is None:
            places = f"; looked for {', '.join(files)} in {store.data_dir}" if files else ""
            raise UsageError(f"the images of dataset={name} are not here: {hint}{places}")
        return store.get(with_listings(source, attribute, attributes))
    except OSError as error:
        raise UsageError(
            f"cannot read {error.filename or path or data_dir}: {error.strerror or error}"
        ) from None


def _check(name: str, on_error: str, url: str | None, blob_id: str | None) -> None:
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise UsageError(f"dataset.name={name!r} is not a name: use letters, digits, '_', '.' and '-'")
    if on_error not in ("stop", "skip"):
        raise UsageError(f"dataset.on_error={on_error} must be stop or skip")
    if url is not None and blob_id is None:
        raise UsageError(
            "dataset.url needs dataset.blob_id, the git blob id that the download is checked against"
        )


def _settings(
    size: int | Sequence[int] | None, image_key: str | None, label_key: str | None, attribute: str | None
) -> dict[str, Any]:
    sides = [size, size] if isinstance(size, int) else None if size is None else list(size)
    if sides is not None and (len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides)):
        raise UsageError(
            f"dataset.size={size} must be a number of pixels, [height, width] or null (as stored)"
        )
    settings = {"size": sides, "image_key": image_key, "label_key": label_key, "version": FORMAT_VERSION}
    # What was prepared before there were attributes stays known.
    return settings if attribute is None else settings | {"attribute": attribute}


@dataclass(frozen=True)
class Store:
    """The prepared arrays of one data set and its settings, folders data_dir/prepared/<name>-<key>."""

    data_dir: Path
    name: str
    settings: dict[str, Any]
    on_error: str

    @property
    def folder(self) -> Path:
        return self.data_dir / "prepared"

    def get(self, source: Source) -> ImageSet:
        """The prepared images of a source: known by its signature, else by its content, else made now."""
        signature = source.signature()
        for folder, meta in self._prepared():
            if meta["signature"] == signature and (images := self._open(folder, meta)):
                _touch(folder)
                return images
        folder = self.folder / f"{self.name}-{self._key(source)}"
        if not self._renew(folder, source, signature):
            self._prepare(source, signature, folder)
        if images := self._open(folder, _read_meta(folder)):
            return images
        raise UsageError(f"{folder} was changed while it was read: start again")

    def newest(self) -> ImageSet | None:
        """The prepared array that was made or asked for last."""
        found = sorted(self._prepared(), key=lambda item: _touched(item[0]), reverse=True)
        return next((images for folder, meta in found if (images := self._open(folder, meta))), None)

    def _prepared(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        for folder in sorted(self.folder.glob(f"{self.name}-*")):
            meta = _read_meta(folder)
            if meta and meta["name"] == self.name and meta["settings"] == self.settings:
                yield folder, meta

    def _key(self, source: Source) -> str:
        text = json.dumps([source.content(), self.settings])
        return blake2b(text.encode(), digest_size=8).hexdigest()

    def _renew(self, folder: Path, source: Source, signature: str) -> bool:
        meta = _read_meta(folder)
        if meta is None or not self._open(folder, meta):
            return False
        meta |= {"signature": signature, "source": str(source)}
        with suppress(OSError):  # in a folder that is read-only the array is as good, only found less quickly
            _write_whole(folder / "meta.json", json.dumps(meta))
        return True

    def _open(self, folder: Path, meta: dict[str, Any] | None) -> ImageSet | None:
        if meta is None:
            return None
        if meta["skipped"] and self.on_error == "stop":
            raise damaged_image(meta["source"], *next(iter(meta["skipped"].items())))
        try:
            images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
            labels = np.load(folder / "labels.npy", allow_pickle=False) if meta["classes"] else None
            split = np.load(folder / "split.npy", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        names = meta["names"] or [f"row {row}" for row in range(len(images))]
        return ImageSet(
            name=self.name,
            images=images,
            labels=labels,
            classes=tuple(meta["classes"]),
            names=tuple(names),
            split=split,
            fingerprint=meta["fingerprint"],
            source=meta["source"],
        )

    def _prepare(self, source: Source, signature: str, folder: Path) -> None:
        raw = read(source, self.settings)
        partial = self.folder / f".{folder.name}.{uuid4().hex}"
        try:
            partial.mkdir(parents=True)
            made = write_arrays(partial, raw, self.name, self.on_error)
            meta = {
                "name": self.name,
                "source": str(source),
                "signature": signature,
                "settings": self.settings,
            }
            (partial / "meta.json").write_text(json.dumps(meta | made))
            self._publish(partial, folder)
        except OSError as error:
            where = f"cannot write prepared images to {self.folder}: {error.strerror or error}"
            raise UsageError(f"{where}; choose another place with data_dir=FOLDER") from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _publish(self, partial: Path, folder: Path) -> None:
        try:
            partial.rename(folder)
        except OSError:
            # Another process was first, with the same content; only remains of a broken folder make way.
            if self._open(folder, _read_meta(folder)):
                return
            shutil.rmtree(folder, ignore_errors=True)
            partial.rename(folder)


def _touch(folder: Path) -> None:
    # The array asked for last counts as the newest; one that is read-only keeps its place.
    with suppress(OSError):
        os.utime(folder / "meta.json")


def _touched(folder: Path) -> int:
    return (folder / "meta.json").stat().st_mtime_ns


def _read_meta(folder: Path) -> dict[str, Any] | None:
    try:
        return json.loads((folder / "meta.json").read_text())
    except (OSError, ValueError):
        return None


def _write_whole(file: Path, text: str) -> None:
    temporary = file.with_name(f".{file.name}.{uuid4().hex}")
    try:
        temporary.write_text(text)
        os.replace(temporary, file)
    finally:
        temporary.unlink(missing_ok=True)
