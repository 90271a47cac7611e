"""The images below a folder: links are followed, and what vaelab wrote itself is left out."""

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from vaelab.data.filenames import is_hidden, is_image

# By these files a folder is known as a run or as a report, also while it is still being written.
OWN_FILES = (frozenset(("config.yaml", "run.json")), frozenset(("index.html", "table.csv")))
CONTACT_SHEET = "contact_sheet.png"


def images_below(top: Path, data_dir: Path) -> list[str]:
    """Sorted names of the images below a folder, relative to it; OSError for a folder that cannot be read.

    A link to a folder is followed unless that folder holds the link, or is below `top` anyway. Left out are data_dir,
    runs, reports and contact sheets.
    """
    left_out = {_identity(folder) for folder in (data_dir, data_dir / "prepared") if folder.is_dir()}
    names: list[str] = []
    pending: list[tuple[str, str, tuple[str, ...]]] = [(str(top), "", (os.path.realpath(top),))]
    while pending:
        folder, below, roots = pending.pop()
        with os.scandir(folder) as opened:
            entries = [entry for entry in opened if not is_hidden(entry.name)]
        if is_own({entry.name for entry in entries}):
            continue
        for entry in entries:
            inner = below + entry.name
            if entry.is_symlink() and os.path.isdir(entry.path):
                target = os.path.realpath(entry.path)
                if _identity(target) not in left_out and not any(_overlap(target, root) for root in roots):
                    pending.append((entry.path, f"{inner}/", (*roots, target)))
            elif entry.is_dir(follow_symlinks=False):
                if _identity(entry.path) not in left_out:
                    pending.append((entry.path, f"{inner}/", roots))
            elif is_image(entry.name) and entry.name != CONTACT_SHEET:
                names.append(inner)
    return sorted(names)


def is_own(files: set[str]) -> bool:
    """Whether a folder with these files in it is a run or a report of vaelab's."""
    return any(own <= files for own in OWN_FILES)


def without_own(names: Sequence[str]) -> list[str]:
    """The relative paths that are neither in a run or report, nor contact sheets."""
    files = defaultdict(set)
    for name in names:
        folder, _, file = name.rpartition("/")
        files[folder].add(file)
    own = tuple(f"{folder}/" if folder else "" for folder, inside in files.items() if is_own(inside))
    return [name for name in names if not name.startswith(own) and name.rpartition("/")[2] != CONTACT_SHEET]


def _identity(folder: str | Path) -> tuple[int, int]:
    found = os.stat(folder)
    return found.st_dev, found.st_ino


def _overlap(one: str, other: str) -> bool:
    try:
        return os.path.commonpath((one, other)) in (one, other)
    except ValueError:  # two drives of Windows
        return False
