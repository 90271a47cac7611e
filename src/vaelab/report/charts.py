"""Charts of runs over λ, epochs and sizes of the code: pure functions of a section."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from vaelab.quantities import Quantity
from vaelab.report import columns, series
from vaelab.report.chart import BESIDE, DASHES, SYMBOLS, Chart, colours, dashes, faint, short, text
from vaelab.report.record import Record
from vaelab.report.records import Section, image_values, repeats
from vaelab.report.topics import Drawing

FEW_EPOCHS = 10  # which have a tick each, for there are no halves of them
MOST_POINTS = 1000  # of one curve, for log_every may keep each step of a long training
AXIS_TITLE = 30  # characters of a line


def learning_curve(section: Section, quantity: Quantity) -> Chart:
    """One quantity of all runs by epoch on the validation split, dotted on the training split.

    Where log_every kept rows inside epochs, these stand for the training split, and are not dotted.
    Each trace has the seconds of training in its customdata, for the page's switch of the x axis.
    """
    ticks = {"dtick": 1} if max(record.epoch for record in section.records) <= FEW_EPOCHS else {}
    figure = Chart("epoch", "<br>".join(map(text, quantity.lines(AXIS_TITLE))), **ticks)
    figure.layout["hovermode"] = "x unified" if len(section.records) <= 8 else "closest"
    shade, dash = colours(section), dashes(section)
    sign, column = quantity.sign, quantity.name
    for record in section.records:
        label = section.labels[record.name]
        for split in ("train", "val"):
            whole = record.curve(column, split)
            epochs, seconds, values = training_curve(record, column) if split == "train" else whole
            if not values:
                continue
            thin = {"width": 1.0, "dash": "dot" if len(values) <= len(whole[2]) else "solid"}
            figure.line(
                epochs, sign * np.array(values), shade[record.name], f"{label} ({split})", ": %{y}",
                mode="lines" if len(values) > 1 else "markers", meta=record.name, legendgroup=text(label),
                customdata=short(np.array(seconds)), showlegend=False,
                **(thin if split == "train" else {"dash": dash[record.name]}),
            )  # fmt: skip
            if split == "val" and record.weights_epoch in epochs:
                at = epochs.index(record.weights_epoch)
                figure.line(
                    [epochs[at]], [sign * values[at]], "#000000", f"{label} (kept)",
                    ": the weights of this epoch are kept", mode="markers", meta=record.name, showlegend=False,
                    customdata=short(np.array([seconds[at]])),
                    marker={"symbol": "star", "size": 12, "color": "#000000"},
                )  # fmt: skip
    for line in section.lines:
        for group in line.groups():
            _mean_over_seeds(figure, section, group.records, quantity)
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
    shared: dict[str, Any] = {"customdata": short(seconds.mean(0)), "showlegend": False}
    figure.line(epochs, mean - deviation, colour, width=0, **shared)
    figure.line(epochs, mean + deviation, colour, width=0, fill="tonexty", fillcolor=faint(colour), **shared)
    figure.line(epochs, mean, colour, f"mean of {repeats(records)}", width=3.5, **shared)


def inside_epochs(section: Section) -> list[Record]:
    """The runs whose loss was kept inside epochs."""
    return [record for record in section.records if record.curve_inside("loss")[2]]


def learning_curves(section: Section) -> list[Drawing]:
    """A chart of each quantity that changes in training."""
    found = ((one, learning_curve(section, one)) for one in columns.curves(section))
    return [
        Drawing(f"curve-{one.name}", chart, f"{one.heading} by epoch of each run")
        for one, chart in found
        if chart
    ]


def code_sizes(section: Section) -> list[Drawing]:
    """A chart of each measure of images over the size of the code."""
    label = "{} over the values of the code; the table below has the numbers"
    return [
        Drawing(f"code-size-{one.name}", by_code_size(section, one), label.format(one.heading))
        for one in columns.image_quantities(section.records)
    ]


def by_code_size(section: Section, quantity: Quantity) -> Chart:
    """A metric over the size of the code, one line for each model of several sizes."""
    title = "values of the code; below, how many times as many an image has"
    figure = Chart(title, quantity.heading, type="log")
    sizes: set[float] = set()
    for number, line in enumerate(series.by_code_size(section)):
        x, y = line.curve(quantity.name)
        sizes.update(x)
        if y:
            figure.line(
                x, y, BESIDE[number % len(BESIDE)], line.label, "<br>%{x} values: %{y}", mode="lines+markers",
                dash=DASHES[number % len(DASHES)], showlegend=True,
                marker={"size": 9, "symbol": SYMBOLS[number % len(SYMBOLS)]},
            )  # fmt: skip
    ticks = sorted(sizes)
    values = image_values(section)
    texts = [f"{t:,.0f}" + (f"<br>{values / t:.3g}:1" if values else "") for t in ticks]
    figure.layout["xaxis"] |= {"tickvals": ticks, "ticktext": texts}
    return figure


def training_curve(record: Record, column: str) -> tuple[list[float], list[float], list[float]]:
    """Epochs, seconds and values on the training split, inside epochs too where log_every kept more rows there."""
    whole, inside = record.curve(column, "train"), record.curve_inside(column)
    if len(inside[2]) <= len(whole[2]):
        return whole
    every = -(-len(inside[2]) // MOST_POINTS)
    x, seconds, values = (part[::every] for part in inside)
    return x, seconds, values
