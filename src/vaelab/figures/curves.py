"""Figures of lines: quantities over epochs, steps, sizes, and rate against distortion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from vaelab.figures.canvas import (
    GLYPH,
    WIDTH,
    Array,
    blank,
    breadth,
    logarithmic,
    marker,
    open_axes,
    panel,
    shorten,
)
from vaelab.figures.style import BLUE, COLOURS, GRAY, MARKERS, SKY, SMALL, TEXT, drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curves = Mapping[str, tuple[Array, Array]]  # split -> (epoch, value)
Points = tuple[Array, Array, Array]  # weight, rate and distortion, each (N,)
STYLE: dict[str, dict[str, Any]] = {
    "steps": {"color": GRAY, "linestyle": "-", "alpha": 0.5},
    "train": {"color": SKY, "linestyle": "--"},
    "val": {"color": BLUE, "linestyle": "-"},
}
SPIKE = 10  # times the median, from which a curve needs a logarithmic axis
LEGEND_TEXT = 48  # characters of a run's name


@drawn
def learning_curve(panels: Mapping[str, Curves], title: str) -> Figure:
    """One panel for each quantity (axis label -> curves), one line for each split, over a shared epoch axis."""
    from matplotlib.ticker import MaxNLocator

    count = max(1, len(panels))
    columns = 2 if count == 4 else count
    figure = blank(WIDTH if count > 1 else WIDTH * 0.6, 4.6 if count == 4 else 2.8, title)
    axes = figure.subplots(-(-count // columns), columns, sharex=True, squeeze=False).flat
    for ax, (label, curves) in zip(axes, panels.items(), strict=False):
        for split, (epoch, value) in curves.items():
            if not len(epoch):  # reconstructions are measured on held-out images alone
                continue
            wide = 0.8 if split == "steps" else 1.6
            ax.plot(epoch, value, label=split, linewidth=wide, **marker(len(epoch)), **STYLE[split])
        panel(ax, "epoch", label)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
        ax.ticklabel_format(axis="y", useOffset=False, scilimits=(-3, 5))
        if curves:
            ax.legend(fontsize=SMALL, frameon=False)
    return figure


@drawn
def rate_distortion(
    lines: Mapping[str, Points], flat: Mapping[str, float], symbol: str, title: str
) -> Figure:
    """Rate against distortion in nats: each line's points (weight, rate, distortion), and models without a rate."""
    figure = blank(WIDTH * 0.8, 3.8, title)
    ax = figure.subplots()
    several = any(len(np.unique(weight)) > 1 for weight, _, _ in lines.values())
    handles = []  # given to the legend, which leaves out names that begin with _ where it looks for them itself
    for place, (label, (weight, rate, distortion)) in enumerate(lines.items()):
        colour, mark = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
        handles += ax.plot(
            rate,
            distortion,
            label=shorten(label, LEGEND_TEXT),
            markersize=5,
            linewidth=1.2,
            color=colour,
            marker=mark,
        )
        for w in np.unique(weight[np.isfinite(weight)]) if several else ():  # the legend names the others
            first = np.flatnonzero(weight == w)[0]  # of its seeds
            at = (rate[first], distortion[first])
            ax.annotate(f"{w:.3g}", at, (4, 4), textcoords="offset points", fontsize=SMALL)
    for place, (label, height) in enumerate(flat.items()):
        dashes, name = ("--", ":", "-.")[place % 3], f"{shorten(label, LEGEND_TEXT)} (no rate)"
        handles.append(ax.axhline(height, label=name, color=GRAY, linestyle=dashes, linewidth=1.2))
    named = f"; each point is named by its {symbol}" if several else ""
    ax.set_xlabel(f"rate: KL (nats per image){named}", fontsize=TEXT)
    ax.set_ylabel("distortion: −log p(x|z)\n(nats per image)", fontsize=TEXT)
    ax.margins(0.08)
    ax.tick_params(labelsize=SMALL)
    open_axes(ax)
    ax.legend(handles=handles, fontsize=SMALL, frameon=False)
    return figure


@drawn
def run_curves(panels: Mapping[str, Mapping[str, tuple[Array, Array]]], title: str) -> Figure:
    """One panel for each quantity (axis label -> run -> (epoch, value)), one line for each run in the same colour."""
    from matplotlib import colormaps
    from matplotlib.lines import Line2D

    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    shades = dict(zip(names, colormaps["viridis"](np.linspace(0, 0.85, len(names))), strict=True))
    rows = -(-len(panels) // 2)
    short = {name: shorten(name, LEGEND_TEXT) for name in names}
    longest = max(map(breadth, short.values()), default=1)
    columns = max(1, min(len(names), int(WIDTH * 72 / (longest * SMALL * GLYPH + 4 * SMALL))))
    figure = blank(WIDTH, 2.2 * rows + 0.25 * -(-len(names) // columns), title)
    axes = iter(figure.subplots(rows, min(2, len(panels)), squeeze=False).flat)
    for label, curves in panels.items():
        ax = next(axes)
        for name, (epoch, value) in curves.items():
            ax.plot(epoch, value, color=shades[name], linewidth=1.3, **marker(len(epoch)))
        panel(ax, "epoch", label)
        values = np.concatenate([value for _, value in curves.values()])
        if values.min() > 0 and values.max() > SPIKE * np.median(values):  # which would press all else flat
            logarithmic(ax.yaxis)
    for ax in axes:  # those that are left
        ax.axis("off")
    handles = [Line2D([], [], color=shades[name], label=short[name]) for name in names]
    figure.legend(handles=handles, fontsize=SMALL, frameon=False, loc="outside lower center", ncols=columns)
    return figure


@drawn
def along_sizes(
    panels: Mapping[str, Mapping[str, tuple[Array, Array]]], image_values: float, title: str
) -> Figure:
    """One panel for each quantity (axis label -> line -> (size, value)), over a logarithmic axis of code sizes.

    Below each size stands by how much it compresses an image of so many values (0: not known).
    """
    figure = blank(WIDTH, 2.8, title)
    axes = figure.subplots(1, len(panels), squeeze=False).flat
    sizes = sorted({float(x) for lines in panels.values() for size, _ in lines.values() for x in size})
    for ax, (label, lines) in zip(axes, panels.items(), strict=True):
        for place, (size, value) in enumerate(lines.values()):
            mark, colour = MARKERS[place % len(MARKERS)], COLOURS[place % len(COLOURS)]
            ax.plot(size, value, color=colour, marker=mark, markersize=4)
        ax.set_xscale("log")
        ratios = [f"\n{image_values / size:.3g}:1" if image_values else "" for size in sizes]
        ticks = [f"{size:,.0f}{ratio}" for size, ratio in zip(sizes, ratios, strict=True)]
        ax.set_xticks(sizes, ticks, fontsize=SMALL)
        ax.set_xticks([], minor=True)
        panel(ax, "values of the code; below, the compression", label)
    names = [shorten(name, LEGEND_TEXT) for name in next(iter(panels.values()))]
    figure.legend(
        figure.axes[0].get_lines(), names, fontsize=SMALL, frameon=False, loc="outside lower center", ncols=2
    )
    return figure


@drawn
def game_curves(panels: Mapping[str, Mapping[str, tuple[Array, Array]]], title: str) -> Figure:
    """One panel for each quantity (axis label -> line -> (step, value)), over a shared axis of steps."""
    figure = blank(WIDTH, 2.4 * -(-len(panels) // 2), title)
    axes = figure.subplots(-(-len(panels) // 2), min(2, len(panels)), sharex=True, squeeze=False).flat
    for ax, (label, lines) in zip(axes, panels.items(), strict=False):
        for colour, (name, (step, value)) in zip(COLOURS, lines.items(), strict=False):
            ax.plot(step, value, label=name, color=colour, linewidth=1.2, **marker(len(step)))
        if "accuracy" in label:
            ax.set_ylim(-0.03, 1.03)
        panel(ax, "step", label)
        ax.legend(fontsize=SMALL, frameon=False)
    return figure
