"""Samples of all models side by side, which different evaluations have made."""

from collections.abc import Iterator, Sequence

from vaelab.report.pictures import Matrix, Strip, strip_of
from vaelab.report.record import Record
from vaelab.report.records import Section
from vaelab.report.side_by_side import contestants

SAMPLES = 16  # of one row
FITTED_GAUSSIAN = "fitted Gaussian"
IMAGES = "nhwc"
NOTE = (
    "an autoencoder and a VAE at λ = 0 have no prior that means something to the decoder, so a Gaussian fitted to the"
    " codes stands in for it"
)


def side_by_side(section: Section, scale: float) -> Matrix | None:
    """Samples of each run that is compared, below real images; None where there is nothing to compare."""
    runs = contestants(section)
    found = {run.name: _of_run(section, run, scale) for run in runs}
    there = [row for row in found.values() if row]
    if not there:
        return None
    left_out = tuple(section.labels[name] for name, row in found.items() if not row)
    note = NOTE if any(row.label.endswith(FITTED_GAUSSIAN) for row in there) else ""
    rows = (*_real(section, runs, scale), *there)
    return Matrix("side-by-side", "Samples", rows, left_out, note=note, on_paper=True, why="Without samples")


def _of_run(section: Section, record: Record, scale: float) -> Strip | None:
    """The row of a run's samples, where its files hold some."""
    label, fitted = section.labels[record.name], not record.has_prior
    for name, key in (
        ("samples", "image"),
        ("prior_samples", "aggregate_image" if fitted else "image"),
        ("nearest_neighbours", "image"),
    ):
        if stored := record.arrays(name, **{key: IMAGES}):
            names = [f"sample {place}" for place in range(1, 1 + len(stored[key]))]
            if name == "samples" and (own := record.arrays(name, **{key: IMAGES}, label="n")):
                classes = map(section.class_name, own["label"].tolist())
                names = [f"{sample}, {its}" for sample, its in zip(names, classes, strict=True)]
            row = f"{label}, {FITTED_GAUSSIAN}" if fitted else label
            return strip_of(record.name, row, stored[key], names[:SAMPLES], scale)
    return None


def _real(section: Section, runs: Sequence[Record], scale: float) -> Iterator[Strip]:
    """A row of real images: test images, or else those that are nearest to a run's samples."""
    for name, key, axes in (
        ("reconstructions", "original", IMAGES),
        ("atlas", "original", IMAGES),
        ("nearest_neighbours", "neighbour", "nkhwc"),
    ):
        for record in runs:
            if stored := record.arrays(name, **{key: axes}):
                images = stored[key] if axes == IMAGES else stored[key][:, 0]
                nearest = f"training images nearest to {section.labels[record.name]}"
                columns = [f"real image {place}" for place in range(1, 1 + len(images))][:SAMPLES]
                yield strip_of("", "test images" if axes == IMAGES else nearest, images, columns, scale)
                return
