"""Images from codes and noise: whose suffer least, and whether the noise was the same."""

import math

import numpy as np

from vaelab.quantities import called
from vaelab.report import columns
from vaelab.report.arrays import Array
from vaelab.report.record import Record
from vaelab.report.records import Section
from vaelab.report.topics import Table, Value
from vaelab.report.values import or_nan

ALIKE = 1e-4  # noise that differs by less is the same
PERTURBED = "perturbed_"  # begins the names of the numbers of such images


def table(section: Section) -> Table:
    """How far images from codes and noise are from the images of the codes."""
    declared = columns.quantities(section.records)
    names = [name for name in declared if name.startswith(PERTURBED)]
    plain = [called(name.removeprefix(PERTURBED), declared).heading for name in names]
    without = columns.image_quantities(section.records)[:1]
    rows: list[tuple[Value, ...]] = []
    for record in section.records:
        values = [record.metric(name) for name in names]
        if any(map(math.isfinite, values)):
            plain_values = (record.metric(one.name) for one in without)
            rows.append((section.labels[record.name], sigma(record), *values, *plain_values))
    return Table(
        ("run", "σ", *plain, *(f"{one.heading} without noise" for one in without)),
        tuple(rows),
        title="Distance of images from codes and noise",
        caption="New images against the images whose codes they were made of, on average; without noise: of the test"
        " split. σ counts in units of the code, whose scale nothing fixes in an autoencoder.",
    )


def sentences(section: Section) -> list[str]:
    """Whose images suffer least and most from noise on their codes, and whether the noise was the same."""
    found = []
    for one in columns.image_quantities(section.records)[:1]:
        name = PERTURBED + one.name
        measured = [r for r in _of_one_size(section) if math.isfinite(r.metric(name))]
        if len({r.metric(name) for r in measured}) > 1:
            best, worst = (f(measured, key=lambda r: r.metric(name)) for f in (max, min))
            values = [one.measured(record.metric(name)) for record in (best, worst)]
            found.append(
                "Decoded from their codes and noise, images stay nearest to the originals for"
                f" {section.labels[best.name]} ({one.title} {values[0]}) and go farthest for"
                f" {section.labels[worst.name]} ({values[1]})."
            )
    return [*found, *filter(None, [same_noise(section)])]


def same_noise(section: Section) -> str:
    """A sentence on whether runs were given the same noise; empty where there are none to compare."""
    stored = {name: found["z"] for name, found in _codes(section).items()}
    if len(stored) < 2:
        return ""
    (first, z), *others = stored.items()
    if z.shape[1] < 2:
        return "Each image has one copy, so whether the noise was the same cannot be told."
    unlike = [section.labels[name] for name, other in others if not _equal_noise(z, other)]
    if not unlike:
        return "The noise was the same for all of them."
    return (
        f"The noise was not the same: {', '.join(unlike)} had other noise, or a code of another size, than"
        f" {section.labels[first]}."
    )


def sigma(record: Record) -> float:
    """The standard deviation of the noise on the codes, as it was asked for; NaN where that is no number."""
    return or_nan(record.flat.get("evaluation.noise_perturbation.sigma"))


def _of_one_size(section: Section) -> list[Record]:
    """The runs that made images from the codes of the same images, with noise of the same size."""
    found = _codes(section)
    runs = [record for record in section.records if record.name in found]
    sizes = [str(sigma(record)) for record in runs]
    return [r for r, size in zip(runs, sizes, strict=True) if size == max(sizes, key=sizes.count)]


def _codes(section: Section) -> dict[str, dict[str, Array]]:
    """The stored codes of runs with the images that most of them have."""
    found = {
        record.name: stored
        for record in section.records
        if (stored := record.arrays("noise_perturbation", index="n", z="nk*"))
    }
    keys = [tuple(stored["index"].tolist()) for stored in found.values()]
    common = max(keys, key=keys.count) if keys else None
    return {name: stored for (name, stored), key in zip(found.items(), keys, strict=True) if key == common}


def _equal_noise(a: Array, b: Array) -> bool:
    """Whether codes (N, copy, ...) around different centres have the same noise."""
    if a.shape != b.shape:
        return False
    with np.errstate(over="ignore"):
        a, b = a.astype(np.float32), b.astype(np.float32)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return False
    largest = max(float(np.abs(a).max()), float(np.abs(b).max()))
    # The last digit of a large code is more than the tolerance.
    rounding = min(1e-2, 2 * float(np.spacing(np.float32(largest))))
    with np.errstate(over="ignore", invalid="ignore"):
        return np.allclose(a - a[:, :1], b - b[:, :1], rtol=0, atol=ALIKE + rounding)
