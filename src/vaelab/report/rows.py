"""Rows of images as the views of any evaluation describe them: below each other over the runs, or run by run."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from vaelab.report.arrays import Array
from vaelab.report.pictures import Matrix, Strip, strip_of
from vaelab.report.record import Record
from vaelab.report.records import Section
from vaelab.views import FIELD, Rows

PROBES = 12  # images of a row that is compared over runs
CHOSEN = 20  # of rows of the same images, which somebody has chosen
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
class Compared:
    """The rows of one run in a matrix over runs, and what is alike in the runs that belong there."""

    id: str
    title: str
    strips: tuple[Strip, ...]
    above: Strip | None
    key: tuple[object, ...]
    note: str
    evaluation: str = ""
    epoch: int | None = None  # of a snapshot


def compared(section: Section, scale: float, record: Record) -> list[Compared]:
    """The rows of a run that are compared with those of others, now and at earlier epochs."""
    found: list[Compared] = []
    for name, place, view in _views(record):
        for epoch in [None, *_some(record.snapshots(name))] if view.key else []:
            file = name if epoch is None else f"{name}/epoch_{epoch:04d}"
            rows = record.tried(file, partial(_alike, section, scale, record, view, file)) or []
            found += (
                replace(one, id=_id(name, place) + one.id, evaluation=name, epoch=epoch) for one in rows
            )
    return found


def _id(name: str, place: int) -> str:
    return f"{name}.{place}" if place else name


def _some(epochs: Sequence[int]) -> list[int]:
    """At most FRAMES of them, spread evenly."""
    places = np.linspace(0, len(epochs) - 1, min(FRAMES, len(epochs)))
    return [epochs[place] for place in np.unique(places.round().astype(int))]


def _alike(section: Section, scale: float, record: Record, view: Rows, file: str) -> list[Compared]:
    """Those of one file of arrays, of which each row of several is one, or all where they are of the same images."""
    stored = _rows_first(view, record.viewed(file, view))
    if not stored:
        return []
    images, label = stored[view.images], section.labels[record.name]
    several, together = images.ndim == 5, view.columns_first
    own = several and not together
    beside, above = stored.get(view.beside), stored.get(view.above)
    most, groups = (CHOSEN, MOST_ROWS) if together else (PROBES, MOST_GROUPS)
    note = view.beside_note if beside is not None else ""
    found: list[Compared] = []
    for number, group in enumerate(images[:groups] if several else images[None]):
        place = number if several else None
        heads = _captions(view, stored, place, len(group), section)[:most]
        row = [_text(view.rows, view, stored, place, None, len(group), section)] if together else []
        strips = [strip_of(record.name, " · ".join([label, *row]), group[:most], heads, scale)]
        if beside is not None and not several:
            name = f"{label}, {view.beside_title}"
            strips.append(strip_of(record.name, name, beside[:most], heads, scale))
        shared = None if above is None else strip_of("", view.above_title, above[:most], heads, scale)
        key = tuple(_key(stored[name][number] if own else stored[name]) for name in view.key)
        of_several = (f"-{number}", f"{view.title} {number + 1}") if own else ("", view.title)
        found.append(Compared(*of_several, tuple(strips), shared, (*key, group.shape), note))
    return [replace(found[0], strips=tuple(s for one in found for s in one.strips))] if together else found


def _rows_first(view: Rows, stored: Mapping[str, Array]) -> Mapping[str, Array]:
    """The arrays with the axis of rows before that of columns."""
    if not stored or not view.columns_first or stored[view.images].ndim != 5:
        return stored
    turned = {view.images, view.beside, *view.arrays}
    return {key: v.swapaxes(0, 1) if key in turned and v.ndim in (2, 5) else v for key, v in stored.items()}


def matrices(section: Section, scale: float, found: Sequence[Sequence[Compared]]) -> Iterator[Matrix]:
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


def _frames(same: Sequence[Compared], above: Strip | None) -> Iterator[tuple[str, Matrix]]:
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
    for name, place, view in _views(record):
        if view.key:
            continue

        def matrix(file: str, view: Rows = view, identity: str = _id(name, place)) -> Matrix | None:
            strips = record.tried(file, partial(_own_strips, section, scale, record, file, view))
            return Matrix(identity, view.title, strips, on_paper=bool(view.beside)) if strips else None

        if now := matrix(name):
            epochs = _some(record.snapshots(name))
            frames = [(f"epoch {n}", m) for n in epochs if (m := matrix(f"{name}/epoch_{n:04d}"))]
            found.append(replace(now, frames=tuple(frames)))
    return Gallery(record.name, section.labels[record.name], tuple(found))


def _own_strips(section: Section, scale: float, record: Record, file: str, view: Rows) -> tuple[Strip, ...]:
    stored = _rows_first(view, record.viewed(file, view))
    return tuple(
        strip_of(record.name, label, images[:COLUMNS], heads[:COLUMNS], scale)
        for label, images, heads in (_own_rows(section, view, stored) if stored else ())
    )


def _views(record: Record) -> Iterator[tuple[str, int, Rows]]:
    for name, views in record.views.items():
        yield from ((name, place, view) for place, view in enumerate(views) if isinstance(view, Rows))


def _lacks(record: Record, name: str, there: set[str]) -> bool:
    """Whether a run could have had rows of this evaluation, and has none that are alike."""
    has_file = (record.folder / "arrays" / f"{name}.npz").exists()
    return (has_file or name in record.evaluations) and record.name not in there


def _differences(
    section: Section, scale: float, kind: str, above: Strip, strips: Sequence[Strip]
) -> Iterator[Matrix]:
    """How far each row is from what stands above all of them, and from the row of the best ELBO."""
    yield _apart(f"{kind}-error", "|x − x̂|", scale, strips, above)
    if len(strips) < 2:
        return
    elbo = {record.name: record.rank("elbo") for record in section.records}
    best = max(strips, key=lambda strip: elbo[strip.run])
    others = [strip for strip in strips if strip is not best]
    yield _apart(f"{kind}-to-best", f"difference to {best.label}", scale, others, best)


def _apart(identity: str, title: str, scale: float, strips: Sequence[Strip], other: Strip) -> Matrix:
    apart = [np.abs(strip.images.astype(np.float32) - other.images) / np.float32(255) for strip in strips]
    gain = max(1, round(1 / max(LEAST, float(np.percentile(np.stack(apart), BRIGHT)))))
    rows = [
        strip_of(strip.run, strip.label, gain * values, strip.columns, scale)
        for strip, values in zip(strips, apart, strict=True)
    ]
    return Matrix(identity, title + (f", {gain} times as bright" if gain > 1 else ""), (other, *rows))


def _own_rows(
    section: Section, view: Rows, stored: Mapping[str, Array]
) -> Iterator[tuple[str, Array, list[str]]]:
    """Label, images and captions of each row."""
    images, beside, above = stored[view.images], stored.get(view.beside), stored.get(view.above)
    several = images.ndim == 5
    rows = images[:MOST_ROWS] if several else images[None]
    heads = [_captions(view, stored, n if several else None, len(row), section) for n, row in enumerate(rows)]
    if above is not None:
        counted = [f"{view.above_title} {i + 1}" for i in range(len(above))]
        yield view.above_title, above, counted if beside is None else heads[0]
    beside = beside[:MOST_ROWS] if beside is not None and beside.ndim == 5 else beside
    if beside is not None and beside.ndim == 4:
        yield view.beside_title, beside, heads[0]
    apart = np.abs(rows - beside) if beside is not None else None
    gain = 1 if apart is None else 1 / max(LEAST, float(apart.max(initial=0)))
    for n, row in enumerate(rows):
        label = _text(view.rows, view, stored, n, None, len(row), section) if several else view.title
        yield label, row, heads[n]
        if apart is not None:
            yield f"{label}: difference × {gain:.2g}", gain * apart[n], heads[n]


def _captions(
    view: Rows, stored: Mapping[str, Array], row: int | None, count: int, section: Section
) -> list[str]:
    return [_text(view.columns, view, stored, row, column, count, section) for column in range(count)]


def _text(
    template: str,
    view: Rows,
    stored: Mapping[str, Array],
    row: int | None,
    column: int | None,
    count: int,
    section: Section,
) -> str:
    """A caption of an image, or of a row where there is no column."""

    def filled(found: re.Match[str]) -> str:
        before, name, after = found.groups()
        array = stored.get(name)
        of_column = view.columns_first and array is not None and array.ndim == 1 and column is not None
        value = _value(name, array, None if of_column else row, column, count, section)
        return "" if value is None else before + value + after

    return FIELD.sub(filled, template)


def _value(
    name: str, array: Array | None, row: int | None, column: int | None, count: int, section: Section
) -> str | None:
    if name == "number":
        return str((row if column is None else column) + 1)  # type: ignore[operator]
    if name == "t":
        return f"{np.linspace(0, 1, count)[column]:.2g}" if column is not None else None
    if array is None:
        return None
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
        return section.class_name(int(value))
    return " and ".join(f"{v:.3g}" if array.dtype.kind == "f" else str(v) for v in np.ravel(value).tolist())


def _key(array: Array) -> object:
    return array.shape, np.ascontiguousarray(array, np.float32).tobytes()
