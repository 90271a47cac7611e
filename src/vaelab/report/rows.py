"""Rows of images as the views of any evaluation describe them: below each other over the runs, or run by run."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np

from vaelab.report.arrays import Array
from vaelab.report.pictures import Matrix, Strip, strip_of
from vaelab.report.record import Record
from vaelab.report.records import Section
from vaelab.views import FIELD, Rows

Made = TypeVar("Made")
PROBES = 12  # images of a row that is compared over runs
MOST_CHOSEN = 20  # of rows of the same images, which somebody has chosen
COLUMNS = 16  # of a run's own row
MOST_ROWS = 24  # of a run's own matrix
MOST_GROUPS = 4  # rows of an array of several that are compared, each a matrix of its own
FRAMES = 8  # earlier epochs
BRIGHT = 99.5  # per cent of all differences, which are drawn no brighter than white
LEAST = 1e-3  # a difference that is drawn as white at least


@dataclass(frozen=True)
class Gallery:
    """What one run alone makes."""

    run: str
    label: str
    matrices: tuple[Matrix, ...]


@dataclass(frozen=True)
class RunRows:
    """The rows of one run in a matrix over runs, and what is alike in the runs that belong there."""

    id: str
    title: str
    strips: tuple[Strip, ...]
    above: Strip | None
    key: tuple[object, ...]
    note: str
    evaluation: str = ""
    epoch: int | None = None  # of a snapshot


@dataclass(frozen=True)
class Images:
    """What a view shows of one file of arrays, which has rows before columns here, with its captions."""

    section: Section
    view: Rows
    arrays: Mapping[str, Array]

    @property
    def is_several(self) -> bool:
        """Whether there are several rows."""
        return self.arrays[self.view.images].ndim == 5

    @property
    def rows(self) -> Array:
        """(rows, columns, H, W, C)."""
        images = self.arrays[self.view.images]
        return images if self.is_several else images[None]

    def label(self, row: int) -> str:
        """The caption of a row."""
        return self._text(self.view.rows, row, None) if self.is_several else self.view.title

    def captions(self, row: int, most: int) -> list[str]:
        """Those of the first images of a row."""
        columns = range(min(most, self.rows.shape[1]))
        return [self._text(self.view.columns, row if self.is_several else None, column) for column in columns]

    def key(self, row: int | None = None) -> tuple[object, ...]:
        """What is alike in runs that are compared, of all rows or of one."""
        arrays = (self.arrays[name] if row is None else self.arrays[name][row] for name in self.view.key)
        parts = ((array.shape, np.ascontiguousarray(array, np.float32).tobytes()) for array in arrays)
        return (*parts, self.rows.shape[1:])

    def _text(self, template: str, row: int | None, column: int | None) -> str:
        def fill(field: re.Match[str]) -> str:
            before, name, after = field.groups()
            value = self._value(name, row, column)
            return "" if value is None else before + value + after

        return FIELD.sub(fill, template)

    def _value(self, name: str, row: int | None, column: int | None) -> str | None:
        array, count = self.arrays.get(name), self.rows.shape[1]
        if name == "number":
            return str((row if column is None else column) + 1)  # type: ignore[operator]
        if name == "t":
            return f"{np.linspace(0, 1, count)[column]:.2g}" if column is not None else None
        if array is None:
            return None
        if self.view.columns_first and array.ndim == 1 and column is not None:
            row = None
        if row is not None and array.ndim == 2 and row < len(array) and array.shape[1] >= count:
            value = array[row, :count].mean() if column is None else array[row, column]
        else:
            place = column if row is None else row
            if place is None or place >= len(array):
                return None
            value = array[place]
        if array.dtype.kind == "f" and np.isnan(value).all():
            return None
        if name == "label" and array.dtype.kind in "iu" and np.ndim(value) == 0:
            return self.section.class_name(int(value))
        return " and ".join(
            f"{v:.3g}" if array.dtype.kind == "f" else str(v) for v in np.ravel(value).tolist()
        )


def comparable_rows(section: Section, scale: float, record: Record) -> list[RunRows]:
    """The rows of a run that are compared with those of others, now and at earlier epochs."""
    return [
        replace(one, id=identity + one.id, evaluation=evaluation, epoch=epoch)
        for evaluation, identity, view in _views(record)
        if view.key
        for epoch, file in _files(record, evaluation)
        for one in _attempt(section, record, file, view, partial(_run_rows, scale, record))
    ]


def _views(record: Record) -> Iterator[tuple[str, str, Rows]]:
    """Each view of rows, with its evaluation and a name."""
    for evaluation, views in record.views.items():
        for place, view in enumerate(views):
            if isinstance(view, Rows):
                yield evaluation, f"{evaluation}.{place}" if place else evaluation, view


def _files(record: Record, evaluation: str) -> Iterator[tuple[int | None, str]]:
    """The file of an evaluation's arrays, then those of at most FRAMES epochs that it has kept, spread evenly."""
    yield None, evaluation
    epochs = record.snapshots(evaluation)
    places = np.linspace(0, len(epochs) - 1, min(FRAMES, len(epochs))).round().astype(int)
    for epoch in (epochs[place] for place in np.unique(places)):
        yield epoch, f"{evaluation}/epoch_{epoch:04d}"


def _attempt(
    section: Section, record: Record, file: str, view: Rows, call: Callable[[Images], list[Made]]
) -> list[Made]:
    """What a call makes of a view's images in a file; nothing where there are none, or where it fails."""
    stored = record.view_arrays(file, view)
    turned = {view.images, view.beside, *view.arrays} if view.columns_first else set()
    arrays = {k: v.swapaxes(0, 1) if k in turned and v.ndim in (2, 5) else v for k, v in stored.items()}
    return (record.attempt(file, partial(call, Images(section, view, arrays))) or []) if stored else []


def _run_rows(scale: float, record: Record, images: Images) -> list[RunRows]:
    """One of each row of several, or one of all rows where they are of the same images."""
    view, label = images.view, images.section.labels[record.name]
    above, beside = images.arrays.get(view.above), images.arrays.get(view.beside)
    heads = partial(images.captions, most=MOST_CHOSEN if view.columns_first else PROBES)
    if view.columns_first:
        chosen = enumerate(images.rows[:MOST_ROWS])
        rows = [(f"{label} · {images.label(n)}", row, heads(n)) for n, row in chosen]
        groups = [("", view.title, rows, images.key())]
    elif images.is_several:
        groups = [
            (f"-{n}", f"{view.title} {n + 1}", [(label, row, heads(n))], images.key(n))
            for n, row in enumerate(images.rows[:MOST_GROUPS])
        ]
    else:
        second = [] if beside is None else [(f"{label}, {view.beside_title}", beside, heads(0))]
        groups = [("", view.title, [(label, images.rows[0], heads(0)), *second], images.key())]
    return [
        RunRows(
            identity,
            title,
            tuple(strip_of(record.name, *row, scale) for row in rows),
            None if above is None else strip_of("", view.above_title, above, rows[0][2], scale),
            key,
            "" if beside is None else view.beside_note,
        )
        for identity, title, rows, key in groups
    ]


def matrices(section: Section, scale: float, found: Sequence[Sequence[RunRows]]) -> Iterator[Matrix]:
    """The matrices over runs: of each kind the rows with the most frequent key, and how they differ."""
    every = [one for of_run in found for one in of_run]
    for kind in dict.fromkeys(one.id for one in every if one.epoch is None):
        rows = [one for one in every if one.id == kind and one.epoch is None]
        keys = [one.key for one in rows]
        common = max(keys, key=keys.count)
        same = [one for one in rows if one.key == common]
        above, strips = same[0].above, [strip for one in same for strip in one.strips]
        there, name = {strip.run for strip in strips}, same[0].evaluation
        left_out = tuple(section.labels[r.name] for r in section.records if _lacks(r, name, there))
        frames = tuple(_frames([one for one in every if one.id == kind and one.key == common], above))
        note = next((one.note for one in same if one.note), "")
        is_first = not re.search(r"-[1-9]\d*$", kind)
        yield Matrix(kind, same[0].title, _below(above, strips), left_out, frames, note, on_paper=is_first)
        if above is not None and len(there) == len(strips):  # one row of each run
            yield from _differences(section, scale, kind, above, strips)


def _frames(same: Sequence[RunRows], above: Strip | None) -> Iterator[tuple[str, Matrix]]:
    """The rows at each epoch that some run has kept."""
    for epoch in sorted({one.epoch for one in same if one.epoch is not None}):
        of_epoch = [one for one in same if one.epoch == epoch]
        strips = [strip for one in of_epoch for strip in one.strips]
        yield f"epoch {epoch}", Matrix(f"{same[0].id}@{epoch}", same[0].title, _below(above, strips))


def _below(above: Strip | None, strips: Sequence[Strip]) -> tuple[Strip, ...]:
    return tuple(strips) if above is None else (above, *strips)


def gallery(section: Section, scale: float, record: Record) -> Gallery:
    """The matrices of a run's views that are compared with nothing, now and at earlier epochs."""
    found = []
    for evaluation, identity, view in _views(record):
        matrices = []
        for epoch, file in _files(record, evaluation) if not view.key else ():
            strips = _attempt(section, record, file, view, partial(_gallery_strips, scale, record))
            if not strips and epoch is None:
                break
            if strips:
                matrix = Matrix(identity, view.title, tuple(strips), on_paper=bool(view.beside))
                matrices.append((f"epoch {epoch}", matrix))
        if matrices:
            (_, now), *earlier = matrices
            found.append(replace(now, frames=tuple(earlier)))
    return Gallery(record.name, section.labels[record.name], tuple(found))


def _gallery_strips(scale: float, record: Record, images: Images) -> list[Strip]:
    """Each row, below what all share, and above its difference from what stands beside it."""
    view = images.view
    above, beside = images.arrays.get(view.above), images.arrays.get(view.beside)
    rows = images.rows[:MOST_ROWS]
    heads = [images.captions(number, COLUMNS) for number in range(len(rows))]
    strips = []

    def add(label: str, row: Array, captions: Sequence[str]) -> None:
        strips.append(strip_of(record.name, label, row, captions, scale))

    if above is not None:
        counted = [f"{view.above_title} {i + 1}" for i in range(min(COLUMNS, len(above)))]
        add(view.above_title, above, counted if beside is None else heads[0])
    if beside is not None and beside.ndim == 4:
        add(view.beside_title, beside, heads[0])
    apart = None if beside is None else np.abs(rows - (beside if beside.ndim == 4 else beside[:MOST_ROWS]))
    gain = 1 if apart is None else 1 / max(LEAST, float(apart.max(initial=0)))
    for number, row in enumerate(rows):
        label = images.label(number)
        add(label, row, heads[number])
        if apart is not None:
            add(f"{label}: difference × {gain:.2g}", gain * apart[number], heads[number])
    return strips


def _lacks(record: Record, name: str, there: set[str]) -> bool:
    """Whether a run could have had rows of this evaluation, and has none that are alike."""
    has_file = (record.folder / "arrays" / f"{name}.npz").exists()
    return (has_file or name in record.evaluations) and record.name not in there


def _differences(
    section: Section, scale: float, kind: str, above: Strip, strips: Sequence[Strip]
) -> Iterator[Matrix]:
    """How far each row is from what stands above all of them, and from the row of the best ELBO."""
    yield _difference(f"{kind}-error", "|x − x̂|", scale, strips, above)
    if len(strips) < 2:
        return
    elbo = {record.name: record.rank("elbo") for record in section.records}
    best = max(strips, key=lambda strip: elbo[strip.run])
    others = [strip for strip in strips if strip is not best]
    yield _difference(f"{kind}-to-best", f"difference to {best.label}", scale, others, best)


def _difference(identity: str, title: str, scale: float, strips: Sequence[Strip], other: Strip) -> Matrix:
    apart = [np.abs(strip.images.astype(np.float32) - other.images) / np.float32(255) for strip in strips]
    gain = max(1, round(1 / max(LEAST, float(np.percentile(np.stack(apart), BRIGHT)))))
    rows = [
        strip_of(strip.run, strip.label, gain * values, strip.columns, scale)
        for strip, values in zip(strips, apart, strict=True)
    ]
    return Matrix(identity, title + (f", {gain} times as bright" if gain > 1 else ""), (other, *rows))
