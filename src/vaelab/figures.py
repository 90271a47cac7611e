"""Pure functions from arrays to matplotlib figures."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = np.ndarray
Curves = Mapping[str, tuple[Array, Array]]  # split -> (epoch, value)
Points = tuple[Array, Array, Array]  # weight, rate and distortion, each (N,)

# Okabe & Ito 2008, without the yellow that is too pale on white.
BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK, GRAY = "#E69F00", "#56B4E9", "#000000", "#999999"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
MARKERS = "os^Dv*XP<>hp"
STYLE: dict[str, dict[str, Any]] = {
    "steps": {"color": GRAY, "linestyle": "-", "alpha": 0.5},
    "train": {"color": SKY, "linestyle": "--"},
    "val": {"color": BLUE, "linestyle": "-"},
}

WIDTH = 7.0  # inches
TITLE, TEXT, SMALL = 10.0, 8.5, 7.5  # points
GLYPH = 0.55  # a character's mean width in units of the font size
LEGEND_ROWS = 24
SPIKE = 10  # times the median, from which a curve needs a logarithmic axis
LEGEND_TEXT = 48  # characters of a run's name
BARS = 64  # more dimensions are drawn as one outline
NAMED = 16  # classes; tables of more have numbers at their axes, and no text inside


def save(figure: Figure, path: Path, dpi: int) -> None:
    """Writes a PNG whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        figure.savefig(part, dpi=dpi, format="png")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def contact_sheet(images: Array, title: str, names: Sequence[str] | None = None, columns: int = 8) -> Figure:
    """Images (N, H, W, C), float in [0, 1] or uint8, in rows, with each one's name below it."""
    return (
        samples({"": images}, title, columns)
        if names is None
        else _named_sheet(images, title, names, columns)
    )


def learning_curve(panels: Mapping[str, Curves], title: str) -> Figure:
    """One panel for each quantity (axis label -> curves), one line for each split, over a shared epoch axis."""
    from matplotlib.ticker import MaxNLocator

    count = max(1, len(panels))
    columns = 2 if count == 4 else count
    figure = _figure(WIDTH if count > 1 else WIDTH * 0.6, 4.6 if count == 4 else 2.8, title)
    axes = figure.subplots(-(-count // columns), columns, sharex=True, squeeze=False).flat
    for ax, (label, curves) in zip(axes, panels.items(), strict=False):
        for split, (epoch, value) in curves.items():
            wide = 0.8 if split == "steps" else 1.6
            ax.plot(epoch, value, label=split, linewidth=wide, **_marker(len(epoch)), **STYLE[split])
        _panel(ax, "epoch", label)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))
        ax.ticklabel_format(axis="y", useOffset=False, scilimits=(-3, 5))
        if curves:
            ax.legend(fontsize=SMALL, frameon=False)
    return figure


def reconstructions(original: Array, reconstruction: Array, title: str, columns: int = 8) -> Figure:
    """Rows of original images (N, H, W, C), each above the row of their reconstructions."""
    columns = max(1, min(columns, len(original)))
    pairs = [_rows(images, columns) for images in (original, reconstruction)]
    grid = np.stack(pairs, axis=1).reshape(-1, *pairs[0].shape[1:])
    figure, (ax,) = _image_figure([grid], title, wide_rows=_every(2, len(grid)), beside=0.9)
    rows, _ = _draw_grid(ax, grid, wide_rows=_every(2, len(grid)))
    _label_rows(ax, rows, ["original", "reconstruction"] * (len(rows) // 2))
    return figure


def samples(grids: Mapping[str, Array], title: str, columns: int = 8) -> Figure:
    """Square grids of images (N, H, W, C) side by side, each under its name where there are several."""
    arranged = {name: _rows(images, columns) for name, images in grids.items()}
    figure, axes = _image_figure(list(arranged.values()), title, around=0.1 if len(grids) == 1 else 0.3)
    if len(grids) == 1:
        _draw_grid(axes[0], next(iter(arranged.values())))
        return figure
    for ax, (name, grid) in zip(axes, arranged.items(), strict=True):
        _draw_grid(ax, grid)
        ax.set_title(name, fontsize=TEXT)
    figure.set_layout_engine("constrained", wspace=0.06)
    return figure


def interpolations(first: Array, steps: Array, last: Array, title: str) -> Figure:
    """Decoded steps (pair, step, H, W, C) between the real images (pair, H, W, C) at both ends."""
    grid = np.concatenate((first[:, None], steps, last[:, None]), axis=1)
    wide = (1, grid.shape[1] - 1)
    figure, (ax,) = _image_figure([grid], title, wide_columns=wide, around=0.5)
    _, columns = _draw_grid(ax, grid, wide_columns=wide)
    fractions = np.linspace(0, 1, steps.shape[1])
    _label_columns(ax, columns, ["real", *(f"{t:.2g}" for t in fractions), "real"])
    ax.set_xlabel("place t between the codes of the two real images", fontsize=TEXT)
    return figure


def traversals(images: Array, dimension: Array, kl: Array, value: Array, title: str) -> Figure:
    """Images (dimension, value, H, W, C) decoded with one dimension at a time set to each value."""
    figure, (ax,) = _image_figure([images], title, beside=0.8, around=0.5)
    rows, columns = _draw_grid(ax, images)
    _label_rows(ax, rows, [f"z{d}, KL {k:.2f}" for d, k in zip(dimension, kl, strict=True)])
    _label_columns(ax, columns, [_signed(v) for v in value])
    ax.set_xlabel("value of the dimension, in standard deviations of the prior", fontsize=TEXT)
    return figure


def rate_distortion(
    lines: Mapping[str, Points], flat: Mapping[str, float], symbol: str, title: str
) -> Figure:
    """Rate against distortion in nats: each line's points (weight, rate, distortion), and models without a rate."""
    figure = _figure(WIDTH * 0.8, 3.8, title)
    ax = figure.subplots()
    several = any(len(np.unique(weight)) > 1 for weight, _, _ in lines.values())
    for place, (label, (weight, rate, distortion)) in enumerate(lines.items()):
        colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
        ax.plot(rate, distortion, label=label, markersize=5, linewidth=1.2, color=colour, marker=marker)
        for w in np.unique(weight[np.isfinite(weight)]) if several else ():  # the legend names the others
            first = np.flatnonzero(weight == w)[0]  # of its seeds
            at = (rate[first], distortion[first])
            ax.annotate(f"{w:.3g}", at, (4, 4), textcoords="offset points", fontsize=SMALL)
    for place, (label, height) in enumerate(flat.items()):
        dashes = ("--", ":", "-.")[place % 3]
        ax.axhline(height, color=GRAY, linestyle=dashes, linewidth=1.2, label=f"{label} (no rate)")
    named = f"; each point is named by its {symbol}" if several else ""
    ax.set_xlabel(f"rate: KL (nats per image){named}", fontsize=TEXT)
    ax.set_ylabel("distortion: −log p(x|z)\n(nats per image)", fontsize=TEXT)
    ax.margins(0.08)
    ax.tick_params(labelsize=SMALL)
    _open(ax)
    ax.legend(fontsize=SMALL, frameon=False)
    return figure


def run_curves(panels: Mapping[str, Mapping[str, tuple[Array, Array]]], title: str) -> Figure:
    """One panel for each quantity (axis label -> run -> (epoch, value)), one line for each run in the same colour."""
    from matplotlib import colormaps
    from matplotlib.lines import Line2D

    names = list(dict.fromkeys(name for curves in panels.values() for name in curves))
    shades = dict(zip(names, colormaps["viridis"](np.linspace(0, 0.85, len(names))), strict=True))
    rows = -(-len(panels) // 2)
    longest = max(len(textwrap.shorten(name, LEGEND_TEXT)) for name in names)
    columns = max(1, min(len(names), int(WIDTH * 72 / (longest * SMALL * GLYPH + 4 * SMALL))))
    figure = _figure(WIDTH, 2.2 * rows + 0.25 * -(-len(names) // columns), title)
    axes = iter(figure.subplots(rows, min(2, len(panels)), squeeze=False).flat)
    for label, curves in panels.items():
        ax = next(axes)
        for name, (epoch, value) in curves.items():
            ax.plot(epoch, value, color=shades[name], linewidth=1.3, **_marker(len(epoch)))
        _panel(ax, "epoch", label)
        values = np.concatenate([value for _, value in curves.values()])
        if values.min() > 0 and values.max() > SPIKE * np.median(values):  # which would press all else flat
            ax.set_yscale("log")
    for ax in axes:  # those that are left
        ax.axis("off")
    handles = [
        Line2D([], [], color=shades[name], label=textwrap.shorten(name, LEGEND_TEXT)) for name in names
    ]
    figure.legend(handles=handles, fontsize=SMALL, frameon=False, loc="outside lower center", ncols=columns)
    return figure


def along_sizes(
    panels: Mapping[str, Mapping[str, tuple[Array, Array]]], image_values: float, title: str
) -> Figure:
    """One panel for each quantity (axis label -> line -> (size, value)), over a logarithmic axis of code sizes.

    Below each size stands by how much it compresses an image of so many values (0: not known).
    """
    figure = _figure(WIDTH, 2.8, title)
    axes = figure.subplots(1, len(panels), squeeze=False).flat
    sizes = sorted({float(x) for lines in panels.values() for size, _ in lines.values() for x in size})
    for ax, (label, lines) in zip(axes, panels.items(), strict=True):
        for place, (name, (size, value)) in enumerate(lines.items()):
            marker, colour = MARKERS[place % len(MARKERS)], COLOURS[place % len(COLOURS)]
            short = textwrap.shorten(name, LEGEND_TEXT, placeholder="…")
            ax.plot(size, value, label=short, color=colour, marker=marker, markersize=4)
        ax.set_xscale("log")
        ratios = [f"\n{image_values / size:.3g}:1" if image_values else "" for size in sizes]
        names = [f"{size:,.0f}{ratio}" for size, ratio in zip(sizes, ratios, strict=True)]
        ax.set_xticks(sizes, names, fontsize=SMALL)
        ax.set_xticks([], minor=True)
        _panel(ax, "values of the code; below, the compression", label)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=SMALL, frameon=False, loc="outside lower center", ncols=2)
    return figure


def game_curves(panels: Mapping[str, Mapping[str, tuple[Array, Array]]], title: str) -> Figure:
    """One panel for each quantity (axis label -> line -> (step, value)), over a shared axis of steps."""
    figure = _figure(WIDTH, 2.4 * -(-len(panels) // 2), title)
    axes = figure.subplots(-(-len(panels) // 2), min(2, len(panels)), sharex=True, squeeze=False).flat
    for ax, (label, lines) in zip(axes, panels.items(), strict=False):
        for colour, (name, (step, value)) in zip(COLOURS, lines.items(), strict=False):
            ax.plot(step, value, label=name, color=colour, linewidth=1.2, **_marker(len(step)))
        if "accuracy" in label:
            ax.set_ylim(-0.03, 1.03)
        _panel(ax, "step", label)
        ax.legend(fontsize=SMALL, frameon=False)
    return figure


def noise_paths(images: Array, title: str) -> Figure:
    """Images (pair, step, H, W, C) generated on the way from one noise vector to another."""
    figure, (ax,) = _image_figure([images], title, around=0.5)
    _, columns = _draw_grid(ax, images)
    _label_columns(ax, columns, [f"{t:.2g}" for t in np.linspace(0, 1, images.shape[1])])
    ax.set_xlabel("place t between two noise vectors", fontsize=TEXT)
    return figure


def latent_edits(
    original: Array, reconstruction: Array, edits: Array, differences: Array, names: Sequence[str], title: str
) -> Figure:
    """Images (N, H, W, C), their reconstructions and edits (N, edit, H, W, C), each above its difference.

    `differences` (N, 1 + edit, H, W, C) are shown as far as the largest goes to white.
    """
    shown = np.concatenate((original[:, None], reconstruction[:, None], edits), axis=1)
    gain = 1 / max(float(differences.max()), 1e-6)
    below = np.concatenate((np.ones_like(original[:, None]), gain * differences), axis=1)
    grid = np.stack((shown, below), axis=1).reshape(-1, *shown.shape[1:])
    figure, (ax,) = _image_figure([grid], title, wide_rows=_every(2, len(grid)), around=0.5, beside=0.8)
    rows, columns = _draw_grid(ax, grid, wide_rows=_every(2, len(grid)))
    _label_rows(ax, rows, ["", f"difference\n× {gain:.2g}"] * len(original))
    _label_columns(ax, columns, ["original", "reconstruction", *names])
    return figure


def perturbed(original: Array, copies: Array, names: Sequence[str], title: str, blocks: int = 2) -> Figure:
    """Images (N, H, W, C), each with its copies (N, copy, H, W, C) at its right, in blocks side by side."""
    grid = np.concatenate((original[:, None], copies), axis=1)
    height = -(-len(grid) // blocks)
    padded = np.concatenate((grid, np.ones((blocks * height - len(grid), *grid.shape[1:]), grid.dtype)))
    parts = list(padded.reshape(blocks, height, *grid.shape[1:]))
    figure, axes = _image_figure(parts, title, wide_columns=(1,), beside=0.4, around=0.4)
    for number, (ax, part) in enumerate(zip(axes, parts, strict=True)):
        rows, columns = _draw_grid(ax, part, wide_columns=(1,))
        own = names[number * height : (number + 1) * height]
        _label_rows(ax, rows[: len(own)], own)
        _label_columns(ax, np.array([columns[0], columns[1:].mean()]), ["original", "from code + noise"])
    return figure


def image_rows(rows: Sequence[tuple[str, Array]], title: str) -> Figure:
    """Rows of images (N, H, W, C), each named at its left."""
    grid = np.stack([images for _, images in rows])
    names = [textwrap.fill(name, 22, max_lines=3) for name, _ in rows]
    longest = max(len(line) for name in names for line in name.splitlines())
    figure, (ax,) = _image_figure([grid], title, beside=0.35 + longest * SMALL * GLYPH / 72)
    centres, _ = _draw_grid(ax, grid)
    _label_rows(ax, centres, names)
    return figure


def histograms(values: Mapping[str, Array], label: str, title: str, log: bool = False) -> Figure:
    """Distributions of values (N,) of each name, on one axis."""
    figure = _figure(WIDTH * 0.7, 2.8, title)
    ax = figure.subplots()
    every = np.concatenate([*values.values()])
    low, high = float(every.min()), float(every.max())
    if log:
        low, high = max(low, 1e-8), max(high, 2e-8)
    bins = list(np.geomspace(low, high, 41) if log else np.linspace(low, high + 1e-9, 41))
    for colour, (name, numbers) in zip(COLOURS, values.items(), strict=False):
        shown = numbers.clip(low, high)
        ax.hist(shown, bins, label=name, color=colour, alpha=0.25)
        ax.hist(shown, bins, color=colour, histtype="step", linewidth=1.4)
        ax.axvline(float(numbers.mean()), color=colour, linestyle="--", linewidth=1.2)
    if log:
        ax.set_xscale("log")
    _panel(ax, f"{label}; dashed: the mean", "count")
    ax.legend(fontsize=SMALL, frameon=False)
    return figure


def neighbours(images: Array, nearest: Array, distance: Array, title: str, blocks: int = 2) -> Figure:
    """Images (N, H, W, C), each with its nearest ones (N, k, H, W, C) and the distance (N, k) under each."""
    grid = np.concatenate((images[:, None], nearest), axis=1)
    height = -(-len(grid) // blocks)
    columns = grid.shape[1]
    figure = _figure(WIDTH, 0.4 + height * (WIDTH / blocks / columns + 0.1), title)
    axes = figure.subplots(height, blocks * columns, squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for number, row in enumerate(grid):
        for place, image in enumerate(row):
            ax = axes[number % height, number // height * columns + place]
            pixels = image[..., 0] if image.shape[-1] == 1 else image
            ax.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            ax.set_title(f"{distance[number, place - 1]:.3f}" if place else "sample", fontsize=SMALL, pad=2)
    return figure


def confusions(tables: Mapping[str, Array], classes: Sequence[str], title: str) -> Figure:
    """Counts (K, K) side by side as shares of a row: rows are the classes wanted, columns what a classifier said."""
    many = len(classes) > 5
    figure = _figure(WIDTH, 4.2 if many else 3.2, title)
    axes = figure.subplots(1, len(tables), squeeze=False)[0]
    for ax, (name, table) in zip(axes, tables.items(), strict=True):
        shares = table / np.maximum(table.sum(1, keepdims=True), 1)
        ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        ax.set_xlabel("the classifier says (% of the row)", fontsize=TEXT)
        ax.set_ylabel("asked for" if "generated" in name else "label", fontsize=TEXT)
        ax.set_title(name, fontsize=TEXT)
        ax.tick_params(labelsize=SMALL)
        if len(classes) > NAMED:
            continue
        for (row, column), share in np.ndenumerate(shares):
            colour = "white" if share > 0.6 else "black"
            ax.text(
                column, row, f"{share:.0%}"[:-1], color=colour, ha="center", va="center",
                fontsize=SMALL - 1.5 if many else SMALL,
            )  # fmt: skip
        ax.set_xticks(range(len(classes)), classes, fontsize=SMALL, rotation=90 if many else 0)
        ax.set_yticks(range(len(classes)), classes, fontsize=SMALL, rotation=0)
    return figure


def plane(images: Array, dimension: Array, value: Array, kl: Array | None, title: str) -> Figure:
    """Images (i, j, H, W, C) decoded with dimension[0] at value[0, i] and dimension[1] at value[1, j]."""
    figure, (ax,) = _image_figure([images], title, beside=0.8, around=0.5)
    rows, columns = _draw_grid(ax, images)
    ticks = [sorted({0, count // 2, count - 1}) for count in images.shape[:2]]
    names = [
        f"z{d}" + (f", KL {kl[place]:.2f} nats" if kl is not None else "")
        for place, d in enumerate(dimension)
    ]
    _label_rows(ax, rows[ticks[0]], [_signed(value[0, i]) for i in ticks[0]])
    _label_columns(ax, columns[ticks[1]], [_signed(value[1, j]) for j in ticks[1]])
    ax.set_ylabel(names[0], fontsize=TEXT)
    ax.set_xlabel(names[1], fontsize=TEXT)
    return figure


def scatter(
    points: Array, axes_labels: tuple[str, str], label: Array | None, classes: Sequence[str], title: str
) -> Figure:
    """Points (N, 2), with a colour and a marker for each class where there are labels (N,)."""
    named = () if label is None else _most_frequent(label, LEGEND_ROWS)
    figure = _figure(5.6 if len(named) else 4.8, 4.6, title)
    ax = figure.subplots()
    size = float(np.clip(6000 / max(1, len(points)), 6, 26))
    if label is None:
        ax.scatter(points[:, 0], points[:, 1], s=size, color=BLUE, linewidths=0, alpha=0.7)
    else:
        rest = ~np.isin(label, named)
        if rest.any():
            ax.scatter(
                points[rest, 0], points[rest, 1], s=size / 2, color=GRAY, linewidths=0, label="other classes"
            )
        for place, number in enumerate(named):
            own = points[label == number]
            ax.scatter(
                own[:, 0],
                own[:, 1],
                s=size,
                color=COLOURS[place % len(COLOURS)],
                marker=MARKERS[place % len(MARKERS)],
                linewidths=0,
                alpha=0.8,
                label=textwrap.shorten(classes[number], 24, placeholder="…") or str(number),
            )
        drawn = ax.legend(fontsize=SMALL, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
        for handle in filter(None, drawn.legend_handles):
            handle.set(sizes=[24], alpha=1)
    ax.set_xlabel(axes_labels[0], fontsize=TEXT)
    ax.set_ylabel(axes_labels[1], fontsize=TEXT)
    ax.tick_params(labelsize=SMALL)
    _open(ax)
    return figure


def kl_per_dimension(kl: Array, active: Array, title: str) -> Figure:
    """KL (d,) in nats of each dimension, largest first, with the active ones (d,) marked."""
    order = np.argsort(-kl, kind="stable")
    height, on = kl[order], active[order]
    figure = _figure(WIDTH, 2.9, title)
    ax = figure.subplots()
    kinds: list[tuple[Array, dict[str, Any]]] = [
        (on, {"facecolor": BLUE, "edgecolor": BLUE, "label": f"active ({on.sum():,})"}),
        (
            ~on,
            {
                "facecolor": "white",
                "edgecolor": GRAY,
                "hatch": "////",
                "label": f"inactive ({(~on).sum():,})",
            },
        ),
    ]
    for chosen, style in kinds:
        if not chosen.any():
            continue
        if len(kl) <= BARS:
            ax.bar(np.flatnonzero(chosen), height[chosen], width=0.8, linewidth=0.6, **style)
        else:
            # One outline instead of a patch for each dimension: spatial codes have 100,000 and more.
            edges = np.arange(len(kl) + 1) - 0.5
            ax.stairs(np.where(chosen, height, 0), edges, fill=True, **style | {"linewidth": 0})
    if len(kl) <= BARS:
        rotation = 90 if len(kl) > 20 else 0
        ax.set_xticks(
            range(len(kl)), [f"z{d}" for d in order], rotation=rotation, fontsize=min(SMALL, 330 / len(kl))
        )
        ax.set_xlabel("dimension", fontsize=TEXT)
    else:
        ax.plot(np.arange(len(kl)), height, color=BLACK, linewidth=0.8)
        ax.set_xlabel("rank of the dimension by its KL", fontsize=TEXT)
    ax.set_xlim(-0.8, len(kl) - 0.2)
    ax.set_ylim(0, max(float(height.max(initial=0)) * 1.05, 1e-3))
    ax.set_ylabel("KL (nats)", fontsize=TEXT)
    ax.tick_params(axis="y", labelsize=SMALL)
    ax.tick_params(axis="x", length=2)
    _open(ax)
    ax.legend(fontsize=SMALL, frameon=False, loc="upper right")
    return figure


def best_and_worst(
    original: Array, reconstruction: Array, captions: Sequence[str], best: int, psnr: Array, title: str
) -> Figure:
    """Pairs of images (N, H, W, C), the first `best` of them the best ones, beside the histogram of PSNR."""
    from matplotlib.ticker import MaxNLocator

    grid = np.stack((original, reconstruction))
    wide = (best,) if 0 < best < len(original) else ()
    figure = _figure(WIDTH, 2.5, title)
    ax, histogram = figure.subplots(1, 2, width_ratios=(2.1, 1))
    rows, columns = _draw_grid(ax, grid, wide_columns=wide)
    _label_rows(ax, rows, ["original", "recon-\nstruction"])
    _label_columns(ax, columns, captions)
    ax.set_title(f"{best} best (left) and {best} worst (right)" if wide else "", fontsize=TEXT)
    histogram.hist(psnr, bins=min(30, max(5, len(psnr) // 8)), color=SKY, edgecolor="white", linewidth=0.4)
    mean = float(psnr.mean())
    histogram.axvline(mean, color=BLACK, linestyle="--", linewidth=1.2)
    histogram.set_title(f"mean {mean:.2f} dB (dashed)", fontsize=TEXT)
    histogram.set_xlabel("PSNR (dB)", fontsize=TEXT)
    histogram.set_ylabel("test images", fontsize=TEXT)
    histogram.tick_params(labelsize=SMALL)
    histogram.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    _open(histogram)
    return figure


def _figure(width: float, height: float, title: str) -> Figure:
    """An empty figure with the Agg canvas; matplotlib is imported only once something is drawn."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Lines break only after a dot, not between a name and its value.
    whole = title.replace(" ", "\xa0").replace("·\xa0", "· ")
    lines = [line.replace("\xa0", " ") for line in textwrap.wrap(whole, int(width * 72 / (TITLE * GLYPH)))]
    figure = Figure(figsize=(width, height + 0.17 * len(lines)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle("\n".join(lines), fontsize=TITLE)
    return figure


def _image_figure(
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
    shapes = [_mosaic(grid, wide_rows, wide_columns)[0].shape for grid in grids]
    width = (WIDTH - beside - 0.1) / len(grids)
    height = max(width * shape[0] / shape[1] for shape in shapes)
    shrink = min(1.0, 8.0 / height)
    figure = _figure(WIDTH - (1 - shrink) * width * len(grids), height * shrink + around, title)
    return figure, list(figure.subplots(1, len(grids), squeeze=False)[0])


def _draw_grid(
    ax: Axes, grid: Array, wide_rows: Sequence[int] = (), wide_columns: Sequence[int] = ()
) -> tuple[Array, Array]:
    """Draws images (rows, columns, H, W, C) as one; gives the centres of the rows and columns."""
    picture, rows, columns = _mosaic(grid, wide_rows, wide_columns)
    # Nearest keeps pixels crisp but drops whole rows of pictures that have more of them than the figure.
    crisp = "nearest" if max(picture.shape[:2]) < 1200 else "auto"
    pixels = picture[..., 0] if picture.shape[-1] == 1 else picture
    ax.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation=crisp)  # colour ignores map and limits
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return rows, columns


def _mosaic(
    grid: Array, wide_rows: Sequence[int] = (), wide_columns: Sequence[int] = ()
) -> tuple[Array, Array, Array]:
    """One picture of images (rows, columns, H, W, C) on white, with wider gaps before the rows and columns named."""
    rows, columns, height, width, channels = grid.shape
    gap = max(1, round(max(height, width) / 16))
    tops, total_height = _offsets(rows, height, gap, wide_rows)
    lefts, total_width = _offsets(columns, width, gap, wide_columns)
    picture = np.ones((total_height, total_width, channels), np.float32)
    scale = 255 if grid.dtype == np.uint8 else 1
    for top, row in zip(tops, grid, strict=True):
        for left, image in zip(lefts, row, strict=True):
            picture[top : top + height, left : left + width] = image / np.float32(scale)
    return picture.clip(0, 1), tops + (height - 1) / 2, lefts + (width - 1) / 2


def _offsets(count: int, size: int, gap: int, wide: Sequence[int]) -> tuple[Array, int]:
    """Where each of the images begins along one axis, and where the last ends."""
    extra = np.isin(np.arange(count), wide).cumsum() * 3 * gap
    offsets = np.arange(count) * (size + gap) + extra
    return offsets, int(offsets[-1]) + size


def _rows(images: Array, columns: int) -> Array:
    """Images (N, H, W, C) as (rows, columns, H, W, C), filled up with white."""
    columns = max(1, min(columns, len(images)))
    white = 255 if images.dtype == np.uint8 else 1
    missing = -len(images) % columns
    filled = np.concatenate((images, np.full((missing, *images.shape[1:]), white, images.dtype)))
    return filled.reshape(-1, columns, *images.shape[1:])


def _named_sheet(images: Array, title: str, names: Sequence[str], columns: int) -> Figure:
    """A contact sheet with room for a name below each image."""
    grid = _rows(images, columns)
    columns = grid.shape[1]
    figure = _figure(WIDTH, 1.0, title)
    inches = (WIDTH - 0.2) / columns * grid.shape[2] / grid.shape[3] + 0.2
    figure.set_size_inches(WIDTH, min(inches, 3.0) * len(grid) + figure.get_size_inches()[1] - 0.8)
    room = int((WIDTH - 0.2) * 72 / columns / (SMALL * GLYPH)) - 1
    for ax, row, start in zip(
        figure.subplots(len(grid), squeeze=False).flat, grid, range(0, len(names), columns), strict=True
    ):
        _, centres = _draw_grid(ax, row[None])
        few = [_shorten(name, room) for name in names[start : start + columns]]
        _label_columns(ax, centres[: len(few)], few)
    return figure


def _shorten(name: str, length: int) -> str:
    return name if len(name) <= length else name[: max(1, length - 1)] + "…"


def _label_rows(ax: Axes, centres: Array, labels: Sequence[str]) -> None:
    ax.set_yticks(centres, labels, fontsize=SMALL)
    ax.tick_params(axis="y", length=0)


def _label_columns(ax: Axes, centres: Array, labels: Sequence[str]) -> None:
    ax.set_xticks(centres, labels, fontsize=SMALL)
    ax.tick_params(axis="x", length=0)


def _every(step: int, count: int) -> range:
    return range(step, count, step)


def _marker(points: int) -> dict[str, Any]:
    """A single epoch has no line, so it gets a point."""
    return {"marker": "o", "markersize": 4} if points < 2 else {}


def _most_frequent(label: Array, count: int) -> Array:
    """At most so many of the labels, the most frequent ones, in ascending order."""
    numbers, times = np.unique(label, return_counts=True)
    return np.sort(numbers[np.argsort(-times, kind="stable")[:count]])


def _panel(ax: Axes, across: str, upward: str) -> None:
    """Names the axes of a panel of curves; panels that share an axis all keep its numbers."""
    ax.set_xlabel(across, fontsize=TEXT)
    ax.set_ylabel(upward, fontsize=TEXT)
    ax.tick_params(labelsize=SMALL, which="both", labelbottom=True)
    _open(ax)


def _open(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)


def _signed(value: float) -> str:
    return f"{value:+.2g}".replace("-", "−") if value else "0"
