"""Figures of distributions: histograms, tables of counts, codes in the plane and by dimension."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vaelab.figures.canvas import (
    WIDTH,
    Array,
    blank,
    draw_grid,
    label_columns,
    label_rows,
    logarithmic,
    open_axes,
    panel,
    shorten,
)
from vaelab.figures.style import BLACK, BLUE, COLOURS, GRAY, MARKERS, SKY, SMALL, TEXT, drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEGEND_ROWS = 24
LEGEND_TEXT = 24  # characters of a class's name
BARS = 64  # more dimensions are drawn as one outline
NAMED = 16  # classes; tables of more have numbers at their axes, and no text inside


@drawn
def histograms(values: Mapping[str, Array], label: str, title: str, log: bool = False) -> Figure:
    """Distributions of values (N,) of each name, on one axis."""
    figure = blank(WIDTH * 0.7, 2.8, title)
    ax = figure.subplots()
    finite = {name: numbers[np.isfinite(numbers)] for name, numbers in values.items()}
    every = np.concatenate([*finite.values()])
    low, high = (float(every.min()), float(every.max())) if len(every) else (0.0, 1.0)
    if log:
        low, high = max(low, 1e-8), max(high, 2e-8)
    bins = list(np.geomspace(low, high, 41) if log else np.linspace(low, high + 1e-9, 41))
    for colour, (name, numbers) in zip(COLOURS, finite.items(), strict=False):
        shown = numbers.clip(low, high)
        ax.hist(shown, bins, label=name, color=colour, alpha=0.25)
        ax.hist(shown, bins, color=colour, histtype="step", linewidth=1.4)
        if len(numbers):
            ax.axvline(float(numbers.mean()), color=colour, linestyle="--", linewidth=1.2)
    if log:
        logarithmic(ax.xaxis)
    panel(ax, f"{label}; dashed: the mean", "count")
    ax.legend(fontsize=SMALL, frameon=False)
    return figure


@drawn
def confusions(tables: Mapping[str, Array], classes: Sequence[str], title: str) -> Figure:
    """Counts (K, K) side by side as shares of a row: rows are the classes wanted, columns what a classifier said."""
    names = [shorten(name, LEGEND_TEXT) for name in classes]
    many = len(classes) > 5
    figure = blank(WIDTH, 4.2 if many else 3.2, title)
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
        ax.set_xticks(range(len(classes)), names, fontsize=SMALL, rotation=90 if many else 0)
        ax.set_yticks(range(len(classes)), names, fontsize=SMALL, rotation=0)
    return figure


@drawn
def scatter(
    points: Array, axes_labels: tuple[str, str], label: Array | None, classes: Sequence[str], title: str
) -> Figure:
    """Points (N, 2), with a colour and a marker for each class where there are labels (N,)."""
    named = () if label is None else _most_frequent(label, LEGEND_ROWS)
    figure = blank(5.6 if len(named) else 4.8, 4.6, title)
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
            style: dict[str, Any] = {
                "color": COLOURS[place % len(COLOURS)],
                "marker": MARKERS[place % len(MARKERS)],
            }
            name = shorten(classes[number], LEGEND_TEXT) or str(number)
            ax.scatter(own[:, 0], own[:, 1], s=size, linewidths=0, alpha=0.8, label=name, **style)
        # Given to the legend, which leaves out names that begin with _ where it looks for them itself.
        legend = ax.legend(
            handles=ax.collections,
            fontsize=SMALL,
            frameon=False,
            loc="center left",
            bbox_to_anchor=(1.0, 0.5),
        )
        for handle in filter(None, legend.legend_handles):
            handle.set(sizes=[24], alpha=1)
    ax.set_xlabel(axes_labels[0], fontsize=TEXT)
    ax.set_ylabel(axes_labels[1], fontsize=TEXT)
    ax.tick_params(labelsize=SMALL)
    open_axes(ax)
    return figure


def _most_frequent(label: Array, count: int) -> Array:
    """At most so many of the labels, the most frequent ones, in ascending order."""
    numbers, times = np.unique(label, return_counts=True)
    return np.sort(numbers[np.argsort(-times, kind="stable")[:count]])


@drawn
def kl_per_dimension(kl: Array, active: Array, title: str) -> Figure:
    """KL (d,) in nats of each dimension, largest first, with the active ones (d,) marked."""
    order = np.argsort(-kl, kind="stable")
    height, on = np.nan_to_num(kl[order], posinf=0.0), active[order]
    figure = blank(WIDTH, 2.9, title)
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
    open_axes(ax)
    ax.legend(fontsize=SMALL, frameon=False, loc="upper right")
    return figure


@drawn
def kl_per_layer(kl: Array, names: Sequence[str], title: str) -> Figure:
    """KL (L,) in nats of each layer, with its number and its name."""
    figure = blank(WIDTH, 0.8 + 0.5 * len(kl), title)
    ax = figure.subplots()
    rows = np.arange(len(kl))
    ax.barh(rows, np.nan_to_num(kl, posinf=0.0), color=BLUE, height=0.6)
    for row, value in enumerate(kl):
        ax.annotate(
            f"{value:.1f}",
            (float(value), row),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=SMALL,
        )
    ax.set_yticks(rows, names, fontsize=SMALL)
    ax.margins(x=0.1)
    ax.set_xlim(left=0)
    ax.set_xlabel("KL (nats)", fontsize=TEXT)
    ax.tick_params(axis="x", labelsize=SMALL)
    open_axes(ax)
    return figure


@drawn
def codebook(share: Array, title: str) -> Figure:
    """How often each vector (K,) is used, the most used first, beside a use of all alike."""
    figure = blank(WIDTH, 2.6, title)
    ax = figure.subplots()
    ax.stairs(np.sort(share)[::-1], np.arange(len(share) + 1), fill=True, color=BLUE, label="test images")
    ax.axhline(1 / len(share), color=BLACK, linewidth=0.8, linestyle="--", label="all alike")
    ax.set_xlim(0, len(share))
    ax.set_ylim(bottom=0)
    ax.set_xlabel("rank of the vector by its use", fontsize=TEXT)
    ax.set_ylabel("share of all places", fontsize=TEXT)
    ax.tick_params(labelsize=SMALL)
    open_axes(ax)
    ax.legend(fontsize=SMALL, frameon=False)
    return figure


@drawn
def best_and_worst(
    original: Array, reconstruction: Array, captions: Sequence[str], best: int, score: Array, title: str
) -> Figure:
    """Pairs of images (N, H, W, C), the first `best` of them the best ones, beside the histogram of PSNR."""
    from matplotlib.ticker import MaxNLocator

    grid = np.stack((original, reconstruction))
    wide = (best,) if 0 < best < len(original) else ()
    figure = blank(WIDTH, 2.5, title)
    ax, histogram = figure.subplots(1, 2, width_ratios=(2.1, 1))
    rows, columns = draw_grid(ax, grid, wide_columns=wide)
    label_rows(ax, rows, ["original", "recon-\nstruction"])
    label_columns(ax, columns, captions)
    ax.set_title(f"{best} best (left) and {best} worst (right)" if wide else "", fontsize=TEXT)
    score = score[np.isfinite(score)]
    histogram.hist(score, bins=min(30, max(5, len(score) // 8)), color=SKY, edgecolor="white", linewidth=0.4)
    if len(score):
        mean = float(score.mean())
        histogram.axvline(mean, color=BLACK, linestyle="--", linewidth=1.2)
        histogram.set_title(f"mean {mean:.2f} dB (dashed)", fontsize=TEXT)
    histogram.set_xlabel("PSNR (dB)", fontsize=TEXT)
    histogram.set_ylabel("test images", fontsize=TEXT)
    histogram.tick_params(labelsize=SMALL)
    histogram.yaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    open_axes(histogram)
    return figure
