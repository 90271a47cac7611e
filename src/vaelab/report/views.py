"""Charts of the views of any evaluation that are no rows of images: bars of all runs, a grid of each."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from vaelab.report.chart import SCALE, Chart, colours, dashes, short, text
from vaelab.report.record import Record
from vaelab.report.records import Section
from vaelab.report.topics import Drawing
from vaelab.views import Bars, Grid, Rows

MOST_BARS = 512  # of one run
MOST_GRIDS = 8  # runs with a grid of their own
MOST_SIDE = 128  # rows or columns of a grid


def drawings(section: Section) -> Iterator[Drawing]:
    """A chart of each view, or of each run's."""
    declared = dict.fromkeys(
        (name, view) for record in section.records for name, views in record.views.items() for view in views
    )
    counts = Counter[str]()
    for name, view in declared:
        identity = f"view-{name}-{counts[name]}"
        counts[name] += not isinstance(view, Rows)
        if isinstance(view, Bars):
            yield Drawing(identity, _bars(section, name, view), view.title, view.title)
        if isinstance(view, Grid):
            for number, (record, values) in enumerate(_grids(section, name, view)):
                title = f"{view.title}: {section.labels[record.name]}"
                yield Drawing(f"{identity}-{number}", _grid(view, values), title, title)


def _bars(section: Section, name: str, view: Bars) -> Chart:
    """Lines where there are several runs: bars of many would hide each other."""
    chart = Chart(text(view.x), text(view.unit or view.title))
    shade, dash = colours(section), dashes(section)
    runs = [record for record in section.records if view in record.views.get(name, ())]
    found = [(r, v[:MOST_BARS]) for r in runs for v in r.arrays(name, **{view.values: "n"}).values()]
    for record, values in found:
        x, label = range(1, 1 + len(values)), section.labels[record.name]
        if len(found) > 1:
            chart.line(
                x, values, shade[record.name], label, ": %{y}", mode="lines+markers", dash=dash[record.name],
                meta=record.name,
            )  # fmt: skip
        else:
            chart.bars([str(n) for n in x], values, shade[record.name], label, ": %{y}", meta=record.name)
    return chart


def _grids(section: Section, name: str, view: Grid) -> Iterator[tuple[Record, np.ndarray]]:
    shown = 0
    for record in (r for r in section.records if view in r.views.get(name, ())):
        values = record.arrays(name, **{view.values: "rc"}).get(view.values)
        if values is not None and max(values.shape) <= MOST_SIDE and shown < MOST_GRIDS:
            shown += 1
            yield record, values.astype(np.float64)


def _grid(view: Grid, values: np.ndarray) -> Chart:
    chart = Chart(text(view.x), text(view.y))
    bar = {"title": {"text": text(view.unit)}, "thickness": 14}
    chart.draw(
        "heatmap",
        z=short(values),
        colorscale=SCALE,
        colorbar=bar,
        hovertemplate="%{y}, %{x}: %{z}<extra></extra>",
    )
    chart.layout["yaxis"]["autorange"] = "reversed"
    return chart
