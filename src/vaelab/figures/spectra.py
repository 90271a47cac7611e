"""The figure of what a linear VAE makes of images for each λ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from vaelab.figures.canvas import WIDTH, Array, blank, logarithmic, panel
from vaelab.figures.style import BLUE, GRAY, SMALL, VERMILION, drawn

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

UNITS = 10  # whose collapse is shown


@drawn
def spectrum(arrays: Mapping[str, Array], title: str) -> Figure:
    """Rate against distortion with the given λ marked, and the KL of the first units over λ with their thresholds.

    Arrays as vaelab.spectrum.arrays gives them: (L,) of each given λ, curve_* (N,), curve_kl (N, units).
    """
    figure = blank(WIDTH, 3.0, title)
    plane, cascade = figure.subplots(1, 2)
    _draw_plane(plane, arrays)
    _draw_cascade(cascade, arrays)
    return figure


def _draw_plane(ax: Axes, arrays: Mapping[str, Array]) -> None:
    ax.plot(arrays["curve_rate"], arrays["curve_distortion"], color=BLUE, linewidth=1.2)
    for weight, rate, distortion in zip(
        arrays["kl_weight"], arrays["rate"], arrays["distortion"], strict=True
    ):
        if np.isfinite(rate):  # not so at λ = 0
            ax.plot(rate, distortion, color=VERMILION, marker="o", markersize=4)
            ax.annotate(f"{weight:g}", (rate, distortion), (4, 4), textcoords="offset points", fontsize=SMALL)
    ax.margins(0.08)
    panel(ax, "rate (nats per image); each point is named by its λ", "distortion (nats per image)")


def _draw_cascade(ax: Axes, arrays: Mapping[str, Array]) -> None:
    from matplotlib import colormaps

    kl = arrays["curve_kl"][:, :UNITS]
    shades = colormaps["viridis"](np.linspace(0, 0.85, kl.shape[1]))
    thresholds = arrays["eigenvalues"][:UNITS] / arrays["sigma"] ** 2
    for shade, one in zip(shades, kl.T, strict=True):
        ax.plot(arrays["curve_kl_weight"], one, color=shade, linewidth=1.2)
    for threshold in thresholds[thresholds > arrays["curve_kl_weight"][0]]:
        ax.axvline(threshold, color=GRAY, linewidth=0.6, linestyle=":")
    logarithmic(ax.xaxis)
    panel(ax, "λ; dotted: where a unit collapses", f"KL of the first {kl.shape[1]} units (nats)")
