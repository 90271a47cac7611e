"""A chart as Plotly reads it, and what charts share: colours, axes, texts, short numbers."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from plotly.colors import sample_colorscale

from vaelab.report.records import Section

# Dark to light orders λ for every eye, also in gray; its ends would not be seen on a dark page and on paper.
SCALE, DARKEST, PALEST = "Viridis", 0.25, 0.88
WITHOUT_KL = "#8a8a8a"
# Of GANs and of models along a setting: seen on dark and on light, and on no place of the scale.
BESIDE = ("#d55e00", "#c0569b", "#a87b00", "#7b6fd0")
INSTEAD = (*BESIDE, "#2a8fbd", "#2f9e6e", "#6b8e00", "#b5493a")  # where the scale is not used
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star")


class Chart:
    """What Plotly draws, as it reads it: plain lists and dictionaries, for its Python objects take seconds to check.

    A chart without traces is false.
    """

    def __init__(self, x: str, y: str, **x_axis: Any) -> None:
        """The titles of its axes, and what else Plotly reads of the horizontal one."""
        self.traces: list[dict[str, Any]] = []
        self.layout: dict[str, Any] = {
            "margin": {"l": 60, "r": 12, "t": 12, "b": 48},
            "xaxis": {"title": {"text": x}, "automargin": True, "zeroline": False, **x_axis},
            "yaxis": {"title": {"text": y}, "automargin": True, "zeroline": False},
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "font": {"size": 11}},
            "hoverlabel": {"align": "left"},
        }

    def __bool__(self) -> bool:
        return bool(self.traces)

    def draw(self, kind: str, **properties: Any) -> None:
        """Adds a trace."""
        self.traces.append({"type": kind, **{k: v for k, v in properties.items() if v is not None}})

    def line(
        self, x: Any, y: Any, colour: str, name: str = "", hover: str | None = None, *,
        mode: str = "lines", width: float = 2.0, dash: str = "solid", **properties: Any,
    ) -> None:  # fmt: skip
        """Adds a line or markers (x, y); `hover` is what is said after the name where one points at it."""
        said = (
            {"hoverinfo": "skip"}
            if hover is None
            else {"hovertemplate": f"{text(name)}{hover}<extra></extra>"}
        )
        drawn = {"mode": mode, "line": {"color": colour, "width": width, "dash": dash}, "name": text(name)}
        numbers = {"x": short(np.asarray(x, float), 6), "y": short(np.asarray(y, float), 6)}
        self.draw("scatter", **numbers, **{**drawn, **said, **properties})

    def bars(
        self, labels: Sequence[str], values: Any, colour: Any, name: str, hover: str, **properties: Any
    ) -> None:
        """Adds a bar for each label; its hover text follows the label."""
        said = {"name": text(name), "hovertemplate": f"%{{x}}{hover}<extra></extra>"}
        numbers = {"x": [text(label) for label in labels], "y": short(np.asarray(values, float))}
        self.draw("bar", **numbers, marker={"color": colour}, **said, **properties)

    def as_json(self) -> dict[str, Any]:
        """The figure as the page's script takes it."""
        return {"data": self.traces, "layout": self.layout}


def colours(section: Section) -> dict[str, str]:
    """A colour for each run: its λ on a scale from dark to light, or that of its line; gray for the first autoencoder.

    The scale is not used where several lines have one λ each.
    """
    with_kl = [line for line in section.lines if line.has_kl]
    on_scale = len(with_kl) == 1 or section.has_several_weights
    weights = sorted({w for r in section.records if (w := section.weight(r)) is not None})
    places = np.linspace(DARKEST, PALEST, max(2, len(weights)))
    scale = dict(zip(weights, sample_colorscale(SCALE, list(places)), strict=False))
    autoencoders = [line for line in section.lines if line.kind == "AE"]
    own = [line for line in section.lines if not line.has_kl and line not in autoencoders[:1]]
    own += [] if on_scale else with_kl
    palette = BESIDE if on_scale else INSTEAD
    of_line = {r.name: palette[i % len(palette)] for i, line in enumerate(own) for r in line.records}
    by_weight = {
        r.name: WITHOUT_KL if (weight := section.weight(r)) is None else scale[weight]
        for r in section.records
    }
    return by_weight | of_line


def faint(colour: str) -> str:
    """The colour of colours() for a band, through which others are seen."""
    if colour.startswith("rgb("):
        return f"rgba({colour.removeprefix('rgb(').removesuffix(')')}, 0.18)"
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.18)"


def dashes(section: Section) -> dict[str, str]:
    """For each run the dash of its line."""
    return {
        r.name: DASHES[place % len(DASHES)] for place, line in enumerate(section.lines) for r in line.records
    }


def text(label: str) -> str:
    """A label as plotly shows it unchanged, for it reads some HTML in texts."""
    return label.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("%{", "% {")


def short(values: np.ndarray, digits: int = 4) -> list[Any]:
    """Numbers of a few digits, for a page's size; what is not finite is left out."""
    if values.ndim > 1:
        return [short(row, digits) for row in values]
    return [float(f"{v:.{digits}g}") if math.isfinite(v) else None for v in values.tolist()]
