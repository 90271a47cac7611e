"""What every evaluation reads and returns, and the few steps that several of them share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from vaelab import UsageError, metrics

if TYPE_CHECKING:
    from vaelab.canvas import Drawing
    from vaelab.moving import Moving


AT_ONCE = 256  # images that are chosen from a split, or measured, in one go
MOST_KEPT = 2**24  # values of the test split's means: 128 MB with as many variances


class Batch(Protocol):
    """Images (B, C, H, W) in [0, 1], labels (B,) or None, and rows (B,) of the data set."""

    @property
    def images(self) -> Tensor: ...
    @property
    def labels(self) -> Tensor | None: ...
    @property
    def index(self) -> Any: ...


@runtime_checkable
class Indexed(Protocol):
    """Batches of a split, any of whose images can be had without the others."""

    size: int

    def at(self, places: Tensor) -> Batch: ...


@dataclass(frozen=True)
class Context:
    """Everything that an evaluation may read."""

    model: nn.Module
    loss: nn.Module
    batches: Callable[
        [str], Iterable[Batch]
    ]  # a split's name -> its batches in index order, on the model's device
    classes: tuple[str, ...]
    history: list[dict[str, float | int | str]]  # the rows of metrics.csv
    title: str  # of the run: every figure's title says what the figure is, then this
    unfinished: Path | None = None  # the folder in which long evaluations keep what they have computed so far
    # The test split's codes by chunk, once an evaluation has had them all (see encoded).
    kept: list[Any] = field(default_factory=list, init=False, compare=False, repr=False)

    def noise(self, seed: int) -> torch.Generator:
        """A generator on the model's device."""
        return torch.Generator(next(self.model.parameters()).device).manual_seed(seed)


@dataclass(frozen=True)
class Result:
    """What an evaluation found: arrays and how to draw them, metrics by name, sentences.

    `draw` can be pickled: a process that has neither the model nor torch draws the figure, so it is a partial of a
    function of vaelab.canvas, or of a user's module, and arrays.
    """

    arrays: dict[str, np.ndarray]
    draw: Drawing | None
    metrics: dict[str, float] = field(default_factory=dict)
    findings: tuple[str, ...] = ()
    plain: dict[str, np.ndarray] = field(default_factory=dict)  # written one by one as .npy too
    facts: dict[str, Any] = field(default_factory=dict)  # entries of run.json
    moving: Moving | None = None  # the figure as a GIF


class Begun(NamedTuple):
    """An evaluation whose rest takes long and needs no model: what can be computed elsewhere, and the result of that.

    An evaluation that can be left so has a method begin(context), which gives this, or at once a Result.
    """

    compute: Callable[[], Any]  # can be pickled, as what it gives
    complete: Callable[[Any], Result]


class Later:
    """An evaluation with a method begin(), called as any other."""

    begin: Callable[[Any], Result | Begun]

    def __call__(self, context: Context) -> Result:
        begun = self.begin(context)
        return begun if isinstance(begun, Result) else begun.complete(begun.compute())


@dataclass(frozen=True)
class Images:
    """Some images of a split: (N, C, H, W), with labels (N,) or None, and rows (N,) of the data set."""

    images: Tensor
    labels: Tensor | None
    index: Tensor


def evaluated(evaluation: Callable[[Context], Result], context: Context) -> Result:
    """What an evaluation finds, without metrics that are no finite numbers, which a finding names."""
    return without_lost(evaluation(context))


def without_lost(result: Result) -> Result:
    """The result without metrics that are no finite numbers, which a finding names."""
    finite = {name: value for name, value in result.metrics.items() if math.isfinite(value)}
    lost = [name for name in result.metrics if name not in finite]
    if not lost:
        return result
    told = f"not measured, for the model's output is not finite: {', '.join(lost)}"
    return replace(result, metrics=finite, findings=(*result.findings, told))


def measure(model: Any, batch: Batch) -> dict[str, Tensor]:
    """MSE and PSNR of a batch's reconstructions from the posterior mean, averaged over its images."""
    with torch.no_grad():
        reconstruction = reconstruct(model, batch.images, batch.labels)
        measured = metrics.of_images(batch.images, reconstruction, structure=False)
        return {name: values.mean() for name, values in measured.items()}


def reconstruct(model: Any, images: Tensor, labels: Tensor | None = None) -> Tensor:
    """Decodes the posterior mean, without noise: (B, C, H, W) to the same."""
    return model.decode(model.encode(images, labels).mean, labels)


def repeated(labels: Tensor | None, count: int) -> Tensor | None:
    """Each label so many times in a row: (N,) to (N * count,)."""
    return None if labels is None else labels.repeat_interleave(count)


def encoded(context: Context, split: str = "test") -> Iterator[tuple[Images, Any]]:
    """The images of a split in chunks of one size, with their codes.

    Those of the test split are computed once where all of them are small enough to keep.
    """
    is_kept = split == "test"
    if is_kept and context.kept:
        yield from zip(in_chunks(context.batches(split)), context.kept, strict=True)
        return
    codes, values = [], 0
    for batch in in_chunks(context.batches(split)):
        code = context.model.encode(batch.images, batch.labels)  # type: ignore[operator]
        values += code.mean.numel()
        if is_kept and values <= MOST_KEPT:
            codes.append(code)
        else:
            codes.clear()
        yield batch, code
    if is_kept:
        context.kept[:] = codes


def spread_images(context: Context, split: str, count: int) -> Images:
    """Images spread evenly over a split, for many are sorted by class; raises UsageError as size_of."""
    return joined([*images_of(context, split, spread(size_of(context, split), count))])


def images_of(context: Context, split: str, places: Tensor) -> Iterator[Images]:
    """The images at these places of a split, in ascending order, some at a time."""
    return (_rows(batch, inside) for batch, inside in chosen(context, split, places))


def in_chunks(batches: Iterable[Batch], size: int | None = None) -> Iterator[Images]:
    """The images of batches in chunks of one size, so that what is drawn for a chunk does not depend on the batches."""
    held: list[Images] = []
    size = size or AT_ONCE
    room = size
    for batch in batches:
        start = 0
        while start < len(batch.images):
            held.append(_rows(batch, slice(start, start + room)))
            start, room = start + len(held[-1].images), room - len(held[-1].images)
            if not room:
                yield joined(held)
                held, room = [], size
    if held:
        yield joined(held)


def _rows(batch: Batch, rows: Tensor | slice) -> Images:
    labels = None if batch.labels is None else batch.labels[rows]
    return Images(batch.images[rows], labels, torch.as_tensor(batch.index)[rows])


def joined(parts: Sequence[Images]) -> Images:
    """All images of the parts, of which there is at least one."""
    if len(parts) == 1:
        return parts[0]
    labels = [part.labels for part in parts if part.labels is not None]
    images, index = (torch.cat([getattr(part, name) for part in parts]) for name in ("images", "index"))
    return Images(images, torch.cat(labels) if labels else None, index)


def chosen(context: Context, split: str, places: Tensor) -> Iterator[tuple[Batch, Tensor]]:
    """Batches of a split, each with which of its images stand at these places of the split, in ascending order."""
    batches = context.batches(split)
    if isinstance(batches, Indexed):
        for part in places.split(AT_ONCE):
            batch = batches.at(part)
            yield batch, torch.arange(len(part), device=batch.images.device)
        return
    start = 0
    for batch in batches:
        yield batch, within(places, start, batch)
        start += len(batch.images)


def within(places: Tensor, start: int, batch: Batch) -> Tensor:
    """Which images of a batch, whose first has the place `start` in its split, stand at these places."""
    inside = places[(places >= start) & (places < start + len(batch.images))] - start
    return inside.to(batch.images.device)


def size_of(context: Context, split: str) -> int:
    """How many images a split has; raises UsageError where it has none."""
    batches = context.batches(split)
    total = batches.size if isinstance(batches, Indexed) else sum(len(batch.images) for batch in batches)
    if total == 0:
        raise UsageError(f"evaluation: the {split} split has no image; use a data set of more images")
    return total


def spread(total: int, count: int) -> Tensor:
    """At most `count` places among `total`, spread evenly from the first to the last."""
    return torch.linspace(0, total - 1, min(count, total)).round().long()


def refuse_missing_rows(name: str, rows: Sequence[int], first: int, count: int) -> None:
    """Raises UsageError for a row that a data set of `count` images, counted from `first`, has not."""
    for row in rows:
        if not first <= row < first + count:
            raise UsageError(
                f"evaluation.{name}: index={row} is no image of the data set: use {first} to {first + count - 1}"
            )


def images_at(
    context: Context, rows: Sequence[int], splits: Sequence[str] = ("train", "val", "test")
) -> Images:
    """The images of these rows of the data set, in this order; raises KeyError for rows that no split has."""
    found: dict[int, tuple[Tensor, Tensor | None]] = {}
    wanted = set(rows)
    for split in splits:
        for batch in context.batches(split):
            for place, row in enumerate(torch.as_tensor(batch.index).tolist()):
                if row in wanted:
                    found[row] = batch.images[place], None if batch.labels is None else batch.labels[place]
    labels = [found[row][1] for row in rows]
    stacked = torch.stack([label for label in labels if label is not None]) if labels[0] is not None else None
    return Images(torch.stack([found[row][0] for row in rows]), stacked, torch.tensor(rows))


def images_array(images: Tensor) -> np.ndarray:
    """(..., C, H, W) to (..., H, W, C) float32 in [0, 1]; what is no number is black."""
    return np.ascontiguousarray(images.float().nan_to_num(0.0).clamp(0, 1).movedim(-3, -1).cpu().numpy())


def noise(shape: tuple[int, ...], seed: int, like: Tensor) -> Tensor:
    """Standard normal numbers that do not depend on the device."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(like.device)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds torch's own generators for what samples inside, and puts them back."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
