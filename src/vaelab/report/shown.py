"""What the page shows of each run's arrays: strips to compare, sheets to explore, points of the latent map."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from vaelab.report import codes, rows, samples
from vaelab.report.arrays import Array
from vaelab.report.pictures import Matrix, Strip, in_rows, sheet
from vaelab.report.record import Record
from vaelab.report.records import Section

WORKERS = min(4, os.cpu_count() or 1)  # each may hold as much as a report reads of a file
MAP_COLUMNS = 20
SHRINKS = 1.2  # bytes go with this power of the scale: measured 1.1 to 1.3 on digits, eyes and anime faces
METHODS = {"latent_space": "PCA", "latent_space_tsne": "t-SNE"}


@dataclass(frozen=True)
class Shown:
    """All pictures of one section."""

    matrices: tuple[Matrix, ...]
    explorer: dict[str, Any]  # what the page's script reads: sheets, values and points of each run
    probes: dict[str, Strip] = field(default_factory=dict)  # reconstructions of each run, for hovering
    side_by_side: Matrix | None = None  # samples of all models
    galleries: tuple[rows.Gallery, ...] = ()  # of what each run alone makes
    perturbed: Matrix | None = None  # images from codes and noise
    edited: tuple[Matrix, ...] = ()  # of each run with edited codes


def show(section: Section, scale: float) -> Shown:
    """Reads and encodes the pictures of a section, each image reduced by `scale`."""
    with ThreadPoolExecutor(WORKERS) as pool:  # decompression and encoding release the interpreter
        compared = list(pool.map(partial(rows.compared, section, scale), section.records))
        sheets = list(pool.map(partial(_explorable, section, scale), section.records))
        galleries = list(pool.map(partial(samples.gallery, section, scale), section.records))
    matrices = tuple(rows.matrices(section, scale, compared))
    probes = {s.run: s for m in matrices if m.id == "reconstructions" for s in m.strips}
    return Shown(
        matrices,
        _explorer(section, [found for found in sheets if found], scale),
        probes,
        samples.side_by_side(section, scale),
        tuple(found for found in galleries if found.matrices),
        codes.perturbed(section, scale),
        codes.edited(section, scale),
    )


def scale_for(sections: Sequence[Section], budget: int) -> float:
    """By how much images must be reduced so that all take at most `budget` bytes, as far as one run of each tells."""
    total = 0
    for section in sections:
        evaluated = [record for record in section.pictured.records if record.is_evaluated]
        if evaluated:
            total += _bytes(section, evaluated[len(evaluated) // 2]) * len(evaluated)
    return min(1.0, (budget / max(1, total)) ** (1 / SHRINKS))


def _bytes(section: Section, record: Record) -> int:
    """What one run's pictures take of the page at full size."""
    compared = rows.matrices(section, 1.0, [rows.compared(section, 1.0, record)])
    strips = [
        strip.sheet.uri
        for matrix in (*compared, *samples.gallery(section, 1.0, record).matrices)
        for shown in (matrix, *(frame for _, frame in matrix.frames))
        for strip in shown.strips
    ]
    explorable = _explorable(section, 1.0, record) or {}
    sheets = [
        explorable[name]["uri"] for name in ("slice", "strips", "reconstructions") if explorable.get(name)
    ]
    return sum(map(len, strips + sheets))


# ---- the explorer and the latent map


def _explorable(section: Section, scale: float, record: Record) -> dict[str, Any] | None:
    """The sheets of one run's atlas, and its points; None where the run has no atlas."""
    stored = record.arrays(
        "atlas",
        *("slice", "slice_dimension", "slice_value", "strip", "strip_dimension", "strip_value"),
        *("index", "reconstruction"),
    )
    if not stored:
        return None
    kl = record.arrays("atlas", "strip_kl", "slice_kl")
    found: dict[str, Any] = {
        "run": record.name,
        "label": section.labels[record.name],
        "slice": sheet(stored["slice"], scale).as_json(),
        "dimensions": stored["slice_dimension"].tolist(),
        "values": _rounded(stored["slice_value"]),
        "kl": _rounded(kl["slice_kl"]) if kl else None,
        "strips": None,
        "stripDimensions": stored["strip_dimension"].tolist(),
        "stripValues": _rounded(stored["strip_value"]),
        "stripKl": _rounded(kl["strip_kl"]) if kl else None,
        "index": stored["index"].tolist(),
        "reconstructions": sheet(in_rows(stored["reconstruction"], MAP_COLUMNS), scale).as_json(),
        "maps": _maps(record, stored["index"]),
    }
    if len(stored["strip"]):
        found["strips"] = sheet(stored["strip"], scale).as_json()
    return found


def _maps(record: Record, index: Array) -> dict[str, Any]:
    """Where the atlas's test images lie in each map, and their labels."""
    maps = {}
    for name, method in METHODS.items():
        stored = record.arrays(name, "embedding", "index")
        if not stored:
            continue
        order = np.argsort(stored["index"])
        place = np.searchsorted(stored["index"], index, sorter=order).clip(max=len(order) - 1)
        rows = order[place]
        there = stored["index"][rows] == index  # a map may have fewer images than the atlas
        points = stored["embedding"][rows].astype(np.float64)
        labels = record.arrays(name, "label", "index").get("label")
        maps[method] = {
            "at": np.flatnonzero(there).tolist(),
            "x": _rounded(points[there, 0]),
            "y": _rounded(points[there, 1]),
            "label": labels[rows][there].tolist() if labels is not None else None,
        }
    return maps


def _explorer(section: Section, found: list[dict[str, Any]], scale: float) -> dict[str, Any]:
    """The runs that can be explored; the original images are kept once for all runs that show the same."""
    by_name = {record.name: record for record in section.records}
    kept: dict[tuple[int, ...], dict[str, object]] = {}
    runs = []
    for run in found:
        index = tuple(run["index"])
        if index not in kept:
            stored = by_name[run["run"]].arrays("atlas", "original", "index")
            if not stored:
                continue
            kept[index] = sheet(in_rows(stored["original"], MAP_COLUMNS), scale).as_json()
        runs.append(run | {"originals": list(kept).index(index)})
    return {"runs": runs, "originals": list(kept.values()), "classes": section.records[0].classes}


def _rounded(values: Array) -> Any:
    """Numbers of four digits, as lists."""
    if values.ndim > 1:
        return [_rounded(row) for row in values]
    return [float(f"{value:.4g}") for value in values.astype(np.float64)]
