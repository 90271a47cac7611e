"""What figures share: an empty page, grids of images, axes and their labels."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width

import numpy as np

from vaelab.figures.style import SMALL, TEXT, TITLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import XAxis, YAxis
    from matplotlib.figure import Figure

Array = np.ndarray
WIDTH = 7.0  # inches
GLYPH = 0.55  # a character's mean width in units of the font size
TITLE_LINES = 6


def blank(width: float, height: float, title: str) -> Figure:
    """An empty figure with the Agg canvas; matplotlib is imported only once something is drawn."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Lines break only after a dot, not between a name and its value.
    whole = title.replace(" ", "\xa0").replace("·\xa0", "· ")
    fit = int(width * 72 / (TITLE * GLYPH) * len(whole) / breadth(whole)) if whole else 1
    wrapped = textwrap.wrap(whole, fit, max_lines=TITLE_LINES, placeholder="…")
    lines = [line.replace("\xa0", " ") for line in wrapped]
    figure = Figure(figsize=(width, height + 0.17 * len(lines)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle("\n".join(lines), fontsize=TITLE)
    return figure


def image_figure(
    grids: Sequence[Array],
    title: str,
    *,
    wide_rows: Sequence[int] = (),
    wide_columns: Sequence[int] = (),
    beside: float = 0.0,
    around: float = 0.1,
) -> tuple[Figure, list[Axes]]:
    """A figure as high as its grids (rows, columns, H, W, C) need at the common width.

    `beside` and `around` are the inches that labels take from the width and add to the height.
    """
    shapes = [mosaic(grid, wide_rows, wide_columns)[0].shape for grid in grids]
    width = (WIDTH - beside - 0.1) / len(grids)
    height = max(width * shape[0] / shape[1] for shape in shapes)
    shrink = min(1.0, 8.0 / height)
    figure = blank(WIDTH - (1 - shrink) * width * len(grids), height * shrink + around, title)
    return figure, list(figure.subplots(1, len(grids), squeeze=False)[0])


def draw_grid(
    ax: Axes, grid: Array, wide_rows: Sequence[int] = (), wide_columns: Sequence[int] = ()
) -> tuple[Array, Array]:
    """Draws images (rows, columns, H, W, C) as one; gives the centres of the rows and columns."""
    picture, rows, columns = mosaic(grid, wide_rows, wide_columns)
    # Nearest keeps pixels crisp but drops whole rows of pictures that have more of them than the figure.
    crisp = "nearest" if max(picture.shape[:2]) < 1200 else "auto"
    pixels = picture[..., 0] if picture.shape[-1] == 1 else picture
    ax.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation=crisp)  # colour ignores map and limits
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return rows, columns


def mosaic(
    grid: Array, wide_rows: Sequence[int] = (), wide_columns: Sequence[int] = ()
) -> tuple[Array, Array, Array]:
    """One picture of images (rows, columns, H, W, C) on white, with wider gaps before the rows and columns named."""
    rows, columns, height, width, channels = grid.shape
    gap = max(1, round(max(height, width) / 16))
    tops, total_height = offsets(rows, height, gap, wide_rows)
    lefts, total_width = offsets(columns, width, gap, wide_columns)
    picture = np.ones((total_height, total_width, channels), np.float32)
    scale = 255 if grid.dtype == np.uint8 else 1
    for top, row in zip(tops, grid, strict=True):
        for left, image in zip(lefts, row, strict=True):
            picture[top : top + height, left : left + width] = image / np.float32(scale)
    return picture.clip(0, 1), tops + (height - 1) / 2, lefts + (width - 1) / 2


def offsets(count: int, size: int, gap: int, wide: Sequence[int]) -> tuple[Array, int]:
    """Where each of the images begins along one axis, and where the last ends."""
    extra = np.isin(np.arange(count), wide).cumsum() * 3 * gap
    offsets = np.arange(count) * (size + gap) + extra
    return offsets, int(offsets[-1]) + size


def in_rows(images: Array, columns: int) -> Array:
    """Images (N, H, W, C) as (rows, columns, H, W, C), filled up with white."""
    columns = max(1, min(columns, len(images)))
    white = 255 if images.dtype == np.uint8 else 1
    missing = -len(images) % columns
    filled = np.concatenate((images, np.full((missing, *images.shape[1:]), white, images.dtype)))
    return filled.reshape(-1, columns, *images.shape[1:])


def label_rows(ax: Axes, centres: Array, labels: Sequence[str]) -> None:
    ax.set_yticks(centres, labels, fontsize=SMALL)
    ax.tick_params(axis="y", length=0)


def label_columns(ax: Axes, centres: Array, labels: Sequence[str]) -> None:
    ax.set_xticks(centres, labels, fontsize=SMALL)
    ax.tick_params(axis="x", length=0)


def every(step: int, count: int) -> range:
    return range(step, count, step)


def marker(points: int) -> dict[str, Any]:
    """A single epoch has no line, so it gets a point."""
    return {"marker": "o", "markersize": 4} if points < 2 else {}


def panel(ax: Axes, across: str, upward: str) -> None:
    """Names the axes of a panel of curves; panels that share an axis all keep its numbers."""
    ax.set_xlabel(across, fontsize=TEXT)
    ax.set_ylabel(upward, fontsize=TEXT)
    ax.tick_params(labelsize=SMALL, which="both", labelbottom=True)
    open_axes(ax)


def open_axes(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)


def shorten(name: str, length: int) -> str:
    """A name in one line of at most so many characters of the mean width."""
    name = " ".join(name.split())
    if breadth(name) <= length:
        return name
    name = name[:length]
    while len(name) > 1 and breadth(name) > length - 1:
        name = name[:-1]
    return name + "…"


def breadth(text: str) -> float:
    """The width of a text in characters of the mean width; those of East Asia are as wide as high."""
    return sum(1 / GLYPH if east_asian_width(c) in "WF" else 1.0 for c in text)


def logarithmic(axis: XAxis | YAxis) -> None:
    """Makes an axis logarithmic, with numbers that are no mathematics."""
    from matplotlib.ticker import LogFormatter

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_formatter(LogFormatter())
    axis.set_minor_formatter(LogFormatter())


def signed(value: float) -> str:
    return f"{value:+.2g}".replace("-", "−") if value else "0"
