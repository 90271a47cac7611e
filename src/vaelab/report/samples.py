"""Pictures of samples: those of all models side by side, and what each GAN makes of noise."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vaelab.report.pictures import Matrix, Strip, strip_of
from vaelab.report.records import Array, Record, Section
from vaelab.report.side_by_side import compared

SAMPLES = 16  # of one row
ROWS = 24  # of one matrix
NEIGHBOURS = 3  # training images below each sample
FITTED = "fitted Gaussian"


@dataclass(frozen=True)
class Gallery:
    """What one GAN makes: classes, ways between noise vectors, epochs, nearest training images."""

    run: str
    label: str
    matrices: tuple[Matrix, ...]


def side_by_side(section: Section, scale: float) -> Matrix | None:
    """Samples of each run that is compared, below real images; None where there is nothing to compare."""
    runs = compared(section)
    found = {run.name: _of_run(section, run, scale) for run in runs}
    rows = [row for row in found.values() if row]
    if not rows:
        return None
    left_out = tuple(section.labels[name] for name, row in found.items() if not row)
    return Matrix("side-by-side", "Samples", (*_real(section, runs, scale), *rows), left_out)


def gallery(section: Section, scale: float, record: Record) -> Gallery:
    """The matrices of a GAN; without any for other models."""
    matrices = []
    for kind, title, rows in (
        ("class_pairs", "The same noise as each class", _class_pairs(section, record)),
        ("z_interpolations", "From noise to noise", _interpolations(section, record)),
        ("epochs", "Samples by epoch", _epochs(record)),
        ("neighbours", "Nearest training images", _neighbours(record)),
    ):
        strips = tuple(
            strip_of(record.name, label, images, columns, scale) for label, images, columns in rows
        )
        if strips and (record.kind == "GAN" or kind == "class_pairs"):
            matrices.append(Matrix(kind, title, strips))
    return Gallery(record.name, section.labels[record.name], tuple(matrices))


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


# ---- the matrices of a GAN: label, images and columns of each row

Rows = Iterator[tuple[str, Array, Sequence[str]]]


def _class_pairs(section: Section, record: Record) -> Rows:
    stored = record.arrays("class_pairs", "image", "label")
    for images, number in list(zip(*(stored.get(k, ()) for k in ("image", "label")), strict=True))[:ROWS]:
        yield _class(section, int(number)), images, [f"noise {i + 1}" for i in range(len(images))]


def _interpolations(section: Section, record: Record) -> Rows:
    images = record.arrays("z_interpolations", "image").get("image", np.empty(0))[:ROWS]
    labels = record.arrays("z_interpolations", "label", "image").get("label")
    for pair, row in enumerate(images):
        of = f": {_class(section, int(labels[pair]))}" if labels is not None else ""
        yield f"pair {pair + 1}{of}", row, [f"t = {t:.2g}" for t in np.linspace(0, 1, len(row))]


def _epochs(record: Record) -> Rows:
    """The same noise at each epoch of a snapshot; other noise, of another seed, is left out."""
    found = {}
    for file in sorted((record.folder / "arrays" / "samples").glob("epoch_*.npz")):
        epoch = re.fullmatch(r"epoch_(\d{1,9})", file.stem)
        stored = record.arrays(f"samples/{file.stem}", "z") if epoch else {}
        if epoch and stored:
            found[int(epoch[1])] = (f"samples/{file.stem}", stored["z"][:SAMPLES].copy())
    if not found:
        return
    _, last = found[max(found)]
    same = [epoch for epoch, (_, z) in sorted(found.items()) if np.array_equal(z, last, equal_nan=True)]
    for place in np.unique(np.linspace(0, len(same) - 1, ROWS).round().astype(int)):
        name, _ = found[same[place]]
        images = record.arrays(name, "image").get("image", np.empty(0))[:SAMPLES]
        if len(images):
            yield f"epoch {same[place]}", images, [f"sample {i + 1}" for i in range(len(images))]


def _neighbours(record: Record) -> Rows:
    stored = record.arrays("nearest_neighbours", "image", "neighbour", "distance", "index")
    if not stored:
        return
    count = min(SAMPLES, len(stored["image"]), len(stored["index"]))
    images, neighbours, distance, index = (
        stored[key][:count] for key in ("image", "neighbour", "distance", "index")
    )
    yield "sample", images, [f"sample {i + 1}" for i in range(len(images))]
    for place in range(min(NEIGHBOURS, neighbours.shape[1])):
        columns = [
            f"training image {i}, distance {d:.3g}"
            for i, d in zip(index[:, place].tolist(), distance[:, place].tolist(), strict=True)
        ]
        name = ("nearest", "second", "third")[place]
        yield f"{name} ({distance[:, place].mean():.3g})", neighbours[:, place], columns


def _sample_names(section: Section, count: int, labels: Array | None) -> list[str]:
    of = [f", {_class(section, int(n))}" for n in labels[:count]] if labels is not None else [""] * count
    return [f"sample {i + 1}{name}" for i, name in enumerate(of)]


def _class(section: Section, number: int) -> str:
    """The name of a class, or its number where the data set has no names."""
    classes = section.records[0].classes
    return classes[number] if 0 <= number < len(classes) else f"class {number}"
