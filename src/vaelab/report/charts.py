"""Charts of the report as Plotly reads them: pure functions of a section."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from plotly.colors import sample_colorscale

from vaelab.quantities import Quantity
from vaelab.report import series
from vaelab.report.records import Line, Record, Section, image_values

# Dark to light orders λ for every eye, also in gray; its ends would not be seen on a dark page and on paper.
SCALE, DARKEST, PALEST = "Viridis", 0.25, 0.88
WITHOUT_KL = "#8a8a8a"
# Of GANs and of models along a setting: seen on dark and on light, and on no place of the scale.
BESIDE = ("#d55e00", "#c0569b", "#a87b00", "#7b6fd0")
INSTEAD = (*BESIDE, "#2a8fbd", "#2f9e6e", "#6b8e00", "#b5493a")  # where the scale is not used
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star")
ITERATIONS = "loss by iteration, as it was optimised"  # of report.md
MOST_POINTS = 1000  # of one curve, for log_every may keep each step of a long training
LEAST_KL = 1e-3  # nats; less is drawn as this
AXIS_TITLE = 30  # characters of a line
HEAT_MAP_ROWS = 64  # dimensions; of more, those with the most KL


@dataclass
class Chart:
    """What Plotly draws, as it reads it: plain lists and dictionaries, for its Python objects take seconds to check."""

    traces: list[dict[str, Any]] = field(default_factory=list)
    layout: dict[str, Any] = field(default_factory=dict)

    def draw(self, kind: str, **properties: Any) -> None:
        """Adds a trace."""
        self.traces.append({"type": kind, **{k: v for k, v in properties.items() if v is not None}})

    def as_json(self) -> dict[str, Any]:
        """The figure as the page's script takes it."""
        return {"data": self.traces, "layout": self.layout}


def colours(section: Section) -> dict[str, str]:
    """A colour for each run: its λ on a scale from dark to light, or that of its line; gray for the first autoencoder.

    The scale is not used where several lines have one λ each.
    """
    with_kl = [line for line in section.lines if line.has_kl]
    on_scale = len(with_kl) == 1 or section.has_several_weights
    weights = sorted({w for r in section.records if (w := section.weight(r)) is not None})
    places = np.linspace(DARKEST, PALEST, max(2, len(weights)))
    scale = dict(zip(weights, sample_colorscale(SCALE, list(places)), strict=False))
    autoencoders = [line for line in section.lines if line.kind == "AE"]
    own = [line for line in section.lines if not line.has_kl and line not in autoencoders[:1]]
    own += [] if on_scale else with_kl
    palette = BESIDE if on_scale else INSTEAD
    of_line = {r.name: palette[i % len(palette)] for i, line in enumerate(own) for r in line.records}
    by_weight = {
        r.name: WITHOUT_KL if (weight := section.weight(r)) is None else scale[weight]
        for r in section.records
    }
    return by_weight | of_line


def style(section: Section) -> dict[str, int]:
    """For each run the number of its line, which decides dash and marker."""
    return {record.name: place for place, line in enumerate(section.lines) for record in line.records}


def rate_distortion(section: Section, convention: tuple[Any, ...]) -> Chart | None:
    """Held-out rate against distortion in nats, of the runs whose nats mean the same; None without a point."""
    figure = Chart()
    lines = [line for line in section.lines if line.records[0].convention == convention]
    shade, place = colours(section), style(section)
    points = [(r.metric("kl"), r.metric("reconstruction")) for line in lines for r in line.records]
    points = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    if not points:
        return None
    _iso_elbo(figure, points)
    for line in lines:
        number = place[line.records[0].name]
        if any(math.isfinite(record.metric("kl")) for record in line.records):
            _along_weight(figure, section, line, shade, number, named=len(lines) > 1)
        else:
            _autoencoder(figure, section, line, max(x for x, _ in points))
    figure.layout["showlegend"] = len(lines) > 1
    _axes(figure, "rate: KL (nats per image)", "distortion: −log p(x|z) (nats per image)")
    return figure


def _along_weight(
    figure: Chart, section: Section, line: Line, shade: dict[str, str], number: int, named: bool
) -> None:
    """One line of means over seeds along λ with error bars, and one marker for each run."""
    means = [(_spread(records, "kl"), _spread(records, "reconstruction")) for _, records in line.by_weight()]
    means = [(x, y) for x, y in means if math.isfinite(x[0] + y[0])]
    several = any(x[1] or y[1] for x, y in means)
    figure.draw(
        "scatter",
        x=[x[0] for x, _ in means],
        y=[y[0] for _, y in means],
        error_x={"type": "data", "array": [x[1] for x, _ in means]} if several else None,
        error_y={"type": "data", "array": [y[1] for _, y in means]} if several else None,
        mode="lines",
        line={"color": WITHOUT_KL, "width": 1.5, "dash": DASHES[number % len(DASHES)]},
        name=_text(line.label) + (": mean over runs ± standard deviation" if several else ""),
        hoverinfo="skip",
        showlegend=named or several,
    )
    for record in (r for r in line.records if math.isfinite(r.metric("kl"))):
        label = section.labels[record.name]
        figure.draw(
            "scatter",
            x=[record.metric("kl")],
            y=[record.metric("reconstruction")],
            mode="markers+text",
            text=[(section.has_several_weights and _weight(section, record)) or _text(line.label)],
            textposition="top right",
            marker={
                "color": shade[record.name],
                "size": 11,
                "symbol": SYMBOLS[number % len(SYMBOLS)],
                "line": {"color": "#ffffff", "width": 1},
            },
            name=_text(label),
            meta=record.name,
            showlegend=False,
            hovertemplate=f"{_text(label)}<br>rate %{{x:.2f}}<br>distortion %{{y:.2f}}"
            f"<br>−ELBO {-record.metric('elbo'):.2f}<extra></extra>",
        )


def _autoencoder(figure: Chart, section: Section, line: Line, right: float) -> None:
    """A horizontal line at each autoencoder's distortion, for it has no rate."""
    for record in (r for r in line.records if math.isfinite(r.metric("reconstruction"))):
        label = section.labels[record.name]
        figure.draw(
            "scatter",
            x=[0, right * 1.1],
            y=[record.metric("reconstruction")] * 2,
            mode="lines",
            line={"color": WITHOUT_KL, "width": 2, "dash": "dash"},
            name=f"{_text(label)} (no rate)",
            meta=record.name,
            hovertemplate=f"{_text(label)}<br>distortion %{{y:.2f}}<extra></extra>",
        )


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
        if not inside.any():
            continue
        figure.draw(
            "scatter",
            x=_short(rate[inside]),
            y=_short(distortion[inside]),
            mode="lines",
            line={"color": "rgba(128,128,128,0.35)", "width": 1, "dash": "dot"},
            name=f"−ELBO = {total:g}",
            hovertemplate=f"−ELBO = {total:g}<extra></extra>",
            showlegend=False,
        )


def learning_curve(section: Section, quantity: Quantity) -> Chart | None:
    """One quantity of all runs by epoch on the validation split, dotted on the training split; None without rows.

    Where log_every kept rows inside epochs, these stand for the training split, and are not dotted.
    Each trace has the seconds of training in its customdata, for the page's switch of the x axis.
    """
    figure = Chart()
    shade, place = colours(section), style(section)
    sign, column = quantity.sign, quantity.name
    for record in section.records:
        for split in ("train", "val"):
            whole = record.curve(column, split)
            epochs, seconds, values = training_curve(record, column) if split == "train" else whole
            if not values:
                continue
            dash = "dot" if len(values) <= len(whole[2]) else "solid"
            label = section.labels[record.name]
            figure.draw(
                "scatter",
                x=epochs,
                y=_short(sign * np.array(values), 6),
                customdata=_short(np.array(seconds)),
                mode="lines" if len(values) > 1 else "markers",
                line={
                    "color": shade[record.name],
                    "width": 1.0 if split == "train" else 2.0,
                    "dash": dash if split == "train" else DASHES[place[record.name] % len(DASHES)],
                },
                name=f"{_text(label)} ({split})",
                meta=record.name,
                hovertemplate=f"{_text(label)}, {split}: %{{y}}<extra></extra>",
                showlegend=False,
            )
            if split == "val" and record.kept_epoch in epochs:
                at = epochs.index(record.kept_epoch)
                _kept(figure, (epochs[at], seconds[at], sign * values[at]), label, record)
    if not figure.traces:
        return None
    _axes(figure, "epoch", "<br>".join(map(_text, quantity.lines(AXIS_TITLE))))
    figure.layout["hovermode"] = "x unified" if len(section.records) <= 8 else "closest"
    return figure


def _kept(figure: Chart, point: tuple[float, float, float], label: str, record: Record) -> None:
    """A star at the epoch, seconds and value of the weights that a run has kept."""
    epoch, seconds, value = point
    figure.draw(
        "scatter",
        x=[epoch],
        y=_short(np.array([value]), 6),
        customdata=_short(np.array([seconds])),
        mode="markers",
        marker={"symbol": "star", "size": 12, "color": "#000000"},
        name=f"{_text(label)} (kept)",
        meta=record.name,
        hovertemplate=f"{_text(label)}: the weights of this epoch are kept<extra></extra>",
        showlegend=False,
    )


def inside_epochs(section: Section) -> list[Record]:
    """The runs whose loss was kept inside epochs."""
    return [record for record in section.records if record.inside("loss")[2]]


def by_code_size(section: Section, quantity: Quantity) -> Chart | None:
    """A metric over the size of the code, one line for each model; None where all codes are of one size."""
    figure = Chart()
    sizes: set[float] = set()
    for number, line in enumerate(series.by_code_size(section)):
        x, y = line.curve(quantity.name)
        if not y:
            continue
        sizes.update(x)
        figure.draw(
            "scatter",
            x=x,
            y=_short(np.array(y), 6),
            mode="lines+markers",
            line={"color": BESIDE[number % len(BESIDE)], "dash": DASHES[number % len(DASHES)]},
            marker={"size": 9, "symbol": SYMBOLS[number % len(SYMBOLS)]},
            name=_text(line.label),
            hovertemplate=f"{_text(line.label)}<br>%{{x}} values: %{{y}}<extra></extra>",
            showlegend=True,
        )
    if not figure.traces:
        return None
    _axes(figure, "values of the code; below, how many times as many an image has", quantity.heading)
    ticks = sorted(sizes)
    values = image_values(section)
    texts = [f"{t:,.0f}" + (f"<br>{values / t:.3g}:1" if values else "") for t in ticks]
    figure.layout["xaxis"] |= {"type": "log", "tickvals": ticks, "ticktext": texts}
    return figure


def training_curve(record: Record, column: str) -> tuple[list[float], list[float], list[float]]:
    """Epochs, seconds and values on the training split, inside epochs too where log_every kept more rows there."""
    whole, inside = record.curve(column, "train"), record.inside(column)
    if len(inside[2]) <= len(whole[2]):
        return whole
    every = -(-len(inside[2]) // MOST_POINTS)
    x, seconds, values = (part[::every] for part in inside)
    return x, seconds, values


def kl_heat_map(section: Section) -> Chart | None:
    """KL in nats of each dimension, the most informative of each run first, over λ; None where no run has it."""
    columns = [(section.labels[r.name], kl) for r in section.records if len(kl := _kl(r))]
    if not columns:
        return None
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
    figure = Chart()
    figure.draw(
        "heatmap",
        z=_short(shown),
        x=[_text(label) for label, _ in columns],
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
    _axes(figure, "", "dimension, by its KL")
    figure.layout["yaxis"]["autorange"] = "reversed"
    figure.layout["xaxis"]["type"] = "category"
    return figure


def active_units(section: Section) -> Chart | None:
    """Active units of each run over λ, beside the size of the code; None where no run has them."""
    figure = Chart()
    shade = colours(section)
    for line in section.lines:
        runs = [r for r in line.records if math.isfinite(r.metric("active_units"))]
        if not runs:
            continue
        figure.draw(
            "bar",
            x=[_text(section.labels[r.name]) for r in runs],
            y=[r.metric("active_units") for r in runs],
            marker={"color": [shade[r.name] for r in runs]},
            text=[f"{r.metric('active_units'):.0f}" for r in runs],
            textposition="outside",
            cliponaxis=False,
            name=_text(line.label),
            hovertemplate="%{x}: %{y} active units<extra></extra>",
            showlegend=False,
        )
    if not figure.traces:
        return None
    _axes(figure, "", "active units")
    figure.layout["xaxis"]["type"] = "category"
    return figure


def kl_of_layers(section: Section) -> Chart | None:
    """KL of each layer of each run's code, one on the other; None where no code has layers."""
    figure = Chart()
    runs = [r for r in section.records if math.isfinite(r.metric("kl_2"))]
    if not runs:
        return None
    for layer, colour in enumerate(INSTEAD, 1):
        values = [r.metric(f"kl_{layer}") for r in runs]
        if not any(map(math.isfinite, values)):
            break
        figure.draw(
            "bar",
            x=[_text(section.labels[r.name]) for r in runs],
            y=_short(np.array(values)),
            marker={"color": colour},
            name=f"layer {layer}",
            hovertemplate=f"%{{x}}<br>layer {layer}: %{{y}} nats<extra></extra>",
            showlegend=True,
        )
    _axes(figure, "", "KL (nats per image)")
    figure.layout |= {"barmode": "stack"}
    figure.layout["xaxis"]["type"] = "category"
    return figure


def aggregate_posterior(section: Section) -> Chart | None:
    """Standard deviation of the aggregate posterior by dimension, widest first, beside the prior's 1."""
    figure = Chart()
    shade, place = colours(section), style(section)
    widest = 0
    for record in section.records:
        stored = record.arrays("kl_per_dimension", "aggregate_variance")
        if not stored:
            continue
        deviation = np.sort(np.sqrt(stored["aggregate_variance"].astype(np.float64)))[::-1]
        deviation = deviation[:: max(1, len(deviation) // 256)]
        widest = max(widest, len(deviation))
        figure.draw(
            "scatter",
            x=list(range(1, len(deviation) + 1)),
            y=_short(deviation),
            mode="lines+markers",
            line={"color": shade[record.name], "dash": DASHES[place[record.name] % len(DASHES)]},
            marker={"size": 4},
            name=_text(section.labels[record.name]),
            meta=record.name,
            hovertemplate=f"{_text(section.labels[record.name])}: %{{y:.3g}}<extra></extra>",
        )
    if not figure.traces:
        return None
    figure.draw(
        "scatter",
        x=[1, max(2, widest)],
        y=[1, 1],
        mode="lines",
        line={"color": WITHOUT_KL, "dash": "dot"},
        name="prior N(0, 1)",
        hoverinfo="skip",
    )
    _axes(figure, "dimension, widest first", "standard deviation")
    figure.layout["yaxis"]["type"] = "log"
    return figure


def _kl(record: Record) -> np.ndarray:
    kl = record.arrays("kl_per_dimension", "kl").get("kl", np.empty(0)).astype(np.float64)
    return kl if np.isfinite(kl).all() else kl[:0]


def _spread(records: Sequence[Record], metric: str) -> tuple[float, float]:
    """Mean and standard deviation over seeds, 0 with one seed."""
    values = [v for record in records if math.isfinite(v := record.metric(metric))]
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return statistics.fmean(values) if values else math.nan, deviation


def _weight(section: Section, record: Record) -> str:
    weight = section.weight(record)
    return "" if weight is None else f"{weight:.3g}"


def _axes(figure: Chart, x: str, y: str) -> None:
    figure.layout |= {
        "margin": {"l": 60, "r": 12, "t": 12, "b": 48},
        "xaxis": {"title": {"text": x}, "automargin": True, "zeroline": False},
        "yaxis": {"title": {"text": y}, "automargin": True, "zeroline": False},
        "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font": {"size": 11}},
        "hoverlabel": {"align": "left"},
    }


def _text(label: str) -> str:
    """A label as plotly shows it unchanged, for it reads some HTML in texts."""
    return label.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("%{", "% {")


def _short(values: np.ndarray, digits: int = 4) -> list[Any]:
    """Numbers of a few digits, for a page's size; what is not finite is left out."""
    if values.ndim > 1:
        return [_short(row, digits) for row in values]
    return [float(f"{v:.{digits}g}") if math.isfinite(v) else None for v in values.tolist()]


def _round_step(step: float) -> float:
    """The round number (1, 2 or 5 times a power of ten) nearest above."""
    if not step > 0:
        return 0.0
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * f for f in (1, 2, 5, 10) if power * f >= step * 0.999)
