"""The slope of the measured rate–distortion curve, which is −λ where every training has found its optimum."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from vaelab.names import choice_of
from vaelab.report.record import Record
from vaelab.report.records import Line, Section
from vaelab.report.topics import Table

LEAST = 3  # λ above 0 of a line whose slopes are told
CONSTRAINTS = (
    "free_bits",
    "capacity",
    "target",
)  # settings of a regulariser with which λ alone does not decide the rate


@dataclass(frozen=True)
class Point:
    """The means over seeds at one λ, and −dD/dR there of each seed's own curve."""

    kl_weight: float
    rate: float
    distortion: float
    slopes: tuple[float, ...]  # none at the ends of a curve


def table(section: Section) -> Table:
    """Rate, distortion and slope at each λ of each line."""
    lines = [(line, found) for line in section.lines if (found := points(line))]
    rows = []
    for line, found in lines:
        steeps = [*(secant(a, b) for a, b in pairwise(found)), math.nan]
        for point, to_next in zip(found, steeps, strict=True):
            mean = -statistics.fmean(point.slopes) if point.slopes else math.nan
            spread = statistics.stdev(point.slopes) if len(point.slopes) > 1 else math.nan
            numbers = (point.kl_weight, point.rate, point.distortion, mean, spread, -to_next)
            rows.append((line.label, *numbers))
    return Table(
        ("model", "λ", "rate", "distortion", "slope", "± over seeds", "slope to the next λ"),
        tuple(rows),
        title="Slope of rate and distortion",
        caption="The slope of the measured curve, which is −λ where both trainings found their optimum; in nats.",
    )


def sentences(line: Line) -> list[str]:
    """Between which neighbouring λ the slope is one that two optima can have, and which training fell short."""
    pairs = [(a, b, s) for a, b in pairwise(points(line)) if math.isfinite(s := secant(a, b))]
    if not pairs:
        return []
    # An optimum's own objective, D + λR, is nowhere less: so the secant of two optima lies between their λ.
    short = [(own, other) for a, b, _ in pairs for own, other in ((a, b), (b, a)) if regret(own, other) > 0]
    sound = sum(regret(a, b) <= 0 and regret(b, a) <= 0 for a, b, _ in pairs)
    found = [
        f"Between neighbouring λ the slope of distortion against rate lies between the two −λ in {sound} of"
        f" {len(pairs)} pairs, as it is where both trainings found their optimum."
    ]
    found += [
        f"By the loss of λ = {own.kl_weight:g} the runs of λ = {other.kl_weight:g} are {regret(own, other):.2g} nats"
        " better on the test images than those that were trained for it."
        for own, other in short
    ]
    return found


def points(line: Line) -> list[Point]:
    """Rates and distortions in nats by ascending λ; none where λ is not the slope of what is drawn, or of too few λ."""
    weights = sorted({r.kl_weight for r in line.records if is_plain(r) and r.kl_weight and _is_measured(r)})
    if len(weights) < LEAST:
        return []
    own = {weight: _seeds(line, weight) for weight in weights}
    seeds = [seed for seed in own[weights[0]] if all(seed in curve for curve in own.values())]
    slopes = [_inner_slopes([own[weight][seed] for weight in weights], weights) for seed in seeds]
    found = []
    for place, weight in enumerate(weights):
        rate, distortion = (statistics.fmean(values) for values in zip(*own[weight].values(), strict=True))
        found.append(
            Point(weight, rate, distortion, tuple(s[place - 1] for s in slopes if 0 < place <= len(s)))
        )
    return found


def secant(first: Point, second: Point) -> float:
    """−ΔD/ΔR from one λ to the next; NaN where the rate does not change."""
    fall = first.rate - second.rate
    return (second.distortion - first.distortion) / fall if fall else math.nan


def regret(own: Point, other: Point) -> float:
    """How much less D + λR the other has at the λ of a point's own training, which minimised it; in nats."""
    return own.distortion - other.distortion + own.kl_weight * (own.rate - other.rate)


def _inner_slopes(curve: Sequence[tuple[float, float]], weights: Sequence[float]) -> list[float]:
    """−dD/dR at all λ but the first and the last, by central differences of second order in ln λ."""
    rate, distortion = np.gradient(np.array(curve), np.log(weights), axis=0)[1:-1].T
    with np.errstate(divide="ignore", invalid="ignore"):
        return [float(slope) for slope in -distortion / rate]


def _seeds(line: Line, weight: float) -> dict[str, tuple[float, float]]:
    runs = [r for r in line.records if r.kl_weight == weight and _is_measured(r)]
    return {str(r.seed): (r.metric("kl"), r.metric("reconstruction")) for r in runs}


def _is_measured(record: Record) -> bool:
    return record.is_evaluated and all(
        map(math.isfinite, (record.metric("kl"), record.metric("reconstruction")))
    )


def is_plain(record: Record) -> bool:
    """Whether its loss is −log p(x|z) + λ · KL in nats, with nothing that holds either."""
    regulariser = record.config.get("regulariser")
    if not isinstance(regulariser, dict):
        return record.reduction == "sum"
    is_kl = choice_of("regulariser", str(regulariser.get("_target_"))) == "kl"
    return record.reduction == "sum" and is_kl and not any(regulariser.get(name) for name in CONSTRAINTS)
