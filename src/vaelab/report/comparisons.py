"""Tables of published experiments: what was reported, sizes of the code, epochs, images from codes and noise."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vaelab.report import codes
from vaelab.report.record import Record
from vaelab.report.records import Collection, Section, image_values
from vaelab.report.series import Series, by_code_size, by_epochs
from vaelab.report.side_by_side import Group
from vaelab.report.table import in_words, is_of_training, references

REPORTED = " (reported)"  # ends the head of a column
TUNED = "_tuned"  # ends the name of an experiment's twin with other settings
OF_NOISE = ("mse", "psnr", "ssim")
Value = str | float


@dataclass(frozen=True)
class Table:
    """Rows of numbers; the first `names` cells of each are texts that say whose they are."""

    heads: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    names: int = 1


def reported(collection: Collection) -> Table | None:
    """Each reported value beside the measured one, experiments above their tuned twins; None without any."""
    found: list[tuple[tuple[str, bool], tuple[Value, ...]]] = []
    for section in collection.sections:
        for record in section.records:
            name = record.experiment
            last = "\uffff"  # runs of no experiment
            place = (name.removesuffix(TUNED) or last, name.endswith(TUNED))
            found += [
                (place, (name or "–", section.dataset, _with_model(section, record), *cells))
                for cells in _against_reported(record)
            ]
    if not found:
        return None
    heads = ("experiment", "data set", "run", "metric", "source", "reported", "measured", "difference")
    rows = [row for _, row in sorted(found, key=lambda entry: entry[0])]
    return Table(heads, tuple(rows), names=5)


def code_sizes(section: Section) -> Table | None:
    """What models make of images with codes of different sizes, by size; None where all are of one size."""
    points = [point for series in by_code_size(section) for point in series.points]
    rows: list[tuple[Value, ...]] = []
    for size, group in sorted(points, key=lambda point: point[0]):
        metrics = [group.mean(metric) for metric in ("psnr", "ssim", "mse")]
        ratio = (image_values(section) or math.nan) / size
        rows.append((group.name, size, ratio, *metrics, group.fact("parameters")))
    heads = ("model", "code size", "compression ratio", "PSNR (dB)", "SSIM", "MSE", "parameters")
    return Table(heads, tuple(rows)) if rows else None


def epochs(section: Section) -> Table | None:
    """Numbers of the same model after different epochs, beside the reported ones; None without such runs."""
    points = [point for series in by_epochs(section) for point in series.points]
    heads = []
    for metric in ("loss", "psnr", "ssim", "mse"):
        told = any(_reported(group, metric) for _, group in points)
        heads += [metric, f"{metric}{REPORTED}"] if told else [metric]
    rows = [(group.name, value, *(_under(head, group) for head in heads)) for value, group in points]
    return Table(("model", "epochs", *heads), tuple(rows)) if rows else None


def perturbed(section: Section) -> Table | None:
    """How far images from codes and noise are from the images of the codes; None where no run has measured it."""
    rows: list[tuple[Value, ...]] = []
    for record in section.records:
        values = [record.metric(f"perturbed_{metric}") for metric in OF_NOISE]
        if any(map(math.isfinite, values)):
            rows.append((section.labels[record.name], codes.sigma(record), *values, record.metric("psnr")))
    heads = ("run", "σ", "MSE", "PSNR (dB)", "SSIM", "PSNR without noise (test split)")
    return Table(heads, tuple(rows)) if rows else None


def told(section: Section) -> list[str]:
    """What was reported in words of the runs of a section, each once."""
    found = []
    for record in section.records:
        entries = record.config.get("reported")
        for entry in entries if isinstance(entries, list) else []:
            words = entry.get("finding") if isinstance(entry, dict) else None
            if words and isinstance(words, str):
                found.append(f"{words} ({entry['source']})" if entry.get("source") else words)
    return list(dict.fromkeys(found))


def along_epochs(section: Section) -> list[str]:
    """What more epochs do to the PSNR of each model."""
    return [_along(series, _after) for series in by_epochs(section) if series.curve("psnr")[1]]


def along_code_sizes(section: Section) -> list[str]:
    """What larger codes do to the PSNR of each model."""
    measured = [series for series in by_code_size(section) if series.curve("psnr")[1]]
    return [_along(series, "with a code of {:,.0f} values".format) for series in measured]


def under_noise(section: Section) -> list[str]:
    """Whose images suffer least and most from noise on their codes, and whether the noise was the same."""
    same = codes.same_noise(section)
    measured = [r for r in codes.perturbed_alike(section) if math.isfinite(r.metric("perturbed_psnr"))]
    if len({r.metric("perturbed_psnr") for r in measured}) < 2:
        return [same] if same else []
    best, worst = (f(measured, key=lambda r: r.metric("perturbed_psnr")) for f in (max, min))
    apart = (
        f"Decoded from their codes and noise, images stay nearest to the originals for {section.labels[best.name]}"
        f" (PSNR {best.metric('perturbed_psnr'):.2f} dB) and go farthest for {section.labels[worst.name]}"
        f" ({worst.metric('perturbed_psnr'):.2f} dB)."
    )
    return [apart, same] if same else [apart]


def _along(series: Series, place: Callable[[float], str]) -> str:
    """The PSNR at both ends of a series, and the best where it is at neither."""
    setting, psnr = series.curve("psnr")
    words = [f"{value:.2f} dB {place(x)}" for x, value in zip(setting, psnr, strict=True)]
    if len(words) == 1:
        return f"{series.label}: PSNR is {words[0]}."
    best = psnr.index(max(psnr))
    between = f"; the best is {words[best]}" if 0 < best < len(psnr) - 1 else ""
    return f"{series.label}: PSNR is {words[0]} and {words[-1]}{between}."


def _after(epochs: float) -> str:
    return f"after {epochs:,.0f} epoch{'' if epochs == 1 else 's'}"


def _with_model(section: Section, record: Record) -> str:
    label = section.labels[record.name]
    return label if label.startswith(record.model) else f"{record.model} · {label}"


def _against_reported(record: Record) -> list[tuple[Value, ...]]:
    """Metric, source, reported, measured and difference of each entry that applies to a run."""
    found: list[tuple[Value, ...]] = []
    for entry in references(record):
        value, metric, source = float(entry["value"]), entry["metric"], str(entry.get("source") or "–")
        measured = _of_training(record, metric) if is_of_training(entry) else record.metric(metric)
        found.append((in_words(entry), source, value, measured, _signed(measured - value)))
    return found


def _of_training(record: Record, metric: str) -> float:
    """A number of the training split: as it was evaluated, or else the mean of the last epoch's steps."""
    measured = record.metric(f"train_{metric}")
    steps = record.curve(metric, "train")[2] if record.is_evaluated else []
    return steps[-1] if steps and not math.isfinite(measured) else measured


def _signed(difference: float) -> str:
    if not math.isfinite(difference):
        return "–"
    digits = ",.0f" if 1000 <= abs(difference) < 1e10 else ".4g"
    return f"{difference:+{digits}}".replace("-", "−") if difference else "0"


def _under(head: str, group: Group) -> Value:
    """What stands under a metric's name, or under that of its reported values."""
    metric = head.removesuffix(REPORTED)
    return group.mean(metric) if metric == head else _reported(group, metric)


def _reported(group: Group, metric: str) -> str:
    """The values that were reported of a group's runs, each once."""
    entries: Sequence[dict[str, object]] = [e for record in group.records for e in references(record)]
    values = [f"{e['value']:g}" for e in entries if e["metric"] == metric and not is_of_training(e)]
    return ", ".join(dict.fromkeys(values))
