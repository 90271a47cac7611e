"""What the numbers say, in sentences that carry their numbers; nothing is said that no number supports."""

import math

import numpy as np

from vaelab.quantities import Quantity, called
from vaelab.report import columns, conditioned, differences, slopes, trainings
from vaelab.report.record import Record
from vaelab.report.records import Group, Line, Section, repeats
from vaelab.report.series import by_code_size, by_epochs

UNLIKE = math.log(1.5)  # of the ratio of two standard deviations, from which they are called unlike
SAMPLES = 64  # of the prior, whose nearest test image is looked for


def paragraphs(section: Section) -> list[tuple[str, list[str]]]:
    """Each line's label and sentences; what a table of epochs or code sizes says is not said again."""
    tables = (*by_epochs(section), *by_code_size(section))
    tabled = {record.name for series in tables for _, group in series.points for record in group.records}
    found = []
    for line in section.lines:
        whole = line.has_several_weights or any(record.name not in tabled for record in line.records)
        sentences = paragraph(line) if whole else trainings.training_sentences(line)
        found.append((line.label, [*sentences, *conditioned.prices(section, line)]))
    return [(label, sentences) for label, sentences in found if sentences]


def paragraph(line: Line) -> list[str]:
    """Sentences on the evaluated runs of one line."""
    if not line.groups():
        return ["No run of this model is done yet, so there is nothing to compare."]
    if line.kind == "GAN":
        return trainings.gan_sentences(line)
    if not line.has_kl:
        return [*_without_kl(line), *trainings.training_sentences(line)]
    return [
        *_best_elbo(line),
        *_best_images(line),
        *_certainty(line),
        *_from_low_to_high(line),
        *slopes.sentences(line),
        *_active_units(line),
        *_without_prior(line),
        *trainings.training_sentences(line),
    ]


def against_linear(section: Section) -> list[str]:
    """How the models do beside the best linear VAE, where its numbers are there."""
    if section.oracle is None:
        return []
    return [s for line in section.lines for s in section.oracle.sentences(line.label, line.records)]


def across_lines(section: Section) -> list[str]:
    """What models without a KL term lack, and their reconstructions beside those of models with one."""
    sentences = []
    if any(line.kind == "AE" and line.groups() for line in section.lines):
        sentences.append(
            "An autoencoder has no KL term, so no rate, no ELBO and no prior: its samples are of a Gaussian fitted"
            " to its codes."
        )
    for one in columns.image_quantities(section.records):
        vae, other = (_best_run(section, one.name, has_kl) for has_kl in (True, False))
        if vae is None or other is None:
            continue
        theirs, own = one.measured(vae.metric(one.name)), one.measured(other.metric(one.name))
        gap = other.metric(one.name) - vae.metric(one.name)
        compared = f"{one.measured(abs(gap))} {'more' if gap > 0 else 'less'} than"
        sentences.append(
            f"{one.title}: {section.labels[other.name]} reaches {own}, {'as much as' if own == theirs else compared}"
            f" the best VAE ({section.labels[vae.name]}: {theirs})."
        )
    return sentences


def _best_run(section: Section, metric: str, has_kl: bool) -> Record | None:
    groups = [group for line in section.lines if line.has_kl is has_kl for group in line.groups(metric)]
    runs = [record for group in groups for record in group.records]
    return max(runs, key=lambda record: record.metric(metric), default=None)


def _ranking(line: Line, metric: str) -> list[Group]:
    """The runs of each λ that have a metric, the highest mean first."""
    return sorted(line.groups(metric), key=lambda group: -group.mean(metric))


def _best_elbo(line: Line) -> list[str]:
    ranked = _ranking(line, "elbo")
    if not ranked:
        return []
    best, *others = ranked
    images = line.records[0].sizes.get("test")
    where = f" on {images:,} test images" if images else ""
    several = len(best.records) > 1
    spread = f" (± {best.deviation('elbo'):.2f} over {repeats(best.records)})" if several else ""
    number = f"−ELBO is {-best.mean('elbo'):.2f} nats per image{where}{spread}"
    if not others:
        return [f"λ = {best.weight:g}: {number}."]
    second = others[0]
    next_best = f"next is λ = {second.weight:g} with {-second.mean('elbo'):.2f}"
    spreads = [group.deviation("elbo") for group in (best, second)]
    close = several and best.mean("elbo") - second.mean("elbo") < max(spreads)
    return [
        f"λ = {best.weight:g} has the best ELBO: {number}; {next_best}"
        + (", which is within the spread of the runs." if close else ".")
    ]


def _best_images(line: Line) -> list[str]:
    ranked = [
        (one, found) for one in columns.image_quantities(line.records) if (found := _ranking(line, one.name))
    ]
    if not ranked:
        return []
    (first, groups), *others = ranked
    best = [(one, found[0].weight, one.measured(found[0].mean(one.name))) for one, found in ranked]
    if len(groups) == 1:
        words = [f"{_article(one.title)} {one.title} of {value}" for one, _, value in best]
        return [f"Its reconstructions have {' and '.join(words)}."]
    if any(found[0].weight != groups[0].weight for _, found in others):
        words = [
            f"best {one.title}{' is that' if one is first else ' that'} of λ = {weight:g} ({value})"
            for one, weight, value in best
        ]
        return [f"The {', the '.join(words)}."]
    words = [f"{one.title} {value}" for one, _, value in best]
    return [
        f"λ = {groups[0].weight:g} has the best reconstructions: {' and '.join(words)};"
        f" λ = {groups[1].weight:g} has the next {first.title}, {first.measured(groups[1].mean(first.name))}."
    ]


def _certainty(line: Line) -> list[str]:
    """How far the differences to the next λ are known."""
    found = []
    for one in (_quantity(line, "elbo"), *columns.image_quantities(line.records)[:1]):
        ranked = _ranking(line, one.name)
        if len(ranked) < 2:
            continue
        best, other = (ranked[0], ranked[1]) if one.sign > 0 else (ranked[1], ranked[0])
        apart = differences.between(best, other, one.name, one.sign)
        if apart is None:
            continue
        doubt = "" if apart.is_sure else ", so there may be none"
        words = apart.words(one.digits or 0, f" {one.unit.partition(' ')[0]}".rstrip())
        found.append(
            f"{one.title} at λ = {best.weight:g} is {words} above that at λ = {other.weight:g}{doubt}."
        )
    return found


def _from_low_to_high(line: Line) -> list[str]:
    """What happens to rate and images from the smallest to the largest λ."""
    for one in columns.image_quantities(line.records)[:1]:
        rates, images = ([g.mean(name) for g in line.groups(name)] for name in ("kl", one.name))
        weights = [group.weight for group in line.groups("kl")]
        if len(rates) > 1 and len(images) > 1:
            return [
                f"From λ = {weights[0]:g} to λ = {weights[-1]:g} the rate (KL) goes from {_nats(rates[0])} to"
                f" {_nats(rates[-1])} nats and {one.title} from {one.written(images[0])} to"
                f" {one.measured(images[-1])}."
            ]
    return []


def _active_units(line: Line) -> list[str]:
    """How many units are active at each λ, and where the posterior has collapsed."""
    rate = {group.weight: group.mean("kl") for group in line.groups("kl")}
    groups: dict[str, list[float]] = {}
    for group in line.groups("active_units"):
        stored = (record.arrays("kl_per_dimension", kl="d") for record in group.records)
        size = next((found["kl"].size for found in stored if found), 0)
        of_all = f" of {size:,}" if size else ""
        groups.setdefault(f"{group.mean('active_units'):.3g}{of_all} units active", []).append(group.weight)
    sentences = []
    for words, weights in groups.items():
        nats = f" (KL {_nats(rate[weights[0]])} nats)" if len(weights) == 1 and weights[0] in rate else ""
        end = ": the posterior has collapsed." if words.startswith("0 ") else "."
        sentences.append(f"λ = {', '.join(f'{w:g}' for w in weights)}: {words}{nats}{end}")
    return sentences


def _without_prior(line: Line) -> list[str]:
    """What λ = 0 costs: nats of ELBO, the spread of the codes, and how far samples are from real images."""
    ranked = _ranking(line, "elbo")
    without = next((group for group in line.groups() if group.weight == 0), None)
    if without is None or len(ranked) < 2:
        return []
    best, zero = ranked[0], without.records[0]
    sentences = []
    cost, rate = best.mean("elbo") - without.mean("elbo"), without.mean("kl")
    if best.weight != 0 and math.isfinite(cost):
        reason = f": nothing holds its KL down, which is {_nats(rate)} nats" if math.isfinite(rate) else ""
        sentences.append(f"λ = 0 costs {cost:.2f} nats of ELBO against λ = {best.weight:g}{reason}.")
    deviation = aggregate_deviation(zero)
    if math.isfinite(deviation) and deviation > 0:
        unlike = ", so samples of the prior are not like them" if abs(math.log(deviation)) > UNLIKE else ""
        sentences.append(
            f"At λ = 0 the codes of test images have a standard deviation of {deviation:.2f} per dimension, where the"
            f" prior has 1{unlike}."
        )
    return sentences + _samples(zero, best)


def _samples(zero: Record, best: Group) -> list[str]:
    """How far prior samples are from test images, at λ = 0 and at the λ of the best ELBO."""
    plain, fitted = (distance_to_nearest(zero, name) for name in ("image", "aggregate_image"))
    at_best = distance_to_nearest(best.records[0], "image")
    if best.weight == 0 or not all(map(math.isfinite, (plain, fitted, at_best))):
        return []
    return [
        "Mean squared error per pixel between a prior sample and the nearest test image (of those in the map):"
        f" {plain:.4f} at λ = 0, {fitted:.4f} there for samples of a Gaussian fitted to the aggregate posterior,"
        f" {at_best:.4f} at λ = {best.weight:g}."
    ]


def aggregate_deviation(record: Record) -> float:
    """Root of the mean variance of the aggregate posterior over dimensions; NaN where the run has not stored it."""
    stored = record.arrays("kl_per_dimension", aggregate_variance="d")
    return float(np.sqrt(stored["aggregate_variance"].astype(np.float64).mean())) if stored else math.nan


def distance_to_nearest(record: Record, samples: str) -> float:
    """Mean over samples of the least mean squared error to one of the atlas's test images; NaN without them."""
    stored = record.arrays("prior_samples", **{samples: "nhwc"})
    real = record.arrays("atlas", original="nhwc")
    if not stored or not real:
        return math.nan
    a, b = (x.reshape(len(x), -1).astype(np.float64) for x in (stored[samples][:SAMPLES], real["original"]))
    if a.shape[1] != b.shape[1]:
        return math.nan
    squared = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return float(squared.min(1).clip(0).mean() / a.shape[1])


def _without_kl(line: Line) -> list[str]:
    sentences = []
    others = [_quantity(line, name) for name in ("reconstruction", "kl", "perplexity")]
    for group in line.groups():
        parts = [
            f"{'rate' if one.name == 'kl' else one.title} {one.measured(mean)}"
            for one in (*columns.image_quantities(line.records), *others)
            if math.isfinite(mean := group.mean(one.name))
        ]
        seeds = f" (means of {repeats(group.records)})" if len(group.records) > 1 else ""
        if parts:
            sentences.append(f"{', '.join(parts)}{seeds}.")
    return sentences


def _quantity(line: Line, name: str) -> Quantity:
    return called(name, columns.quantities(line.records))


def _article(name: str) -> str:
    """Of an abbreviation, which is read letter by letter."""
    return "an" if name[:1] in "AEFHILMNORSX" else "a"


def _nats(value: float) -> str:
    """Two digits after the point, more for what would read as 0."""
    return f"{value:.2g}" if 0 < abs(value) < 0.05 else f"{value:.2f}"
