"""Charts as Plotly reads them, drawn on paper: lines, markers, bars and heat maps in panels."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vaelab.canvas import SMALL, TEXT, WIDTH, blank, drawn, logarithmic
from vaelab.fonts import GLYPH, breadth, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Trace = Mapping[str, Any]
Chart = Mapping[str, Any]  # data: traces; layout: axes and legend
DASHES = {
    "dash": "--",
    "dot": ":",
    "dashdot": "-.",
    "longdash": (0, (8, 3)),
    "longdashdot": (0, (8, 3, 1, 3)),
}
SYMBOLS = {"square": "s", "diamond": "D", "triangle-up": "^", "cross": "P", "x": "X", "star": "*"}
LEGEND_TEXT = 48  # characters of a name
PANEL_TEXT = 40  # characters of a line above a panel
NEAR = 6.0  # names along an axis, from which they are turned
SPIKE = 10  # times the median, from which curves need a logarithmic axis


@drawn
def charts(panels: Sequence[tuple[str, Chart]], title: str) -> Figure:
    """Charts (name, {data, layout}) side by side, with one legend for the names that all of them have."""
    columns = min(2, len(panels))
    rows = -(-len(panels) // 2)
    named = {name: trace for _, chart in panels for name, trace in _named(chart)}
    names = [shorten(name, LEGEND_TEXT) for name in named]
    widest = max(map(breadth, names), default=1) * SMALL * GLYPH + 5 * SMALL
    across = max(1, min(len(names), int(WIDTH * 72 / widest)))
    width, height = (WIDTH, 2.5) if columns > 1 else (WIDTH * 0.8, 3.4)
    figure = blank(width, height * rows + 0.18 * -(-len(names) // across), title)
    axes = iter(figure.subplots(rows, columns, squeeze=False).flat)
    for name, chart in panels:
        _panel(next(axes), name, chart)
    for ax in axes:  # those that are left
        ax.axis("off")
    if names:
        figure.legend(
            handles=[_handle(trace) for trace in named.values()], labels=names, ncols=across,
            fontsize=SMALL, frameon=False, loc="outside lower center",
        )  # fmt: skip
    return figure


def _named(chart: Chart) -> Iterable[tuple[str, Trace]]:
    """What a legend names: traces that say so, and one of each group, which the page names elsewhere."""
    shown = chart["layout"].get("showlegend", len(chart["data"]) > 1)
    for trace in chart["data"]:
        if name := trace.get("legendgroup") or (
            shown and trace.get("showlegend", True) and trace.get("name")
        ):
            yield _text(name), trace


def _handle(trace: Trace) -> Any:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    if trace["type"] == "bar":
        return Patch(color=_colour(trace["marker"]["color"]))
    return Line2D([], [], **_style(trace))


def _panel(ax: Axes, name: str, chart: Chart) -> None:
    layout = chart["layout"]
    bottom: dict[Any, float] = {}
    for trace in chart["data"]:
        if trace["type"] == "heatmap":
            _heat_map(ax, trace)
        elif trace["type"] == "bar":
            _bars(ax, trace, bottom if layout.get("barmode") == "stack" else {})
        else:
            _scatter(ax, trace)
    for letter, axis in (("x", ax.xaxis), ("y", ax.yaxis)):
        told = layout[f"{letter}axis"]
        axis.set_label_text(_text(told["title"]["text"]), fontsize=TEXT)
        if told.get("type") == "log":
            logarithmic(axis)
        if "tickvals" in told:
            axis.set_ticks(told["tickvals"], [_text(one) for one in told["ticktext"]])
            axis.set_ticks([], minor=True)
    _spikes(ax, chart)
    ax.tick_params(labelsize=SMALL, which="both")
    names = [tick.get_text() for tick in ax.get_xticklabels()] if _is_named(layout) else []
    if len(names) > NEAR or sum(map(breadth, names)) > PANEL_TEXT:
        ax.set_xticks(ax.get_xticks(), [shorten(one, 32) for one in names], rotation=35, ha="right")
    if name:
        ax.set_title(textwrap.fill(_text(name), PANEL_TEXT), fontsize=TEXT)
    ax.spines[["top", "right"]].set_visible(False)


def _is_named(layout: Mapping[str, Any]) -> bool:
    return layout["xaxis"].get("type") == "category"


def _spikes(ax: Axes, chart: Chart) -> None:
    """A logarithmic axis for curves with one value that would press all else flat."""
    curves = [t for t in chart["data"] if "legendgroup" in t]
    values = np.concatenate([_numbers(trace["y"]) for trace in curves]) if curves else np.empty(0)
    values = values[np.isfinite(values)]
    if len(values) and values.min() > 0 and values.max() > SPIKE * np.median(values):
        logarithmic(ax.yaxis)


def _scatter(ax: Axes, trace: Trace) -> None:
    x, y = _numbers(trace["x"]), _numbers(trace["y"])
    if trace.get("fill") == "tonexty" and ax.lines:
        before = np.asarray(ax.lines[-1].get_ydata(), float)
        ax.fill_between(x, before, y, color=_colour(trace["fillcolor"]), linewidth=0)
    ax.plot(x, y, **_style(trace))
    if "error_y" in trace:
        spread = {"xerr": trace["error_x"]["array"], "yerr": trace["error_y"]["array"]}
        ax.errorbar(x, y, fmt="none", ecolor=_colour(trace["line"]["color"]), elinewidth=0.8, **spread)
    if "text" in trace["mode"]:
        for place, words in zip(zip(x, y, strict=True), trace["text"], strict=True):
            ax.annotate(
                shorten(_text(words), LEGEND_TEXT // 2), place, (4, 4), textcoords="offset points",
                fontsize=SMALL, annotation_clip=True,
            )  # fmt: skip


def _style(trace: Trace) -> dict[str, Any]:
    line, marker, mode = trace.get("line", {}), trace.get("marker", {}), trace["mode"]
    colour = _colour(line.get("color") or marker.get("color") or "#000000")
    style = {"color": colour, "linewidth": 0.8 * line.get("width", 1.8)}
    style["linestyle"] = DASHES.get(line.get("dash", ""), "-") if "lines" in mode else "none"
    if "markers" in mode:
        style |= {
            "marker": SYMBOLS.get(marker.get("symbol", ""), "o"),
            "markersize": marker.get("size", 6) / 2,
        }
    return style


def _bars(ax: Axes, trace: Trace, bottom: dict[Any, float]) -> None:
    x, y = trace["x"], np.nan_to_num(_numbers(trace["y"]))
    colour = trace["marker"]["color"]
    names = [shorten(_text(one), LEGEND_TEXT) for one in x] if isinstance(x[0], str) else x
    below = [bottom.get(one, 0.0) for one in x]
    bars = ax.bar(
        names, y, bottom=below, color=_colour(colour) if isinstance(colour, str) else [*map(_colour, colour)]
    )
    bottom.update({one: low + high for one, low, high in zip(x, below, y, strict=True)})
    if "text" in trace:
        ax.bar_label(bars, trace["text"], fontsize=SMALL)


def _heat_map(ax: Axes, trace: Trace) -> None:
    z = np.array([_numbers(row) for row in trace["z"]])
    image = ax.imshow(
        z, aspect="auto", cmap=trace["colorscale"].lower(), interpolation="nearest", vmin=trace.get("zmin")
    )
    if "x" in trace:
        ax.set_xticks(range(z.shape[1]), [shorten(_text(one), LEGEND_TEXT) for one in trace["x"]])
    told = trace["colorbar"]
    bar = ax.figure.colorbar(image, ax=ax, label=_text(told["title"]["text"]))
    if "tickvals" in told:
        bar.set_ticks(told["tickvals"], labels=told["ticktext"])
    bar.ax.tick_params(labelsize=SMALL)


def _numbers(values: Iterable[Any]) -> np.ndarray:
    return np.array([math.nan if value is None else value for value in values], float)


def _text(text: str) -> str:
    """Plotly's text without its HTML."""
    return html.unescape(text.replace("<br>", "\n"))


def _colour(text: str) -> Any:
    if not text.startswith("rgb"):
        return text
    red, green, blue, *alpha = (float(part) for part in text.partition("(")[2].rstrip(")").split(","))
    return (red / 255, green / 255, blue / 255, *alpha)
