"""Samples of all models side by side, which different evaluations have made."""

from collections.abc import Iterator, Sequence

from vaelab.report.arrays import Array
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
    label, has_prior = section.labels[record.name], record.has_prior
    for name, key in (
        ("samples", "image"),
        ("prior_samples", "image" if has_prior else "aggregate_image"),
        ("nearest_neighbours", "image"),
    ):
        if stored := record.arrays(name, **{key: IMAGES}):
            labels = (
                record.arrays(name, label="n", **{key: IMAGES}).get("label") if name == "samples" else None
            )
            images = stored[key][:SAMPLES]
            names = _sample_names(section, len(images), labels)
            return strip_of(
                record.name, label if has_prior else f"{label}, {FITTED_GAUSSIAN}", images, names, scale
            )
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
                images = (stored[key] if axes == IMAGES else stored[key][:, 0])[:SAMPLES]
                nearest = f"training images nearest to {section.labels[record.name]}"
                columns = [f"real image {i + 1}" for i in range(len(images))]
                yield strip_of("", "test images" if axes == IMAGES else nearest, images, columns, scale)
                return


def _sample_names(section: Section, count: int, labels: Array | None) -> list[str]:
    of = [f", {section.class_name(int(n))}" for n in labels[:count]] if labels is not None else [""] * count
    return [f"sample {i + 1}{name}" for i, name in enumerate(of)]
