"""All pictures of a section: rows to compare, what each run alone makes, sheets to explore."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from vaelab.report import explorer, rows, samples
from vaelab.report.pictures import Matrix
from vaelab.report.records import Section

WORKERS = min(4, os.cpu_count() or 1)  # each may hold as much as a report reads of a file
SHRINKS = 1.2  # bytes go with this power of the scale: measured 1.1 to 1.3 on digits, eyes and anime faces


@dataclass(frozen=True)
class Album:
    """All pictures of one section."""

    matrices: tuple[Matrix, ...]
    explorer: dict[str, Any]  # what the page's script reads: sheets, values and points of each run
    side_by_side: Matrix | None = None  # samples of all models
    galleries: tuple[rows.Gallery, ...] = ()  # of what each run alone makes


def album(section: Section, scale: float) -> Album:
    """Reads and encodes the pictures of a section, each image reduced by `scale`."""
    with ThreadPoolExecutor(WORKERS) as pool:  # decompression and encoding release the interpreter
        compared = list(pool.map(partial(rows.comparable_rows, section, scale), section.records))
        sheets = list(pool.map(partial(explorer.sheets_of_run, section, scale), section.records))
        galleries = list(pool.map(partial(rows.gallery, section, scale), section.records))
    return Album(
        tuple(rows.matrices(section, scale, compared)),
        explorer.sheets_of_runs(section, [found for found in sheets if found], scale),
        samples.side_by_side(section, scale),
        tuple(found for found in galleries if found.matrices),
    )


def scale_for(sections: Sequence[Section], budget: int) -> float:
    """By how much images must be reduced so that all take at most `budget` bytes, as far as one run of each tells."""
    total = 0
    for section in sections:
        evaluated = [record for record in section.with_pictures.records if record.is_evaluated]
        if evaluated:
            total += _bytes(section, evaluated[len(evaluated) // 2].name) * len(evaluated)
    return min(1.0, (budget / max(1, total)) ** (1 / SHRINKS))


def _bytes(section: Section, name: str) -> int:
    """What one run's pictures take of the page at full size."""
    alone = album(section.subset({name}), 1.0)
    matrices = [*alone.matrices, *(m for gallery in alone.galleries for m in gallery.matrices)]
    every = [shown for matrix in matrices for shown in (matrix, *(frame for _, frame in matrix.frames))]
    strips = [strip.sheet.uri for matrix in every for strip in matrix.strips]
    sheets = [
        run[name]["uri"]
        for run in alone.explorer["runs"]
        for name in ("slice", "strips", "reconstructions")
        if run[name]
    ]
    return sum(map(len, strips + sheets))
