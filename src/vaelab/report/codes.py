"""Pictures of codes that were moved, by noise or by hand, and whether the noise was the same."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from vaelab.report.arrays import Array
from vaelab.report.pictures import Matrix, Strip, strip_of
from vaelab.report.record import Record
from vaelab.report.records import Section
from vaelab.report.values import flatten, number

COLUMNS = 20  # images of one row
COPIES = 10  # rows of one run
ALIKE = 1e-4  # noise that differs by less is the same


def perturbed(section: Section, scale: float) -> Matrix | None:
    """Images above those from their codes and noise, of all runs with the same images; None without such runs."""
    found = _of_noise(section)
    if not found:
        return None
    first = next(iter(found.values()))
    strips: list[Strip] = []
    for start in range(0, len(first["index"]), COLUMNS):
        part = slice(start, start + COLUMNS)
        names = [f"image {i}" for i in first["index"][part].tolist()]
        strips.append(strip_of("", "original", first["original"][part], names, scale))
        for name, stored in found.items():
            for copy in range(min(COPIES, stored["image"].shape[1])):
                label = f"copy {copy + 1}" if copy else section.labels[name]
                columns = [f"{image}, copy {copy + 1} of {section.labels[name]}" for image in names]
                strips.append(strip_of(name, label, stored["image"][part, copy], columns, scale))
    left_out = [r.name for r in section.records if r.name not in found and _noise_of(r)]
    labels = tuple(section.labels[name] for name in left_out)
    return Matrix("perturbed", "Images from codes and noise", tuple(strips), labels)


def same_noise(section: Section) -> str:
    """A sentence on whether runs were given the same noise; empty where there are none to compare."""
    stored = {name: found["z"] for name, found in _of_noise(section).items()}
    if len(stored) < 2:
        return ""
    (first, z), *others = stored.items()
    if z.shape[1] < 2:
        return "Each image has one copy, so whether the noise was the same cannot be told."
    unlike = [section.labels[name] for name, other in others if not _alike(z, other)]
    if not unlike:
        return "The noise was the same for all of them."
    return (
        f"The noise was not the same: {', '.join(unlike)} had other noise, or a code of another size, than"
        f" {section.labels[first]}."
    )


def perturbed_alike(section: Section) -> list[Record]:
    """The runs that made images from the codes of the same images, with noise of the same size."""
    found = _of_noise(section)
    runs = [record for record in section.records if record.name in found]
    sizes = [str(sigma(record)) for record in runs]
    return [r for r, size in zip(runs, sizes, strict=True) if size == max(sizes, key=sizes.count)]


def sigma(record: Record) -> float:
    """The standard deviation of the noise on the codes, as it was asked for; NaN where that is no number."""
    asked = number(flatten(record.config).get("evaluation.noise_perturbation.sigma"))
    return math.nan if asked is None else asked


def edited(section: Section, scale: float) -> tuple[Matrix, ...]:
    """For each run with edited codes the images, their reconstructions, and one row for each edit."""
    found: list[Matrix] = []
    for record in section.records:
        stored = record.arrays("latent_edit", "index", "original", "reconstruction", "edited")
        if not stored:
            continue
        images = stored["edited"][:COLUMNS]
        rows = [("original", stored["original"]), ("reconstruction", stored["reconstruction"])]
        rows += [(name, images[:, place]) for place, name in enumerate(edits(record, images.shape[1]))]
        columns = [f"image {i}" for i in stored["index"][:COLUMNS].tolist()]
        apart = np.abs(images.astype(np.float32) - stored["reconstruction"][:COLUMNS, None])
        gain = 1 / max(1e-3, float(apart.max(initial=0.0)))
        named = [
            (f"{name}: difference × {gain:.2g}", gain * apart[:, k]) for k, (name, _) in enumerate(rows[2:])
        ]
        rows[2:] = [row for pair in zip(rows[2:], named, strict=True) for row in pair]
        strips = tuple(strip_of(record.name, name, row[:COLUMNS], columns, scale) for name, row in rows)
        found.append(Matrix(f"edited-{len(found)}", section.labels[record.name], strips))
    return tuple(found)


def edits(record: Record, count: int) -> list[str]:
    """Each edit in the words of the configuration, or by its number where that is not what the codes have."""
    groups = record.config.get("evaluation")
    group = groups.get("latent_edit") if isinstance(groups, dict) else None
    asked = group.get("edits") if isinstance(group, dict) else None
    z = record.arrays("latent_edit", "z").get("z")
    words: list[str | None] = [None] * count
    if isinstance(asked, list) and len(asked) == count and z is not None and z.shape[1] == 1 + count:
        words = [_in_words(edit, z[:, 0], z[:, 1 + place]) for place, edit in enumerate(asked)]
    return [name or f"edit {place + 1}" for place, name in enumerate(words)]


def _in_words(edit: Any, before: Array, after: Array) -> str | None:
    """z[0] + 20, z[-1] = 0 or 2 · z[3]; None where codes (N, d) before and after do not differ by that."""
    if not isinstance(edit, Mapping) or (dim := number(edit.get("dim"))) is None or dim != int(dim):
        return None
    given = {change: number(edit.get(change)) for change in ("add", "set", "scale") if change in edit}
    if len(given) != 1 or not -before.shape[1] <= dim < before.shape[1]:
        return None
    ((change, amount),) = given.items()
    if amount is None:
        return None
    name, moved = f"z[{int(dim)}]", before.astype(np.float64)
    value = moved[:, int(dim)]
    with np.errstate(over="ignore", invalid="ignore"):
        results = {"add": value + amount, "set": np.full_like(value, amount), "scale": value * amount}
        moved[:, int(dim)] = results[change]
        if not np.allclose(after, moved, rtol=1e-4, atol=1e-4 * (1 + float(np.abs(before).max()))):
            return None
    sign = "+" if amount >= 0 else "−"
    words = {"add": f"{name} {sign} {abs(amount):g}", "set": f"{name} = {amount:g}"}
    return words.get(change, f"{amount:g} · {name}")


def _noise_of(record: Record) -> dict[str, Array]:
    return record.arrays("noise_perturbation", "original", "image", "index", "z")


def _of_noise(section: Section) -> dict[str, dict[str, Array]]:
    """The stored arrays of runs with the images that most of them have."""
    found = {record.name: stored for record in section.records if (stored := _noise_of(record))}
    keys = [(tuple(stored["index"].tolist()), stored["original"].shape) for stored in found.values()]
    common = max(keys, key=keys.count) if keys else None
    return {name: stored for (name, stored), key in zip(found.items(), keys, strict=True) if key == common}


def _alike(a: Array, b: Array) -> bool:
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
