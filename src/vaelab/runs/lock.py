"""Folders to write to: whether that is allowed, and the lock that one process at a time has."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from vaelab import UsageError, files


class Held(UsageError):
    """Another process holds the folder."""


def refuse_unwritable(folder: Path, key: str = "output_dir") -> None:
    """Raises UsageError when the folder that a key gives cannot be made or written to; creates nothing."""
    existing = next(p for p in (folder, *folder.absolute().parents) if os.path.exists(p))
    if not existing.is_dir():
        raise UsageError(f"{key}={folder}: {existing} is a file, not a folder: choose another {key}")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UsageError(f"{key}={folder}: no permission to write in {existing}: choose another {key}")


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Makes the folder and holds it, cleared of what killed processes left; raises UsageError where another has it."""
    lock = FileLock(folder / ".lock", timeout=0)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise Held(f"{folder} is in use by another process: wait for it or stop it") from error
    except (OSError, NotImplementedError) as error:  # the latter where a file system has no locks
        reason = getattr(error, "strerror", None) or error
        raise UsageError(f"cannot write in {folder} ({reason}): choose another output_dir") from error
    try:
        files.remove_unfinished(folder)
        yield
    finally:
        lock.release()


def is_held(folder: Path) -> bool:
    """Whether another process holds the folder; creates nothing where there is no lock yet."""
    if not (folder / ".lock").exists():
        return False
    try:
        with FileLock(folder / ".lock", timeout=0):
            return False
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return False


def number(folder: Path) -> tuple[int, int] | None:
    """What tells a folder from another that takes its place; None where there is none."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
