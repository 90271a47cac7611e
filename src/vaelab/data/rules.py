"""Whether images that an older version prepared are what this one makes of the same source."""

from pathlib import Path
from typing import Any

import numpy as np

from vaelab.data.prepare import read, split_of
from vaelab.data.sources import Source
from vaelab.words import printable


def is_same(folder: Path, meta: dict[str, Any], source: Source, settings: dict[str, Any]) -> bool:
    """Whether today's rules give prepared images the same names, classes and split; decodes none of them.

    UsageError where today's rules refuse the source.
    """
    if source.kind not in ("folder", "zip"):
        return True
    raw = read(source, settings)
    names = [printable(name) for name in raw.names or ()]
    kept = np.array([row for row, name in enumerate(names) if name not in meta["skipped"]], np.int64)
    if [names[row] for row in kept] != meta["names"] or list(raw.classes) != meta["classes"]:
        return False
    try:
        split = np.load(folder / "split.npy", allow_pickle=False)
        labels = np.load(folder / "labels.npy", allow_pickle=False) if meta["classes"] else ()
    except (OSError, ValueError, EOFError):
        return True  # they are damaged, which is said when they are opened
    expected = () if raw.labels is None else raw.labels[kept]
    return np.array_equal(labels, expected) and np.array_equal(split, split_of(raw, meta["name"], kept))
