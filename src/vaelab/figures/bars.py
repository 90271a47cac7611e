"""Figures of bars: the parts of a whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vaelab.figures.canvas import WIDTH, blank, open_axes
from vaelab.figures.style import COLOURS, SMALL, TEXT, drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@drawn
def stacked_bar(parts: Mapping[str, float], errors: Sequence[float], label: str, title: str) -> Figure:
    """Parts of a whole in one bar, each with its error in the legend; what is below 0 takes no room."""
    figure = blank(WIDTH, 1.6, title)
    ax = figure.subplots()
    left = 0.0
    for colour, (name, value), error in zip(COLOURS, parts.items(), errors, strict=False):
        width = max(0.0, float(np.nan_to_num(value)))
        ax.barh(0, width, left=left, height=0.6, color=colour, label=f"{name}: {value:.2f} ± {error:.2g}")
        left += width
    ax.set_xlim(0, max(left * 1.02, 1e-3))
    ax.set_yticks([])
    ax.set_xlabel(label, fontsize=TEXT)
    ax.tick_params(axis="x", labelsize=SMALL)
    open_axes(ax)
    figure.legend(fontsize=SMALL, frameon=False, loc="outside lower center", ncols=len(parts))
    return figure
