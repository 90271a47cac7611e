"""Charts of the views of any evaluation that are no rows of images: bars of all runs, a grid of each."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from vaelab.report.chart import SCALE, Chart, axes, colours, dashes, short, text
from vaelab.report.record import Record
from vaelab.report.records import Section
from vaelab.views import Bars, Grid, Rows

MOST_BARS = 512  # of one run
MOST_GRIDS = 8  # runs with a grid of their own
MOST_SIDE = 128  # rows or columns of a grid


def charts(section: Section) -> Iterator[tuple[str, str, Chart]]:
    """The name, the title and the chart of each view that some run has arrays for."""
    declared = dict.fromkeys(
        (name, view) for record in section.records for name, views in record.views.items() for view in views
    )
    counts = Counter[str]()
    for name, view in declared:
        identity = f"view-{name}-{counts[name]}"
        counts[name] += not isinstance(view, Rows)
        if isinstance(view, Bars) and (chart := _bars(section, name, view)):
            yield identity, view.title, chart
        if isinstance(view, Grid):
            for number, (record, values) in enumerate(_grids(section, name, view)):
                title = f"{view.title}: {section.labels[record.name]}"
                yield f"{identity}-{number}", title, _grid(view, values)


def _bars(section: Section, name: str, view: Bars) -> Chart | None:
    """Lines where there are several runs: bars of many would hide each other."""
    chart = Chart()
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
    if not chart.traces:
        return None
    axes(chart, text(view.x), text(view.unit or view.title))
    return chart


def _grids(section: Section, name: str, view: Grid) -> Iterator[tuple[Record, np.ndarray]]:
    shown = 0
    for record in (r for r in section.records if view in r.views.get(name, ())):
        values = record.arrays(name, **{view.values: "rc"}).get(view.values)
        if values is not None and max(values.shape) <= MOST_SIDE and shown < MOST_GRIDS:
            shown += 1
            yield record, values.astype(np.float64)


def _grid(view: Grid, values: np.ndarray) -> Chart:
    chart = Chart()
    bar = {"title": {"text": text(view.unit)}, "thickness": 14}
    chart.draw(
        "heatmap",
        z=short(values),
        colorscale=SCALE,
        colorbar=bar,
        hovertemplate="%{y}, %{x}: %{z}<extra></extra>",
    )
    axes(chart, text(view.x), text(view.y))
    chart.layout["yaxis"]["autorange"] = "reversed"
    return chart
