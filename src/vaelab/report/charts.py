"""Charts of runs over λ, epochs and sizes of the code: pure functions of a section."""

from collections.abc import Sequence

import numpy as np

from vaelab.quantities import Quantity
from vaelab.report import series
from vaelab.report.chart import (
    BESIDE,
    DASHES,
    SYMBOLS,
    Chart,
    axes,
    colours,
    faint,
    short,
    style,
    text,
)
from vaelab.report.record import Record
from vaelab.report.records import Section, image_values, repeats

MOST_POINTS = 1000  # of one curve, for log_every may keep each step of a long training
AXIS_TITLE = 30  # characters of a line


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
                y=short(sign * np.array(values), 6),
                customdata=short(np.array(seconds)),
                mode="lines" if len(values) > 1 else "markers",
                line={
                    "color": shade[record.name],
                    "width": 1.0 if split == "train" else 2.0,
                    "dash": dash if split == "train" else DASHES[place[record.name] % len(DASHES)],
                },
                name=f"{text(label)} ({split})",
                meta=record.name,
                legendgroup=text(label),
                hovertemplate=f"{text(label)}, {split}: %{{y}}<extra></extra>",
                showlegend=False,
            )
            if split == "val" and record.kept_epoch in epochs:
                at = epochs.index(record.kept_epoch)
                _kept(figure, (epochs[at], seconds[at], sign * values[at]), label, record)
    if not figure.traces:
        return None
    for line in section.lines:
        for _, records in line.by_weight():
            _mean_over_seeds(figure, section, records, quantity)
    axes(figure, "epoch", "<br>".join(map(text, quantity.lines(AXIS_TITLE))))
    figure.layout["hovermode"] = "x unified" if len(section.records) <= 8 else "closest"
    return figure


def _mean_over_seeds(figure: Chart, section: Section, records: Sequence[Record], quantity: Quantity) -> None:
    """The mean of runs that differ in their seed, in a band of one standard deviation; nothing for one run."""
    curves = [record.curve(quantity.name, "val") for record in records]
    shortest = min((len(values) for _, _, values in curves), default=0)
    if len(curves) < 2 or not shortest:
        return
    epochs = curves[0][0][:shortest]
    seconds, values = (np.array([curve[part][:shortest] for curve in curves]) for part in (1, 2))
    mean, deviation = quantity.sign * values.mean(0), values.std(0, ddof=1)
    colour = colours(section)[records[0].name]
    shared = {
        "x": epochs,
        "customdata": short(seconds.mean(0)),
        "mode": "lines",
        "hoverinfo": "skip",
        "showlegend": False,
    }
    thin = {"color": colour, "width": 0}
    figure.draw("scatter", y=short(mean - deviation, 6), line=thin, **shared)
    figure.draw(
        "scatter", y=short(mean + deviation, 6), line=thin, fill="tonexty", fillcolor=faint(colour), **shared
    )
    name = f"mean of {repeats(records)}"
    figure.draw("scatter", y=short(mean, 6), line={"color": colour, "width": 3.5}, name=name, **shared)


def _kept(figure: Chart, point: tuple[float, float, float], label: str, record: Record) -> None:
    """A star at the epoch, seconds and value of the weights that a run has kept."""
    epoch, seconds, value = point
    figure.draw(
        "scatter",
        x=[epoch],
        y=short(np.array([value]), 6),
        customdata=short(np.array([seconds])),
        mode="markers",
        marker={"symbol": "star", "size": 12, "color": "#000000"},
        name=f"{text(label)} (kept)",
        meta=record.name,
        hovertemplate=f"{text(label)}: the weights of this epoch are kept<extra></extra>",
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
            y=short(np.array(y), 6),
            mode="lines+markers",
            line={"color": BESIDE[number % len(BESIDE)], "dash": DASHES[number % len(DASHES)]},
            marker={"size": 9, "symbol": SYMBOLS[number % len(SYMBOLS)]},
            name=text(line.label),
            hovertemplate=f"{text(line.label)}<br>%{{x}} values: %{{y}}<extra></extra>",
            showlegend=True,
        )
    if not figure.traces:
        return None
    axes(figure, "values of the code; below, how many times as many an image has", quantity.heading)
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
