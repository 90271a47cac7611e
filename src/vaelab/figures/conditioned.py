"""The figure of what one network that is told λ does along λ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from vaelab.figures.canvas import WIDTH, Array, blank, logarithmic, panel
from vaelab.figures.style import BLUE, SMALL, drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALONG = {"negative_elbo": "−ELBO (nats per image)", "psnr": "PSNR (dB)", "active_units": "active units"}


@drawn
def conditioned(arrays: Mapping[str, Array], title: str) -> Figure:
    """Rate against distortion, and −ELBO, PSNR and active units over λ: arrays (L,), by names."""
    figure = blank(WIDTH, 4.6, title)
    plane, *others = figure.subplots(2, 2).flat
    weights = arrays["kl_weight"]
    plane.plot(arrays["rate"], arrays["distortion"], color=BLUE, linewidth=1.2, marker="o", markersize=3)
    for weight, *at in zip(weights, arrays["rate"], arrays["distortion"], strict=True):
        if np.isclose(np.log10(weight) % 1, 0):  # powers of ten, for the curve has many points
            plane.annotate(f"{weight:g}", at, (4, 4), textcoords="offset points", fontsize=SMALL)
    plane.margins(0.08)
    panel(plane, "rate (nats per image); powers of ten of λ are named", "distortion (nats per image)")
    for ax, (name, label) in zip(others, ALONG.items(), strict=True):
        ax.plot(weights, arrays[name], color=BLUE, linewidth=1.2, marker="o", markersize=3)
        logarithmic(ax.xaxis)
        panel(ax, "λ", label)
    return figure
