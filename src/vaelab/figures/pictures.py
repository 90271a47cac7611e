"""Figures of images: grids, pairs, rows and planes of them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from vaelab.figures.canvas import (
    GLYPH,
    WIDTH,
    Array,
    blank,
    breadth,
    draw_grid,
    every,
    image_figure,
    in_rows,
    label_columns,
    label_rows,
    shorten,
    signed,
)
from vaelab.figures.style import SMALL, TEXT, drawn

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@drawn
def contact_sheet(images: Array, title: str, names: Sequence[str] | None = None, columns: int = 8) -> Figure:
    """Images (N, H, W, C), float in [0, 1] or uint8, in rows, with each one's name below it."""
    return (
        samples({"": images}, title, columns)
        if names is None
        else _named_sheet(images, title, names, columns)
    )


def _named_sheet(images: Array, title: str, names: Sequence[str], columns: int) -> Figure:
    """A contact sheet with room for a name below each image."""
    grid = in_rows(images, columns)
    columns = grid.shape[1]
    figure = blank(WIDTH, 1.0, title)
    inches = (WIDTH - 0.2) / columns * grid.shape[2] / grid.shape[3] + 0.2
    figure.set_size_inches(WIDTH, min(inches, 3.0) * len(grid) + figure.get_size_inches()[1] - 0.8)
    room = int((WIDTH - 0.2) * 72 / columns / (SMALL * GLYPH)) - 1
    for ax, row, start in zip(
        figure.subplots(len(grid), squeeze=False).flat, grid, range(0, len(names), columns), strict=True
    ):
        _, centres = draw_grid(ax, row[None])
        few = [shorten(name, room) for name in names[start : start + columns]]
        label_columns(ax, centres[: len(few)], few)
    return figure


@drawn
def reconstructions(original: Array, reconstruction: Array, title: str, columns: int = 8) -> Figure:
    """Rows of original images (N, H, W, C), each above the row of their reconstructions."""
    columns = max(1, min(columns, len(original)))
    pairs = [in_rows(images, columns) for images in (original, reconstruction)]
    grid = np.stack(pairs, axis=1).reshape(-1, *pairs[0].shape[1:])
    figure, (ax,) = image_figure([grid], title, wide_rows=every(2, len(grid)), beside=0.9)
    rows, _ = draw_grid(ax, grid, wide_rows=every(2, len(grid)))
    label_rows(ax, rows, ["original", "reconstruction"] * (len(rows) // 2))
    return figure


@drawn
def samples(grids: Mapping[str, Array], title: str, columns: int = 8) -> Figure:
    """Square grids of images (N, H, W, C) side by side, each under its name where there are several."""
    arranged = {name: in_rows(images, columns) for name, images in grids.items()}
    figure, axes = image_figure(list(arranged.values()), title, around=0.1 if len(grids) == 1 else 0.3)
    if len(grids) == 1:
        draw_grid(axes[0], next(iter(arranged.values())))
        return figure
    for ax, (name, grid) in zip(axes, arranged.items(), strict=True):
        draw_grid(ax, grid)
        ax.set_title(name, fontsize=TEXT)
    figure.set_layout_engine("constrained", wspace=0.06)
    return figure


@drawn
def interpolations(first: Array, steps: Array, last: Array, title: str) -> Figure:
    """Decoded steps (pair, step, H, W, C) between the real images (pair, H, W, C) at both ends."""
    grid = np.concatenate((first[:, None], steps, last[:, None]), axis=1)
    wide = (1, grid.shape[1] - 1)
    figure, (ax,) = image_figure([grid], title, wide_columns=wide, around=0.5)
    _, columns = draw_grid(ax, grid, wide_columns=wide)
    fractions = np.linspace(0, 1, steps.shape[1])
    label_columns(ax, columns, ["real", *(f"{t:.2g}" for t in fractions), "real"])
    ax.set_xlabel("place t between the codes of the two real images", fontsize=TEXT)
    return figure


@drawn
def traversals(images: Array, dimension: Array, kl: Array, value: Array, title: str) -> Figure:
    """Images (dimension, value, H, W, C) decoded with one dimension at a time set to each value."""
    figure, (ax,) = image_figure([images], title, beside=0.8, around=0.5)
    rows, columns = draw_grid(ax, images)
    label_rows(ax, rows, [f"z{d}, KL {k:.2f}" for d, k in zip(dimension, kl, strict=True)])
    label_columns(ax, columns, [signed(v) for v in value])
    ax.set_xlabel("value of the dimension, in standard deviations of the prior", fontsize=TEXT)
    return figure


@drawn
def plane(images: Array, dimension: Array, value: Array, kl: Array | None, title: str) -> Figure:
    """Images (i, j, H, W, C) decoded with dimension[0] at value[0, i] and dimension[1] at value[1, j]."""
    figure, (ax,) = image_figure([images], title, beside=0.8, around=0.5)
    rows, columns = draw_grid(ax, images)
    ticks = [sorted({0, count // 2, count - 1}) for count in images.shape[:2]]
    names = [
        f"z{d}" + (f", KL {kl[place]:.2f} nats" if kl is not None else "")
        for place, d in enumerate(dimension)
    ]
    label_rows(ax, rows[ticks[0]], [signed(value[0, i]) for i in ticks[0]])
    label_columns(ax, columns[ticks[1]], [signed(value[1, j]) for j in ticks[1]])
    ax.set_ylabel(names[0], fontsize=TEXT)
    ax.set_xlabel(names[1], fontsize=TEXT)
    return figure


@drawn
def noise_paths(images: Array, title: str) -> Figure:
    """Images (pair, step, H, W, C) generated on the way from one noise vector to another."""
    figure, (ax,) = image_figure([images], title, around=0.5)
    _, columns = draw_grid(ax, images)
    label_columns(ax, columns, [f"{t:.2g}" for t in np.linspace(0, 1, images.shape[1])])
    ax.set_xlabel("place t between two noise vectors", fontsize=TEXT)
    return figure


@drawn
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
    figure, (ax,) = image_figure([grid], title, wide_rows=every(2, len(grid)), around=0.5, beside=0.8)
    rows, columns = draw_grid(ax, grid, wide_rows=every(2, len(grid)))
    label_rows(ax, rows, ["", f"difference\n× {gain:.2g}"] * len(original))
    label_columns(ax, columns, ["original", "reconstruction", *names])
    return figure


@drawn
def perturbed(original: Array, copies: Array, names: Sequence[str], title: str, blocks: int = 2) -> Figure:
    """Images (N, H, W, C), each with its copies (N, copy, H, W, C) at its right, in blocks side by side."""
    grid = np.concatenate((original[:, None], copies), axis=1)
    height = -(-len(grid) // blocks)
    padded = np.concatenate((grid, np.ones((blocks * height - len(grid), *grid.shape[1:]), grid.dtype)))
    parts = list(padded.reshape(blocks, height, *grid.shape[1:]))
    figure, axes = image_figure(parts, title, wide_columns=(1,), beside=0.4, around=0.4)
    for number, (ax, part) in enumerate(zip(axes, parts, strict=True)):
        rows, columns = draw_grid(ax, part, wide_columns=(1,))
        own = names[number * height : (number + 1) * height]
        label_rows(ax, rows[: len(own)], own)
        label_columns(ax, np.array([columns[0], columns[1:].mean()]), ["original", "from code + noise"])
    return figure


@drawn
def image_rows(rows: Sequence[tuple[str, Array]], title: str) -> Figure:
    """Rows of images (N, H, W, C), each named at its left."""
    grid = np.stack([images for _, images in rows])
    names = [textwrap.fill(name, 22, max_lines=3) for name, _ in rows]
    longest = max((breadth(line) for name in names for line in name.splitlines()), default=0.0)
    figure, (ax,) = image_figure([grid], title, beside=0.35 + longest * SMALL * GLYPH / 72)
    centres, _ = draw_grid(ax, grid)
    label_rows(ax, centres, names)
    return figure


@drawn
def neighbours(images: Array, nearest: Array, distance: Array, title: str, blocks: int = 2) -> Figure:
    """Images (N, H, W, C), each with its nearest ones (N, k, H, W, C) at its right, the distance (N, k) under each."""
    grid = np.concatenate((images[:, None], nearest), axis=1)
    height = -(-len(grid) // blocks)
    inches = (WIDTH / blocks - 0.2) / grid.shape[1] * grid.shape[2] / grid.shape[3]
    figure = blank(WIDTH, 0.2 + height * (inches + 0.25), title)
    figure.set_layout_engine("constrained", wspace=0.06)
    axes = figure.subplots(height, blocks, squeeze=False)
    for number, ax in enumerate(axes.T.flat):
        if number >= len(grid):
            ax.axis("off")
            continue
        _, columns = draw_grid(ax, grid[number][None], wide_columns=(1,))
        label_columns(ax, columns, ["sample", *(f"{value:.3f}" for value in distance[number])])
    return figure
