"""The plane of rate and distortion: a pure function of a section."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from vaelab.report import conditioned
from vaelab.report.chart import DASHES, SYMBOLS, WITHOUT_KL, Chart, colours, text
from vaelab.report.records import Line, Section
from vaelab.report.topics import Drawing

MOST_LINEAR = 4  # curves of linear VAEs


def drawings(section: Section) -> list[Drawing]:
    """A plane for the runs of each likelihood."""
    likelihoods = {r.convention: r.likelihood for r in section.records if r.kind != "GAN"}
    label = "Rate against distortion of each run; the table below has the numbers"
    found = []
    for place, (convention, words) in enumerate(likelihoods.items()):
        caption = f"Likelihood: {words}" if len(likelihoods) > 1 else ""
        chart = rate_distortion(section, convention)
        found.append(Drawing(f"rate-distortion-{place}", chart, label, caption))
    return found


def rate_distortion(section: Section, convention: tuple[Any, ...]) -> Chart:
    """Held-out rate against distortion in nats, of the runs whose nats mean the same."""
    figure = Chart("rate: KL (nats per image)", "distortion: −log p(x|z) (nats per image)")
    lines = [line for line in section.lines if line.records[0].convention == convention]
    shade = colours(section)
    place = {line.records[0].name: number for number, line in enumerate(section.lines)}
    points = [(r.metric("kl"), r.metric("reconstruction")) for line in lines for r in line.records]
    points = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    if not points:
        return figure
    _iso_elbo(figure, points)
    right = max(x for x, _ in points)
    for line in lines:
        number = place[line.records[0].name]
        if any(math.isfinite(record.metric("kl")) for record in line.records):
            _along_weight(figure, section, line, shade, number, right, named=len(lines) > 1)
        else:
            _autoencoder(figure, section, line, right)
    linear = _linear(figure, section, convention, lines, right)
    told = conditioned.draw(figure, section, convention)
    figure.layout["showlegend"] = len(lines) > 1 or linear or told
    return figure


def _linear(
    figure: Chart, section: Section, convention: tuple[Any, ...], lines: Sequence[Line], right: float
) -> bool:
    """The curve of the best linear VAE for each size of a code; whether there is one."""
    oracle = section.oracle
    if oracle is None or not oracle.fits(convention):
        return False
    weights: dict[int, list[float]] = {}
    for record in (record for line in lines for record in line.records):
        if weight := oracle.weight(record):
            weights.setdefault(oracle.units(record.code_size), []).append(weight)
    for units, own in sorted(weights.items())[:MOST_LINEAR]:
        found = [one for one in oracle.along(min(own), units) if one.rate <= 1.05 * right]
        size = f" of {units} units" if len(weights) > 1 else ""
        figure.line(
            [one.rate for one in found], [one.distortion for one in found], WITHOUT_KL,
            f"the best linear VAE{size}, predicted from the training images' variances", dash="dot",
            text=[f"λ = {one.kl_weight:.3g}" for one in found],
            hovertemplate=f"linear{size}, %{{text}}<br>rate %{{x:.2f}}<br>distortion %{{y:.2f}}<extra></extra>",
            hoverinfo=None,
        )  # fmt: skip
    return bool(weights)


def _along_weight(
    figure: Chart, section: Section, line: Line, shade: dict[str, str], number: int, right: float, named: bool
) -> None:
    """One line of means over seeds along λ with error bars, and one marker for each run."""
    means = [
        tuple((group.mean(name), group.deviation(name)) for name in ("kl", "reconstruction"))
        for group in line.groups()
    ]
    means = [(x, y) for x, y in means if math.isfinite(x[0] + y[0])]
    several = any(x[1] or y[1] for x, y in means)
    spreads = [
        {"type": "data", "array": [one[axis][1] for one in means]} if several else None for axis in (0, 1)
    ]
    figure.line(
        [x[0] for x, _ in means], [y[0] for _, y in means], WITHOUT_KL,
        line.label + (": mean over runs ± standard deviation" if several else ""), width=1.5,
        dash=DASHES[number % len(DASHES)], error_x=spreads[0], error_y=spreads[1], showlegend=named or several,
    )  # fmt: skip
    named_weights: set[str] = set()  # for seeds of one λ lie beside each other
    for record in (r for r in line.records if math.isfinite(r.metric("kl"))):
        weight = section.weight(record) if section.has_several_weights else None
        label = text(line.label) if weight is None else f"{weight:.3g}"
        said = f"<br>rate %{{x:.2f}}<br>distortion %{{y:.2f}}<br>−ELBO {-record.metric('elbo'):.2f}"
        side = "left" if record.metric("kl") > 0.9 * right else "right"  # where the chart ends
        marker = {"color": shade[record.name], "size": 11, "symbol": SYMBOLS[number % len(SYMBOLS)]}
        figure.line(
            [record.metric("kl")], [record.metric("reconstruction")], shade[record.name], section.labels[record.name],
            said, mode="markers+text", meta=record.name, showlegend=False, textposition=f"top {side}",
            text=["" if label in named_weights else label],
            marker=marker | {"line": {"color": "#ffffff", "width": 1}},
        )  # fmt: skip
        named_weights.add(label)


def _autoencoder(figure: Chart, section: Section, line: Line, right: float) -> None:
    """A horizontal line at each autoencoder's distortion, for it has no rate."""
    for record in (r for r in line.records if math.isfinite(r.metric("reconstruction"))):
        name, height = f"{section.labels[record.name]} (no rate)", record.metric("reconstruction")
        said = "<br>distortion %{y:.2f}"
        figure.line([0, right * 1.1], [height] * 2, WITHOUT_KL, name, said, dash="dash", meta=record.name)


def _iso_elbo(figure: Chart, points: Sequence[tuple[float, float]]) -> None:
    """Lines on which rate and distortion add up to the same −ELBO."""
    right = max(x for x, _ in points) * 1.05
    bottom, top = min(y for _, y in points), max(y for _, y in points)
    best, worst = min(x + y for x, y in points), max(x + y for x, y in points)
    step = _round_step((worst - best) / 6)
    rate = np.linspace(0, right, 60)
    for total in np.arange(math.ceil(best / step) * step, worst + step, step) if step else [best]:
        distortion = total - rate
        inside = (distortion > bottom - step) & (distortion < top + step)
        if inside.any():
            figure.line(
                rate[inside], distortion[inside], "rgba(128,128,128,0.35)", f"−ELBO = {total:g}", "", width=1,
                dash="dot", showlegend=False,
            )  # fmt: skip


def _round_step(step: float) -> float:
    """The round number (1, 2 or 5 times a power of ten) nearest above."""
    if not step > 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * f for f in (1, 2, 5, 10) if power * f >= step * 0.999)
