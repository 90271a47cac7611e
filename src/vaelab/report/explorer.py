"""The latent explorer: sheets of decoded images that sliders move over, and the map of codes."""

from typing import Any

import numpy as np

from vaelab.canvas import in_rows
from vaelab.report import conditioned
from vaelab.report.arrays import Array
from vaelab.report.chart import short
from vaelab.report.pictures import sheet
from vaelab.report.record import Record
from vaelab.report.records import Section

MAP_COLUMNS = 20
METHODS = {"latent_space": "PCA", "latent_space_tsne": "t-SNE"}
ATLAS = {
    "slice": "sshwc",
    "slice_dimension": "2",
    "slice_value": "2s",
    "strip": "ethwc",
    "strip_dimension": "e",
    "strip_value": "et",
    "slice_kl": "2?",
    "strip_kl": "e?",
    "index": "n",
    "reconstruction": "nhwc",
}


def sheets_of_run(section: Section, scale: float, record: Record) -> dict[str, Any] | None:
    """The sheets of one run's atlas, and its points; None where the run has no atlas."""
    stored = record.arrays("atlas", **ATLAS)
    if not stored:
        return None
    return {
        "run": record.name,
        "label": section.labels[record.name],
        "slice": sheet(stored["slice"], scale).as_json(),
        "dimensions": stored["slice_dimension"].tolist(),
        "values": short(stored["slice_value"]),
        "kl": short(stored["slice_kl"]) if "slice_kl" in stored else None,
        "strips": sheet(stored["strip"], scale).as_json() if len(stored["strip"]) else None,
        "stripDimensions": stored["strip_dimension"].tolist(),
        "stripValues": short(stored["strip_value"]),
        "stripKl": short(stored["strip_kl"]) if "strip_kl" in stored else None,
        "index": stored["index"].tolist(),
        "reconstructions": sheet(in_rows(stored["reconstruction"], MAP_COLUMNS), scale).as_json(),
        "maps": _maps(record, stored["index"]),
    }


def sheets_of_runs(section: Section, found: list[dict[str, Any]], scale: float) -> dict[str, Any]:
    """The runs that can be explored; the original images are kept once for all runs that show the same."""
    by_name = {record.name: record for record in section.records}
    kept: dict[tuple[int, ...], dict[str, object]] = {}
    runs = []
    for run in found:
        index = tuple(run["index"])
        if index not in kept:
            stored = by_name[run["run"]].arrays("atlas", original="nhwc", index="n")
            if not stored:
                continue
            kept[index] = sheet(in_rows(stored["original"], MAP_COLUMNS), scale).as_json()
        runs.append(run | {"originals": list(kept).index(index)})
    return {
        "runs": runs,
        "originals": list(kept.values()),
        "classes": section.records[0].classes,
        "conditioned": conditioned.explorable(section, scale),
    }


def _maps(record: Record, index: Array) -> dict[str, Any]:
    """Where the atlas's test images lie in each map, and their labels."""
    maps = {}
    for name, method in METHODS.items():
        stored = record.arrays(name, embedding="n2", index="n", label="n?")
        if not stored:
            continue
        order = np.argsort(stored["index"])
        place = np.searchsorted(stored["index"], index, sorter=order).clip(max=len(order) - 1)
        rows = order[place]
        there = stored["index"][rows] == index  # a map may have fewer images than the atlas
        points = stored["embedding"][rows]
        maps[method] = {
            "at": np.flatnonzero(there).tolist(),
            "x": short(points[there, 0]),
            "y": short(points[there, 1]),
            "label": stored["label"][rows][there].tolist() if "label" in stored else None,
        }
    return maps
