"""What figures share: a page of image grids and panels, each of them data that any process draws, in one style."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec

import numpy as np

from vaelab import files
from vaelab.fonts import FONT, GLYPH, breadth, drawable, fallback, letters, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

Array = np.ndarray
# Of all rows or columns of a grid, or by place, also between two.
Names = Sequence[str] | Mapping[int, str] | Mapping[float, str]
# A method of Axes, and what it is called with: data, for a process that draws has no evaluation, nor torch.
Mark = tuple[str, tuple[Any, ...], dict[str, Any]]
Drawing = Callable[[], "Figure"]
Given = ParamSpec("Given")

# Okabe & Ito 2008, without the yellow that is too pale on white.
BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK, GRAY = "#E69F00", "#56B4E9", "#000000", "#999999"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
TITLE, TEXT, SMALL = 10.0, 8.5, 7.5  # points
WIDTH = 7.0  # inches
TITLE_LINES = 6


def mark(method: str, *given: Any, **style: Any) -> Mark:
    """What a panel shows: mark("plot", x, y, color=BLUE)."""
    return method, given, style


class Panel(NamedTuple):
    """Axes with their names and the marks inside, in their order; those with a label are named in a legend."""

    across: str
    upward: str
    marks: Sequence[Mark]
    title: str = ""
    log: bool = False  # across
    legend: Mapping[str, Any] = {}  # where it stands
    framed: bool = False  # on all four sides


class Images(NamedTuple):
    """A grid of images (rows, columns, H, W, C), names at its edges, and before which of them are wider gaps."""

    grid: Array
    rows: Names = ()
    columns: Names = ()
    title: str = ""
    across: str = ""
    upward: str = ""
    wide_rows: Sequence[int] = ()
    wide_columns: Sequence[int] = ()


Cell = Panel | Images


def drawn(draw: Callable[Given, Figure]) -> Callable[Given, Figure]:
    """Draws under matplotlib's defaults, with fonts that have the letters of every text given."""

    @wraps(draw)
    def draw_styled(*args: Given.args, **kwargs: Given.kwargs) -> Figure:
        with defaults() as settings:
            families, absent = fallback(letters((args, kwargs)))
            if absent:
                args, kwargs = drawable((args, kwargs), absent)
            settings["font.family"] = [FONT, *families]
            return draw(*args, **kwargs)

    return draw_styled


@contextmanager
def defaults() -> Iterator[Any]:
    """Puts the user's settings away: dark styles, TeX, images from below; gives those in force, without mathematics."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["text.parse_math"] = False
        yield matplotlib.rcParams


def save(figure: Figure, path: Path, dpi: int) -> None:
    """Writes a PNG whole or not at all."""
    with defaults(), files.whole(path) as part:
        figure.savefig(part, dpi=dpi, format="png")


@drawn
def panels(
    cells: Sequence[Cell], title: str, height: float, width: float = WIDTH, columns: int = 0, **layout: Any
) -> Figure:
    """Panels, and grids among them, in rows of so many, or in one; `layout` is what Figure.subplots takes besides."""
    columns = columns or len(cells)
    figure = blank(width, height, title)
    _fill(figure.subplots(-(-len(cells) // columns), columns, squeeze=False, **layout), cells)
    return figure


@drawn
def grids(cells: Sequence[Images], title: str, beside: float = 0.0, around: float = 0.1) -> Figure:
    """Grids side by side, as high as they need at the common width.

    `beside` and `around` are the inches that names take from the width and add to the height.
    """
    shapes = [mosaic(one)[0].shape for one in cells]
    width = (WIDTH - beside - 0.1) / len(cells)
    height = max(width * shape[0] / shape[1] for shape in shapes)
    shrink = min(1.0, 8.0 / height)
    figure = blank(WIDTH - (1 - shrink) * width * len(cells), height * shrink + around, title)
    if any(one.title for one in cells):
        figure.set_layout_engine("constrained", wspace=0.06)
    _fill(figure.subplots(1, len(cells), squeeze=False), cells)
    return figure


@drawn
def strips(rows: Sequence[Images], title: str, blocks: int = 1) -> Figure:
    """Grids of one row below each other, with room for names below each, in blocks side by side."""
    columns, high, wide, _ = rows[0].grid.shape[1:]
    height = -(-len(rows) // blocks)
    inches = (WIDTH / blocks - 0.2) / columns * high / wide + 0.2
    figure = blank(WIDTH, 0.2 + height * min(inches, 3.0), title)
    if blocks > 1:
        figure.set_layout_engine("constrained", wspace=0.06)
    _fill(figure.subplots(height, blocks, squeeze=False).T, rows)
    return figure


@drawn
def contact_sheet(images: Array, title: str, names: Sequence[str] = (), columns: int = 8) -> Figure:
    """Images (N, H, W, C), float in [0, 1] or uint8, in rows, with each one's name below it where there are names."""
    grid = in_rows(images, columns)
    if not names:
        return grids([Images(grid)], title)
    columns = grid.shape[1]
    room = int((WIDTH - 0.2) * 72 / columns / (SMALL * GLYPH)) - 1
    short = [shorten(name, room) for name in names]
    rows = [Images(row[None], columns=short[place * columns :][:columns]) for place, row in enumerate(grid)]
    return strips(rows, title)


@drawn
def image_rows(rows: Sequence[tuple[str, Array]], title: str) -> Figure:
    """Rows of images (N, H, W, C), each named at its left."""
    names = [textwrap.fill(name, 22, max_lines=3) for name, _ in rows]
    longest = max((breadth(line) for name in names for line in name.splitlines()), default=0.0)
    grid = np.stack([images for _, images in rows])
    return grids([Images(grid, names)], title, beside=0.35 + longest * SMALL * GLYPH / 72)


@drawn
def histograms(values: Mapping[str, Array], label: str, title: str, log: bool = False) -> Figure:
    """Distributions of values (N,) of each name, on one axis."""
    finite = {name: numbers[np.isfinite(numbers)] for name, numbers in values.items()}
    every = np.concatenate([*finite.values()])
    low, high = (float(every.min()), float(every.max())) if len(every) else (0.0, 1.0)
    if log:
        low, high = max(low, 1e-8), max(high, 2e-8)
    bins = np.geomspace(low, high, 41) if log else np.linspace(low, high + 1e-9, 41)
    marks = []
    for colour, (name, numbers) in zip(COLOURS, finite.items(), strict=False):
        shown = numbers.clip(low, high)
        marks.append(mark("hist", shown, bins, label=name, color=colour, alpha=0.25))
        marks.append(mark("hist", shown, bins, color=colour, histtype="step", linewidth=1.4))
        if len(numbers):
            marks.append(mark("axvline", float(numbers.mean()), color=colour, linestyle="--", linewidth=1.2))
    panel = Panel(f"{label}; dashed: the mean", "count", marks, log=log)
    return panels([panel], title, 2.8, width=WIDTH * 0.7)


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


def _fill(axes: Array, cells: Sequence[Cell]) -> None:
    """Draws one after the other; those that are left stay empty."""
    for ax, cell in zip_longest(axes.flat, cells):
        if isinstance(cell, Images):
            _draw_images(ax, cell)
        elif cell:
            _draw_panel(ax, cell)
        else:
            ax.axis("off")


def _draw_panel(ax: Axes, panel: Panel) -> None:
    ax.set_xlabel(panel.across, fontsize=TEXT)
    ax.set_ylabel(panel.upward, fontsize=TEXT)
    ax.set_title(panel.title, fontsize=TEXT)
    # Panels that share an axis all keep its numbers.
    ax.tick_params(labelsize=SMALL, which="both", labelbottom=True)
    if panel.log:
        logarithmic(ax.xaxis)
    if not panel.framed:
        ax.spines[["top", "right"]].set_visible(False)
    for method, given, style in panel.marks:
        getattr(ax, method)(*given, **style)
    if any("label" in style for _, _, style in panel.marks):
        _draw_legend(ax, panel.legend)


def _draw_legend(ax: Axes, place: Mapping[str, Any]) -> None:
    """A legend of the labels; points are given to it, for of itself it leaves out names that begin with _."""
    owner = ax.figure if place.get("loc", "").startswith("outside") else ax
    legend = owner.legend(handles=list(ax.collections) or None, fontsize=SMALL, frameon=False, **place)
    for handle in filter(None, legend.legend_handles if ax.collections else ()):
        handle.set(sizes=[24], alpha=1)


def _draw_images(ax: Axes, images: Images) -> None:
    picture, rows, columns = mosaic(images)
    # Nearest keeps pixels crisp but drops whole rows of pictures that have more of them than the figure.
    crisp = "nearest" if max(picture.shape[:2]) < 1200 else "auto"
    pixels = picture[..., 0] if picture.shape[-1] == 1 else picture
    ax.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation=crisp)  # colour ignores map and limits
    ax.spines[:].set_visible(False)
    for axis, centres, names in ((ax.yaxis, rows, images.rows), (ax.xaxis, columns, images.columns)):
        by_place = names if isinstance(names, Mapping) else dict(enumerate(names))
        places = np.interp([*by_place], range(len(centres)), centres)
        axis.set_ticks(places, [*by_place.values()], fontsize=SMALL)
        axis.set_tick_params(length=0)
    ax.set_xlabel(images.across, fontsize=TEXT)
    ax.set_ylabel(images.upward, fontsize=TEXT)
    ax.set_title(images.title, fontsize=TEXT)


def mosaic(images: Images) -> tuple[Array, Array, Array]:
    """The images as one picture on white, and the centres of its rows and columns."""
    rows, columns, height, width, channels = images.grid.shape
    gap = max(1, round(max(height, width) / 16))
    tops, total_height = _offsets(rows, height, gap, images.wide_rows)
    lefts, total_width = _offsets(columns, width, gap, images.wide_columns)
    picture = np.ones((total_height, total_width, channels), np.float32)
    scale = 255 if images.grid.dtype == np.uint8 else 1
    for top, row in zip(tops, images.grid, strict=True):
        for left, image in zip(lefts, row, strict=True):
            picture[top : top + height, left : left + width] = image / np.float32(scale)
    return picture.clip(0, 1), tops + (height - 1) / 2, lefts + (width - 1) / 2


def _offsets(count: int, size: int, gap: int, wide: Sequence[int]) -> tuple[Array, int]:
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


def logarithmic(axis: Axis) -> None:
    """Makes an axis logarithmic, with numbers that are no mathematics."""
    from matplotlib.ticker import LogFormatter

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})  # type: ignore[attr-defined]
    axis.set_major_formatter(LogFormatter())
    axis.set_minor_formatter(LogFormatter())


def shades(count: int) -> Array:
    """So many colours (count, 4) from dark to light, for what is numbered."""
    from matplotlib import colormaps

    return np.asarray(colormaps["viridis"](np.linspace(0, 0.85, count)))
