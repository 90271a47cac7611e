"""AE, VAE and GAN on the same images: what was measured of their samples, in rows and in sentences."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from vaelab.quantities import Quantity
from vaelab.report import columns
from vaelab.report.record import Record
from vaelab.report.records import Group, Section
from vaelab.report.topics import Table, Value
from vaelab.report.values import number, or_nan

KINDS = ("AE", "VAE", "GAN")
ALIKE = 0.05  # of the larger of two numbers: a smaller difference is none
FAR = 0.5  # of the distance of test images, below which samples are called copies
NEAR_CHANCE = 0.1  # of the way from chance to 1, below which a class can hardly be told
NOISY = 1.25  # times the sharpness of real images, from which sharpness is more likely noise


class Rule(NamedTuple):
    """What samples are where a number of them is alike, higher or lower than another model's, and what it is."""

    alike: str
    higher: str
    lower: str
    start: str = "The"
    what: str = ""
    end: str = ""


REAL = "the real images"
RULES = {
    "sharpness": Rule(
        "about as sharp as", "{:.2g} times as sharp as", "less sharp: {:.2g} times as sharp as"
    ),
    "diversity_ms_ssim": Rule(
        "about as diverse as", "less diverse than", "more diverse than", what="MS-SSIM of pairs "
    ),
    **{
        metric: Rule(
            f"as near to {REAL} as", f"farther from {REAL} than", f"nearer to {REAL} than",
            start=f"By {name} the", end="; lower is nearer",
        )
        for metric, name in (("fid", "FID"), ("fid_random", "FID with random features"))
    },
}  # fmt: skip
NEARNESS = (  # up to how much of the distance of test images samples are what
    (
        FAR,
        "much nearer to training images than test images are {}: a sign of copies; look at their nearest training"
        " images",
    ),
    (1 - ALIKE, "nearer to training images than test images are {}: copies are so, and blurry images, too"),
    (1 + ALIKE, "as far from training images as test images are {}: no sign of copies"),
)
FARTHER = "farther from training images than test images are {}: no copies, but not like the data either"
FACTS = (
    ("seconds of training", "seconds"),
    ("parameters", "parameters"),
    ("images per second", "images_per_second"),
)


def contestants(section: Section) -> tuple[Record, ...]:
    """The evaluated runs, AE, VAE by λ, DCGAN, ACGAN; none without a GAN or two kinds with numbers of samples."""
    return tuple(record for group in _groups(section) for record in group.records)


def table(section: Section) -> Table:
    """The numbers of the samples of each compared run, those that some run has, with the same of real images."""
    runs = contestants(section)
    measured = [
        o for o in columns.sample_quantities(runs) if any(math.isfinite(r.metric(o.name)) for r in runs)
    ]
    facts = [
        (title, name) for title, name in FACTS if any(number(r.info.get(name)) is not None for r in runs)
    ]
    rows: tuple[tuple[Value, ...], ...] = tuple(
        (
            section.labels[run.name],
            *(_cell(run, one) for one in measured),
            *(or_nan(run.info.get(name)) for _, name in facts),
        )
        for run in runs
    )
    return Table(
        ("run", *(one.title for one in measured), *(title for title, _ in facts)),
        rows,
        title="Numbers of each run's samples",
        caption="Samples in numbers; in brackets the same of real images. MS-SSIM is lower where samples are more"
        " diverse.",
    )


def sentences(section: Section) -> list[str]:
    """What the numbers of the samples say of GANs against the best VAE, or of autoencoders where there is no GAN."""
    groups = _groups(section)
    other = _opponent(groups)
    found = []
    gans, autoencoder = [g for g in groups if g.kind == "GAN"], _best_autoencoder(groups)
    for group in gans or autoencoder:
        if other is not None and other is not group:
            found += _comparison(group, other)
        found += [*_noise(group), *_copies(group), *_gan_test(group)]
    found += _noise(other) if found and other is not None else []
    return found + _times([g for g in groups if g in [*gans, *autoencoder] or g is other])


def _cell(record: Record, column: Quantity) -> str:
    value = record.metric(column.name)
    beside = record.metric(column.beside) if column.beside else math.nan
    whose = f" ({column.whose} {_short(beside)})" if math.isfinite(beside) else ""
    return _short(value) + whose if math.isfinite(value) else "–"


def _groups(section: Section) -> list[Group]:
    """The contestants, those that differ in their seed together."""
    found = [group for line in section.lines for group in line.groups()]
    records = [record for group in found for record in group.records]
    measured = [one.name for one in columns.sample_quantities(records)]
    kinds = {r.kind for r in records if any(math.isfinite(r.metric(name)) for name in measured)}
    if len(kinds) < 2 and not any(record.kind == "GAN" for record in records):
        return []
    found.sort(key=lambda group: (KINDS.index(group.kind), group.records[0].model == "acgan"))
    return [
        replace(g, label=g.label + (f" λ = {g.weight:g}" if math.isfinite(g.weight) else "")) for g in found
    ]


def _opponent(groups: Sequence[Group]) -> Group | None:
    """The VAE of the best ELBO, rather with numbers of samples and λ > 0; an autoencoder where there is no VAE."""
    found = [g for g in groups if g.kind == "VAE"]
    samples = [one.name for one in columns.sample_quantities(r for g in found for r in g.records)]
    found = [g for g in found if any(math.isfinite(g.mean(name)) for name in samples)] or found
    found = [g for g in found if g.weight > 0] or found
    return next(iter(_best(found, "elbo") or _best_autoencoder(groups)), None)


def _best_autoencoder(groups: Sequence[Group]) -> list[Group]:
    """The one of the best images alone, for the samples of each are not a finding of their own."""
    found = [g for g in groups if g.kind == "AE"]
    names = [one.name for one in columns.image_quantities(r for g in found for r in g.records)]
    return _best(found, names[0]) if names else found[:1]


def _best(groups: Sequence[Group], metric: str) -> list[Group]:
    """The group of the highest mean, rather with one than without; none of none."""
    means = [(g.mean(metric), g) for g in groups]
    return [max(means, key=lambda pair: pair[0] if math.isfinite(pair[0]) else -math.inf)[1]] if means else []


def _is_close(group: Group, other: Group, metric: str) -> bool:
    """Whether the difference is small, or within the spread of the seeds."""
    a, b = group.mean(metric), other.mean(metric)
    spread = max(group.deviation(metric), other.deviation(metric))
    return abs(a - b) <= max(ALIKE * max(abs(a), abs(b)), spread)


def _comparison(group: Group, other: Group) -> list[str]:
    """What the numbers of one model's samples say beside those of another's, where both have them."""
    found = []
    for metric, rule in RULES.items():
        a, b, real = group.mean(metric), other.mean(metric), group.mean(f"{metric}_data")
        if not (math.isfinite(a) and math.isfinite(b)):
            continue
        words = rule.alike if _is_close(group, other, metric) else rule.higher if a > b else rule.lower
        words = words.format(a / b) if b > 0 else "sharper than"
        end = f"; training images {_short(real)}" if math.isfinite(real) else rule.end
        numbers = f"({rule.what}{_short(a)} and {_short(b)}{end})"
        found.append(f"{rule.start} samples of {group.name} are {words} those of {other.name} {numbers}.")
    return found


def _noise(group: Group) -> list[str]:
    """Samples that are sharper than real images."""
    sharp, real = group.mean("sharpness"), group.mean("sharpness_data")
    if not (math.isfinite(sharp) and real > 0 and sharp > NOISY * real):
        return []
    return [
        f"The samples of {group.name} are {sharp / real:.2g} times as sharp as training images"
        f" ({_short(sharp)} and {_short(real)}): noise and checkerboards count as sharpness, too."
    ]


def _copies(group: Group) -> list[str]:
    """How far samples are from training images, beside test images."""
    near, test = group.mean("nearest_distance"), group.mean("nearest_distance_data")
    if not (math.isfinite(near) and math.isfinite(test)):
        return []
    below = (w for part, w in NEARNESS if near < part * test or (part > 1 and near == part * test))
    words = next(below, FARTHER)
    return [f"The samples of {group.name} are {words.format(f'({_short(near)} and {_short(test)})')}."]


def _gan_test(group: Group) -> list[str]:
    found, own = group.mean("gan_test_accuracy"), group.mean("classifier_accuracy")
    if not math.isfinite(found):
        return []
    of_test = f" (of test images: {own:.3g})" if math.isfinite(own) else ""
    classes = len(group.records[0].classes)
    chance = 1 / max(1, classes)
    guessed = (
        f", little more than the {chance:.2g} of chance"
        if found < chance + NEAR_CHANCE * (1 - chance)
        else ""
    )
    return [
        f"GAN-test: a classifier trained on real images finds the class that was asked for in a share of {found:.3g} of"
        f" the samples of {group.name}{of_test}{guessed}."
    ]


def _times(groups: Sequence[Group]) -> list[str]:
    """The seconds of training of each model, where one device trained them."""
    timed = [g for g in groups if math.isfinite(g.fact("seconds"))]
    devices = {str(r.info.get("device")) for g in timed for r in g.records}
    if len(timed) < 2 or len({g.kind for g in timed}) < 2 or len(devices) > 1:
        return []
    parts = []
    for group in timed:
        seconds, epochs = group.fact("seconds"), {record.epoch for record in group.records}
        time = f"{seconds:,.0f}" if seconds >= 100 else _short(seconds)
        parts.append(
            f"{time} s for {group.label}" + (f" ({epochs.pop()} epochs)" if len(epochs) == 1 else "")
        )
    return [f"On the same device, training took {', '.join(parts)}."]


def _short(value: float) -> str:
    return f"{value:.3g}"
