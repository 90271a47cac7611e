"""Networks that are told λ: their curve beside runs of one λ each, what it costs in nats, what they decode along it."""

import math
import statistics
from collections.abc import Iterator
from typing import Any

import numpy as np

from vaelab.quantities import amount
from vaelab.report.arrays import Array
from vaelab.report.chart import BESIDE, Chart
from vaelab.report.pictures import sheet
from vaelab.report.record import Record
from vaelab.report.records import Line, Section
from vaelab.report.slopes import is_plain

FILE = "rate_distortion"
IMAGES = {"original": "nhwc", "reconstruction": "lnhwc", "sample": "lnhwc"}
NUMBERS = {"rate": "rate", "distortion": "distortion", "negative_elbo": "−ELBO", "psnr": "PSNR"}
MOST = 100  # λ of a slider


def curve(record: Record) -> dict[str, Array]:
    """λ, rate and distortion (nats per image), each (L,), of a run's network; empty where it is told no λ."""
    if not (record.is_conditioned and record.is_evaluated):
        return {}
    return record.arrays(FILE, kl_weight="l", rate="l", distortion="l")


def draw(figure: Chart, section: Section, convention: tuple[Any, ...]) -> bool:
    """Each network's curve in the plane, as a line; whether there is one."""
    found = [(r, c) for r in section.records if r.convention == convention and (c := curve(r))]
    for number, (record, own) in enumerate(found):
        label = _line_of(section, record)
        figure.line(
            own["rate"], own["distortion"], BESIDE[number % len(BESIDE)], f"{label}: one network for all λ",
            ", %{text}<br>rate %{x:.2f}<br>distortion %{y:.2f}",
            text=[f"λ = {weight:.3g}" for weight in own["kl_weight"].tolist()], meta=record.name,
        )  # fmt: skip
    return bool(found)


def _line_of(section: Section, record: Record) -> str:
    return next(line.label for line in section.lines if record in line.records)


def prices(section: Section, line: Line) -> Iterator[str]:
    """What networks told λ cost in D + λ · KL against runs of one λ each, at the λ that both were measured at."""
    for record in line.records:
        own = curve(record)
        for other in section.lines if own else ():
            yield from _price(record, own, other)


def _price(record: Record, own: dict[str, Array], other: Line) -> Iterator[str]:
    first = other.records[0]
    alike = (first.model, first.convention) == (record.model, record.convention)
    if first.is_conditioned or not other.has_kl or not alike or not all(map(is_plain, (record, first))):
        return
    apart = {}
    for group in other.groups():
        weight = group.weight
        ensemble = group.mean("reconstruction") + weight * group.mean("kl")
        objectives = own["distortion"] + weight * own["rate"]
        at = np.isclose(own["kl_weight"], weight, rtol=1e-6)
        if weight and math.isfinite(ensemble) and at.any():
            apart[weight] = float(objectives[at][0]) - ensemble
    if not apart:
        return
    worst = max(apart, key=lambda weight: apart[weight])
    epochs = [str(one.config.get("epochs")) for one in (record, first)]
    trained = (
        "" if epochs[0] == epochs[1] else f" (it was trained for {epochs[0]} epochs, they for {epochs[1]})"
    )
    yield (
        f"One network for all λ costs {_nats(statistics.fmean(apart.values()))} nats of D + λ · KL on average over"
        f" the {len(apart)} λ that {other.label} has runs of their own for, and {_nats(apart[worst])} at most, at"
        f" λ = {worst:g}{trained}. Below 0 it is better than they are."
    )


def _nats(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def explorable(section: Section, scale: float) -> list[dict[str, Any]]:
    """What each network makes of the same images and the same draws of the prior, a row for each λ, for a slider."""
    return [found for record in section.records if (found := _slider(section, scale, record))]


def _slider(section: Section, scale: float, record: Record) -> dict[str, Any] | None:
    axes = dict.fromkeys(("kl_weight", *NUMBERS), "l") | IMAGES
    stored = record.arrays(FILE, **axes) if curve(record) else {}
    if not stored or len(stored["kl_weight"]) > MOST:
        return None
    return {
        "label": _line_of(section, record),
        "weights": [f"{weight:.3g}" for weight in stored["kl_weight"].tolist()],
        "numbers": [
            {title: amount(round(float(stored[name][place]), 2)) for name, title in NUMBERS.items()}
            for place in range(len(stored["kl_weight"]))
        ],
        "original": sheet(stored["original"][None], scale).as_json(),
        "reconstruction": sheet(stored["reconstruction"], scale).as_json(),
        "sample": sheet(stored["sample"], scale).as_json(),
    }
