"""Finds a data set, prepared before or not, and keeps prepared ones as memory-mapped arrays."""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from vaelab import Failure, UsageError
from vaelab.bounds import Side
from vaelab.data.attributes import with_listings
from vaelab.data.download import PUBLISHED, download
from vaelab.data.imageset import ImageSet
from vaelab.data.prepare import RULES, damaged_image, read, refuse_unreadable, write_arrays
from vaelab.data.ranges import given_range
from vaelab.data.rules import is_same
from vaelab.data.sources import Source, find, source_at
from vaelab.files import cannot_write, read_json, refuse_irregular, remove_unfinished, sync, whole

META_KEYS = {"name", "source", "signature", "settings", "classes", "names", "fingerprint", "skipped"}
MOST_META = 1 << 30  # bytes: it names every file
FORMAT_VERSION = 1  # raise it when the same source would be prepared to other pixels


def load(
    *,
    name: str,
    path: str | None,
    data_dir: str,
    files: Sequence[str],
    size: Side | Sequence[Side] | None,
    on_error: str,
    image_key: str | None,
    label_key: str | None,
    hint: str,
    attribute: str | None = None,  # absent from the configurations of older run folders
    attributes: str | None = None,
    range: Sequence[float] | None = None,
) -> ImageSet:
    """The images of a data set, found or fetched, prepared on first use and memory-mapped ever after.

    Raises UsageError where the source is missing or no set of images, or where data_dir cannot be written.
    """
    _check(name, on_error)
    if attributes is not None and attribute is None:
        raise UsageError(
            f"dataset.attributes={attributes} needs dataset.attribute, the column that becomes the label"
        )
    settings = settings_of(size, image_key, label_key, attribute, span=range)
    store = Store(Path(data_dir).expanduser(), name, settings, on_error)
    try:
        source = find(path, store.data_dir, files, label_key)
        # Without patterns the name stands for no data in particular (image_folder, npz): the user has to say which.
        if source is None and files and (newest := store.newest()):
            return newest
        if source is None and name in PUBLISHED:
            url, blob_id = PUBLISHED[name]
            source = source_at(
                download(url, store.data_dir / Path(url).name, blob_id), label_key, store.data_dir
            )
        if source is None:
            places = f"; looked for {', '.join(files)} in {store.data_dir}" if files else ""
            raise UsageError(f"the images of dataset={name} are not here: {hint}{places}{store.damage()}")
        return store.get(with_listings(source, attribute, attributes))
    except OSError as error:
        raise UsageError(
            f"cannot read {error.filename or path or data_dir}: {error.strerror or error}"
        ) from None


def _check(name: str, on_error: str) -> None:
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise UsageError(f"dataset.name={name!r} is not a name: use letters, digits, '_', '.' and '-'")
    if on_error not in ("stop", "skip"):
        raise UsageError(f"dataset.on_error={on_error} must be stop or skip")


def settings_of(
    size: int | Sequence[int] | None,
    image_key: str | None,
    label_key: str | None,
    attribute: str | None,
    span: Sequence[float] | None = None,
) -> dict[str, Any]:
    """What prepared arrays are known by beside their source; UsageError for a size or range that is none."""
    sides = [size, size] if isinstance(size, int) else None if size is None else list(size)
    if sides is not None and (len(sides) != 2 or not all(type(side) is int and side > 0 for side in sides)):
        raise UsageError(
            f"dataset.size={size} must be a number of pixels, [height, width] or null (as stored)"
        )
    settings = {"size": sides, "image_key": image_key, "label_key": label_key, "version": FORMAT_VERSION}
    # What was prepared before there were attributes and ranges stays known.
    given = {"attribute": attribute, "range": None if span is None else list(given_range(span))}
    return settings | {key: value for key, value in given.items() if value is not None}


class DamagedArrays(UsageError):
    """Prepared arrays that are not those that were prepared."""


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
        same = [found for found in self._prepared() if found[1]["signature"] == signature]
        same.sort(key=lambda found: found[1].get("rules") != RULES)  # those of this version are taken unseen
        known = next((found for found in same if self._is_current(*found, source)), None)
        folder = known[0] if known else self._place(source)
        try:
            if known:
                _touch(folder)
                return self._open(*known)
            if images := self._renewed(folder, source, signature):
                return images
        except DamagedArrays:
            print(f"{folder} is damaged: its images are prepared again", file=sys.stderr)
        self._prepare(source, signature, folder)
        return self._open(folder, _read_meta(folder))

    def knows(self, source: Source) -> bool:
        """Whether a source is prepared, and was not touched since."""
        signature = source.signature()
        return any(meta["signature"] == signature for _, meta in self._prepared())

    def newest(self) -> ImageSet | None:
        """The prepared array that was made or asked for last."""
        found = sorted(self._prepared(), key=lambda item: _touched(item[0]), reverse=True)
        return self._open(*found[0]) if found else None

    def damage(self) -> str:
        """What of this data set's prepared images cannot be read, in words for the end of a message."""
        damaged = [folder for folder in self.folder.glob(f"{self.name}-*") if _read_meta(folder) is None]
        return f"; {damaged[0] / 'meta.json'} is damaged" if damaged else ""

    def _prepared(self) -> Iterator[tuple[Path, dict[str, Any]]]:
        for folder in sorted(self.folder.glob(f"{self.name}-*")):
            meta = _read_meta(folder)
            if meta and meta["name"] == self.name and meta["settings"] == self.settings:
                yield folder, meta

    def _is_current(self, folder: Path, meta: dict[str, Any], source: Source) -> bool:
        """Whether this version would prepare the same, which is looked at once."""
        if meta.get("rules") == RULES:
            return True
        if not is_same(folder, meta, source, self.settings):
            return False
        with suppress(OSError, UsageError, Failure):  # where it is read-only it is looked at again
            _write_meta(folder, meta | {"rules": RULES})
        return True

    def _place(self, source: Source) -> Path:
        """The folder of a source's content, or another where an older version prepared it otherwise."""
        refuse_unreadable(source)
        content = source.content()
        for settings in (self.settings, self.settings | {"rules": RULES}):
            key = blake2b(json.dumps([content, settings]).encode(), digest_size=8).hexdigest()
            folder = self.folder / f"{self.name}-{key}"
            meta = _read_meta(folder)
            if meta is None or self._is_current(folder, meta, source):
                break
        return folder

    def _renewed(self, folder: Path, source: Source, signature: str) -> ImageSet | None:
        """What was prepared of the same content when it lay elsewhere, from now on known here."""
        meta = _read_meta(folder)
        if meta is None:
            return None
        images = self._open(folder, meta)
        with suppress(
            OSError, UsageError
        ):  # where it is read-only the array is as good, only found less quickly
            _write_meta(folder, meta | {"signature": signature, "source": str(source)})
        return replace(images, source=str(source))

    def _open(self, folder: Path, meta: dict[str, Any] | None) -> ImageSet:
        if meta is None:
            raise UsageError(f"{folder} was changed while it was read: give the command again")
        if meta["skipped"] and self.on_error == "stop":
            raise damaged_image(meta["source"], *next(iter(meta["skipped"].items())))
        return _open(folder, meta)

    def _prepare(self, source: Source, signature: str, folder: Path) -> None:
        raw = read(source, self.settings)
        partial = self.folder / f".{folder.name}.{os.getpid()}.tmp"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / f".{folder.name}.lock"):
                with suppress(UsageError):  # another process was first, with the same content
                    self._open(folder, _read_meta(folder))
                    return
                remove_unfinished(self.folder, folder.name)
                partial.mkdir()
                made = write_arrays(partial, raw, self.name, self.on_error)
                meta = {"name": self.name, "source": str(source), "signature": signature}
                for file in partial.iterdir():
                    sync(file)
                _write_meta(partial, meta | {"settings": self.settings} | made)
                shutil.rmtree(folder, ignore_errors=True)  # remains without a meta.json that can be read
                partial.rename(folder)
                sync(self.folder)
        except OSError as error:
            told = cannot_write(folder, error)
            if isinstance(told, Failure):
                raise told from None
            where = f"cannot write prepared images to {self.folder}: {error.strerror or error}"
            raise UsageError(f"{where}; choose another place with data_dir=FOLDER") from None
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def find_prepared(fingerprint: str, data_dirs: Iterable[Path]) -> ImageSet | None:
    """The prepared images of this fingerprint below one of the folders, whatever their source was called."""
    for data_dir in data_dirs:
        for file in sorted(data_dir.glob("prepared/*/meta.json")):
            meta = _read_meta(file.parent)
            if meta and meta["fingerprint"] == fingerprint:
                return _open(file.parent, meta)
    return None


def _open(folder: Path, meta: dict[str, Any]) -> ImageSet:
    """The arrays of a folder; UsageError where they are not those that were prepared."""
    try:
        images = _mapped(folder / "images.npy")
        labels = np.array(_mapped(folder / "labels.npy")) if meta["classes"] else None
        names = meta["names"] or [f"row {row}" for row in range(len(images))]
        prepared = ImageSet(
            name=meta["name"],
            images=images,
            labels=labels,
            classes=tuple(meta["classes"]),
            names=tuple(names),
            split=np.array(_mapped(folder / "split.npy")),
            fingerprint=meta["fingerprint"],
            source=meta["source"],
        )
        if prepared.is_intact():
            return prepared
    except (OSError, ValueError, EOFError, TypeError):
        pass
    raise DamagedArrays(
        f"{folder} is damaged (its arrays are not those that were prepared): remove it, and prepare its images again "
        "with vae-data prepare"
    )


def _mapped(file: Path) -> np.ndarray:
    # Mapped, for an array whose header declares more than the file holds is then refused and not allocated.
    refuse_irregular(file)
    return np.load(file, mmap_mode="r", allow_pickle=False)


def _touch(folder: Path) -> None:
    # The array asked for last counts as the newest; one that is read-only keeps its place.
    with suppress(OSError):
        os.utime(folder / "meta.json")


def _touched(folder: Path) -> int:
    return (folder / "meta.json").stat().st_mtime_ns


def _read_meta(folder: Path) -> dict[str, Any] | None:
    """What meta.json says; None, so that the images are prepared anew, where it is missing or damaged."""
    try:
        meta = read_json(folder / "meta.json", most=MOST_META)
    except (OSError, UsageError):
        return None
    return meta if meta.keys() >= META_KEYS else None


def _write_meta(folder: Path, meta: dict[str, Any]) -> None:
    with whole(folder / "meta.json") as temporary:
        temporary.write_text(json.dumps(meta), encoding="utf-8")
