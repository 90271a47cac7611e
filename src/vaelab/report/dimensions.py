"""Charts of the dimensions and layers of codes: pure functions of a section."""

import math
from collections.abc import Sequence

import numpy as np

from vaelab.report.chart import INSTEAD, SCALE, WITHOUT_KL, Chart, colours, dashes, short, text
from vaelab.report.oracle import RANKS
from vaelab.report.record import Record
from vaelab.report.records import Line, Section
from vaelab.report.topics import Drawing

LEAST_KL = 1e-3  # nats; less is drawn as this
FEWEST = 3  # λ of a cascade
LINE = 60  # points of a predicted curve
HEAT_MAP_ROWS = 64  # dimensions; of more, those with the most KL


def kl_heat_map(section: Section) -> Chart:
    """KL in nats of each dimension, the most informative of each run first, over λ."""
    figure = Chart("", "dimension, by its KL", type="category")
    columns = [(section.labels[r.name], kl) for r in section.records if len(kl := _kl(r))]
    if not columns:
        return figure
    height = min(HEAT_MAP_ROWS, max(len(kl) for _, kl in columns))
    grid = np.full((height, len(columns)), np.nan)
    names = np.full((height, len(columns)), "", dtype=object)
    for place, (_, kl) in enumerate(columns):
        order = np.argsort(-kl, kind="stable")[:height]
        grid[: len(order), place] = kl[order]
        names[: len(order), place] = [f"z{d}" for d in order]
    # On a logarithmic scale, for at λ = 0 a dimension carries a thousand times what it does at λ = 5.
    shown = np.log10(np.maximum(grid, LEAST_KL))
    ticks = list(range(math.ceil(math.log10(LEAST_KL)), math.ceil(np.nanmax(shown)) + 1))
    figure.draw(
        "heatmap",
        z=short(shown),
        x=[text(label) for label, _ in columns],
        y=list(range(1, height + 1)),
        text=np.char.mod("%.3g", grid).tolist(),
        customdata=names.tolist(),
        colorscale=SCALE,
        zmin=math.log10(LEAST_KL),
        colorbar={
            "title": {"text": "nats"},
            "thickness": 14,
            "tickvals": ticks,
            "ticktext": [f"{10.0**t:g}" for t in ticks],
        },
        hovertemplate="%{x}<br>%{customdata}: %{text} nats<extra></extra>",
    )
    figure.layout["yaxis"]["autorange"] = "reversed"
    return figure


def cascade(section: Section) -> Chart:
    """KL of the units of most information over λ, beside what a linear VAE would have, from three λ on."""
    line = max(section.lines, key=lambda line: len(line.groups()))
    found = [
        (group.weight, np.sort(kl)[::-1])
        for group in line.groups()
        if group.weight > 0 and len(kl := _kl(group.records[0])) > 1
    ]
    if len(found) < FEWEST:
        return Chart("", "")
    weights = [weight for weight, _ in found]
    ranks = min(RANKS, *(len(kl) for _, kl in found))
    along, linear = _linear_cascade(section, line, weights, ranks)
    title = "λ" + ("; dotted: a linear VAE, predicted" if len(along) else "")
    figure = Chart(title, "KL of the unit (nats)", type="log")
    for rank in range(ranks):
        colour = INSTEAD[rank % len(INSTEAD)]
        heights, name = [kl[rank] for _, kl in found], f"unit {rank + 1}"
        figure.line(weights, heights, colour, name, ", λ = %{x}: %{y} nats", mode="lines+markers")
        if len(along):
            figure.line(along, linear[:, rank], colour, dash="dot", width=1, showlegend=False)
    return figure


def _linear_cascade(
    section: Section, line: Line, weights: Sequence[float], units: int
) -> tuple[np.ndarray, np.ndarray]:
    """λ (N,) and the KL (N, units) of a linear VAE; none of them where the runs' λ are not in its nats."""
    oracle = section.oracle
    runs = [(r, group.weight) for group in line.groups() if group.weight for r in group.records]
    if oracle is None or not all(math.isclose(oracle.weight(r) or 0, w, rel_tol=1e-6) for r, w in runs):
        return np.empty(0), np.empty((0, units))
    along = np.geomspace(min(weights), max(*weights, oracle.collapse), LINE)
    return along, oracle.kl(along, units)


def active_units(section: Section) -> Chart:
    """Active units of each run over λ, beside the size of the code."""
    figure = Chart("", "active units", type="category")
    shade = colours(section)
    for line in section.lines:
        runs = [r for r in line.records if math.isfinite(r.metric("active_units"))]
        values = [r.metric("active_units") for r in runs]
        if runs:
            figure.bars(
                [section.labels[r.name] for r in runs], values, [shade[r.name] for r in runs], line.label,
                ": %{y} active units", text=[f"{v:.0f}" for v in values], textposition="outside",
                cliponaxis=False, showlegend=False,
            )  # fmt: skip
    return figure


def kl_of_layers(section: Section) -> Chart:
    """KL of each layer of each run's code, one on the other."""
    figure = Chart("", "KL (nats per image)", type="category")
    figure.layout["barmode"] = "stack"
    runs = [r for r in section.records if math.isfinite(r.metric("kl_2"))]
    for layer, colour in enumerate(INSTEAD, 1):
        values = [r.metric(f"kl_{layer}") for r in runs]
        if not any(map(math.isfinite, values)):
            break
        labels = [section.labels[r.name] for r in runs]
        figure.bars(
            labels, values, colour, f"layer {layer}", f"<br>layer {layer}: %{{y}} nats", showlegend=True
        )
    return figure


def aggregate_posterior(section: Section) -> Chart:
    """Standard deviation of the aggregate posterior by dimension, widest first, beside the prior's 1."""
    figure = Chart("dimension, widest first", "standard deviation")
    figure.layout["yaxis"]["type"] = "log"
    shade, dash = colours(section), dashes(section)
    widest = 0
    for record in section.records:
        stored = record.arrays("kl_per_dimension", aggregate_variance="d")
        if not stored:
            continue
        deviation = np.sort(np.sqrt(stored["aggregate_variance"].astype(np.float64)))[::-1]
        deviation = deviation[:: max(1, len(deviation) // 256)]
        widest = max(widest, len(deviation))
        figure.line(
            range(1, len(deviation) + 1), deviation, shade[record.name], section.labels[record.name], ": %{y:.3g}",
            mode="lines+markers", marker={"size": 4}, dash=dash[record.name], meta=record.name,
        )  # fmt: skip
    if figure:
        figure.line([1, max(2, widest)], [1, 1], WITHOUT_KL, "prior N(0, 1)", dash="dot")
    return figure


def _kl(record: Record) -> np.ndarray:
    kl = record.arrays("kl_per_dimension", kl="d").get("kl", np.empty(0)).astype(np.float64)
    return kl if np.isfinite(kl).all() else kl[:0]


TITLES = {
    kl_heat_map: "KL of each dimension on the test split; each run's dimensions are ordered by their KL",
    active_units: "Active units: dimensions whose posterior mean varies by more than 0.01 (Burda et al. 2016)",
    cascade: "Collapse: KL of the units of most information over λ, the first one first",
    kl_of_layers: "KL of each layer on the test split, given the layers above it; layer 1 is the one next to the image",
    aggregate_posterior: "Standard deviation of the aggregate posterior in each dimension; 1 is as wide as the prior",
}


def drawings(section: Section) -> list[Drawing]:
    """A chart of each kind."""
    return [
        Drawing(draw.__name__.replace("_", "-"), draw(section), title, title)
        for draw, title in TITLES.items()
    ]
