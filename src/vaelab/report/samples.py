"""Pictures of samples: those of all models side by side, and what each GAN makes of noise."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from vaelab.report import rows
from vaelab.report.arrays import Array
from vaelab.report.pictures import Matrix, Strip, strip_of
from vaelab.report.record import Record
from vaelab.report.records import Section
from vaelab.report.rows import Gallery
from vaelab.report.side_by_side import compared

SAMPLES = 16  # of one row
ROWS = 24  # of one matrix
FITTED = "fitted Gaussian"


def side_by_side(section: Section, scale: float) -> Matrix | None:
    """Samples of each run that is compared, below real images; None where there is nothing to compare."""
    runs = compared(section)
    found = {run.name: _of_run(section, run, scale) for run in runs}
    there = [row for row in found.values() if row]
    if not there:
        return None
    left_out = tuple(section.labels[name] for name, row in found.items() if not row)
    return Matrix("side-by-side", "Samples", (*_real(section, runs, scale), *there), left_out)


def gallery(section: Section, scale: float, record: Record) -> Gallery:
    """What a run alone makes, and the samples of a GAN by epoch."""
    found = rows.gallery(section, scale, record)
    strips = tuple(
        strip_of(record.name, label, images, columns, scale) for label, images, columns in _epochs(record)
    )
    if not strips:
        return found
    return replace(found, matrices=(Matrix("epochs", "Samples by epoch", strips), *found.matrices))


def _of_run(section: Section, record: Record, scale: float) -> Strip | None:
    """The row of a run's samples, where its files hold some."""
    label = section.labels[record.name]
    has_prior = record.has_prior
    for name, key in (
        ("samples", "image"),
        ("prior_samples", "image" if has_prior else "aggregate_image"),
        ("nearest_neighbours", "image"),
    ):
        stored = record.arrays(name, key)
        if stored:
            images = stored[key][:SAMPLES]
            labels = record.arrays(name, "label", "image").get("label") if name == "samples" else None
            columns = _sample_names(section, len(images), labels)
            return strip_of(record.name, label if has_prior else f"{label}, {FITTED}", images, columns, scale)
    return None


def _real(section: Section, runs: Sequence[Record], scale: float) -> Iterator[Strip]:
    """A row of real images: test images, or else those that are nearest to a run's samples."""
    for name, key in (
        ("reconstructions", "original"),
        ("atlas", "original"),
        ("nearest_neighbours", "neighbour"),
    ):
        for record in runs:
            stored = record.arrays(name, key)
            if not stored:
                continue
            is_test = key == "original"
            images = stored[key] if is_test else stored[key][:, 0]
            of = "test images" if is_test else f"training images nearest to {section.labels[record.name]}"
            columns = [f"real image {i + 1}" for i in range(len(images[:SAMPLES]))]
            yield strip_of("", of, images[:SAMPLES], columns, scale)
            return


def _epochs(record: Record) -> Iterator[tuple[str, Array, Sequence[str]]]:
    """The same noise at each epoch of a snapshot; other noise, of another seed, is left out."""
    found = {}
    for epoch in record.snapshots("samples"):
        name = f"samples/epoch_{epoch:04d}"
        if stored := record.arrays(name, "z"):
            found[epoch] = (name, stored["z"][:SAMPLES].copy())
    if not found:
        return
    _, last = found[max(found)]
    same = [epoch for epoch, (_, z) in sorted(found.items()) if np.array_equal(z, last, equal_nan=True)]
    for place in np.unique(np.linspace(0, len(same) - 1, ROWS).round().astype(int)):
        name, _ = found[same[place]]
        images = record.arrays(name, "image").get("image", np.empty(0))[:SAMPLES]
        if len(images):
            yield f"epoch {same[place]}", images, [f"sample {i + 1}" for i in range(len(images))]


def _sample_names(section: Section, count: int, labels: Array | None) -> list[str]:
    of = [f", {section.class_name(int(n))}" for n in labels[:count]] if labels is not None else [""] * count
    return [f"sample {i + 1}{name}" for i, name in enumerate(of)]
