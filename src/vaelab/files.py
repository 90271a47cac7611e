"""Files: written whole or not at all, read within bounds, hashed."""

import errno
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from vaelab import Failure, UsageError

WINDOWS = sys.platform == "win32"
FULL = (errno.ENOSPC, errno.EDQUOT)
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR)
MOST_TEXT = 64 << 20  # bytes of a text that is read; a metrics.csv of 10,000 epochs has 3 MB
MOST_DEPTH = 40  # levels of a tree of keys; configurations have five
# YAML without aliases, whose lines begin far left.
FLAT = re.compile(r"(?: {0,16}(?:- )?[^\s&*?-][^&*\n]*\n)*")
LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
STRAY_BYTE = re.compile(r"\\u[dD][89a-fA-F]")  # of a path that is not UTF-8, which libyaml refuses to read


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """A temporary path beside the target, which becomes the target on the disk once all is written to it.

    Raises Failure for a full disk and UsageError where writing is forbidden, and then leaves nothing behind.
    """
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        sync(temporary)
        replace(temporary, target)
        sync(target.parent)
    except OSError as error:
        told = cannot_write(target, error)
        if told is error:
            raise
        raise told from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def replace(source: Path, target: Path) -> None:
    """Renames, again and again for a second where Windows refuses it because somebody reads the target."""
    for _ in range(20 if WINDOWS else 0):
        with suppress(PermissionError):
            return os.replace(source, target)
        time.sleep(0.05)
    os.replace(source, target)


def cannot_write(target: Path, error: OSError) -> Exception:
    """The error that says of a file that was not written why not, and what to do; others as they are."""
    if error.errno in FULL:
        existing = next((folder for folder in target.absolute().parents if folder.is_dir()), Path("/"))
        free = shutil.disk_usage(existing).free / 1e6
        return Failure(
            f"cannot write {target}: the disk is full ({free:.1f} MB are free): make room and give the command again"
        )
    if error.errno in FORBIDDEN:
        return UsageError(
            f"cannot write {target} ({error.strerror}): allow it, or choose another output_dir or data_dir"
        )
    return error


def sync(path: Path) -> None:
    """Waits until a file, or the list of a folder's files, is on the disk, where the system can say so."""
    try:
        # Windows flushes only what is open for writing, and opens no folders; a pipe that is read from waits.
        descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno in FULL or error.errno == errno.EIO:
            raise
    finally:
        os.close(descriptor)


def remove_unfinished(folder: Path, name: str = "*") -> None:
    """Removes, below the folder, what processes that were killed had not finished to write under a name."""
    for unfinished in folder.rglob(f".{name}.*.tmp"):
        if re.search(r"\.\d+\.tmp$", unfinished.name):
            _remove(unfinished)


def _remove(path: Path) -> None:
    with suppress(OSError):  # on a disk that is read-only it harms nobody
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def refuse_irregular(path: Path) -> None:
    """Raises UsageError for what exists and is no regular file (a pipe, a device, a folder), links followed."""
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is not a regular file: remove it, or put a file there")


def read_text(path: Path, most: int = MOST_TEXT) -> str:
    """The text of a UTF-8 file; UsageError where it is none, no regular file, or larger than `most` bytes."""
    refuse_irregular(path)
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise UsageError(f"{path} is refused: it has more than {most / 1e6:.0f} MB, which no run has written")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path} is damaged: line {line} is not UTF-8") from None


def read_json(path: Path, most: int = MOST_TEXT) -> dict[str, Any]:
    """The keys of a JSON file; UsageError where it is damaged, too large or nested too deeply."""
    try:
        values = json.loads(read_text(path, most))
    except (ValueError, RecursionError):
        raise UsageError(f"{path} is damaged: it is not JSON") from None
    return _tree(path, values)


def read_yaml(path: Path, most: int = 1 << 20) -> dict[str, Any]:
    """The keys of a YAML file, whose interpolations stay text; UsageError as read_json, and for aliases."""
    text = read_text(path, most)
    loader = yaml.SafeLoader if STRAY_BYTE.search(text) else LOADER
    try:
        if not FLAT.fullmatch(text) or text.count("[") + text.count("{") > MOST_DEPTH:
            _refuse_bomb(path, text, loader)
        # Plain YAML is ten times as fast as OmegaConf, and resolves nothing that a stranger wrote.
        values = yaml.load(text, Loader=loader)
    except (yaml.YAMLError, ValueError):
        raise UsageError(f"{path} is damaged: it is not YAML") from None
    return _tree(path, values)


def _refuse_bomb(path: Path, text: str, loader: Any) -> None:
    # Event by event, for the loader follows brackets until the stack is full, and aliases for ever.
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MOST_DEPTH or isinstance(event, yaml.AliasEvent):
            raise UsageError(
                f"{path} is refused: it is nested deeply or has aliases, which no run has written"
            )


def _tree(path: Path, values: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise UsageError(f"{path} is damaged: it holds no keys")
    level: list[Any] = [values]
    for _ in range(MOST_DEPTH):
        if any(not isinstance(key, str) for value in level if isinstance(value, dict) for key in value):
            raise UsageError(f"{path} is damaged: a key is no text")
        level = [child for value in level for child in _children(value)]
    if level:
        raise UsageError(f"{path} is refused: it is nested deeper than any run has written")
    return values


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def digest(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    made = sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            made.update(chunk)
    return made.hexdigest()


def small_arrays(file: Path, most: int) -> dict[str, np.ndarray]:
    """The arrays of an .npz file; raises ValueError where they take more than so many bytes, and as numpy does."""
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as arrays:
        if sum(entry.file_size for entry in arrays.zip.infolist()) > most:
            raise ValueError(f"{file} holds more than {most:,} bytes")
        return dict(arrays)
