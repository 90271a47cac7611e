"""Figures of lines: quantities over epochs and steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vaelab.figures.canvas import WIDTH, Array, blank, marker, panel
from vaelab.figures.style import BLUE, COLOURS, GRAY, SKY, SMALL, drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curves = Mapping[str, tuple[Array, Array]]  # split -> (epoch, value)
STYLE: dict[str, dict[str, Any]] = {
    "steps": {"color": GRAY, "linestyle": "-", "alpha": 0.5},
    "train": {"color": SKY, "linestyle": "--"},
    "val": {"color": BLUE, "linestyle": "-"},
}


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
