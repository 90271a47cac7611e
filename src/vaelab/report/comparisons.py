"""Tables of published experiments: what was reported, sizes of the code, epochs."""

import math
from collections.abc import Callable, Sequence
from functools import partial

from vaelab.report import columns
from vaelab.report.record import Record
from vaelab.report.records import Collection, Group, Section, image_values
from vaelab.report.series import Series, by_code_size, by_epochs
from vaelab.report.table import REPORTED, in_words, is_of_training, references
from vaelab.report.topics import Table, Value

TUNED = "_tuned"  # ends the name of an experiment's twin with other settings


def reported_values(collection: Collection) -> Table:
    """Each reported value beside the measured one, experiments above their tuned twins."""
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
    return Table(
        ("experiment", "data set", "run", "metric", "source", "reported", "measured", "difference"),
        tuple(row for _, row in sorted(found, key=lambda entry: entry[0])),
        names=5,
        title="Reported and measured values",
        caption="Values that the experiments' files name with their source, beside those of the runs on the test split;"
        " difference: measured − reported.",
    )


def code_sizes(section: Section) -> Table:
    """What models make of images with codes of different sizes, by size."""
    points = [point for series in by_code_size(section) for point in series.points]
    measured = columns.pixel_quantities(section.records)
    rows: list[tuple[Value, ...]] = []
    for size, group in sorted(points, key=lambda point: point[0]):
        ratio = (image_values(section) or math.nan) / size
        metrics = [group.mean(one.name) for one in measured]
        rows.append((group.name, size, ratio, *metrics, group.fact("parameters")))
    return Table(
        ("model", "code size", "compression ratio", *(one.heading for one in measured), "parameters"),
        tuple(rows),
        title="Numbers by the size of the code",
        caption="Compression ratio: values of an image (pixels times channels) by values of its code.",
    )


def epochs(section: Section) -> Table:
    """Numbers of the same model after different epochs, beside the reported ones."""
    points = [point for series in by_epochs(section) for point in series.points]
    cells: dict[str, Callable[[Group], Value]] = {}
    for metric in ("loss", *(one.name for one in columns.pixel_quantities(section.records))):
        cells[metric] = partial(Group.mean, metric=metric)
        if any(_reported_cell(group, metric) for _, group in points):
            cells[metric + REPORTED] = partial(_reported_cell, metric=metric)
    beside = "; beside them what was reported" if any(head.endswith(REPORTED) for head in cells) else ""
    return Table(
        ("model", "epochs", *cells),
        tuple((group.name, value, *(cell(group) for cell in cells.values())) for value, group in points),
        title="Numbers by epochs of training",
        caption=f"The same model after different numbers of epochs, on the test split{beside}",
    )


def findings(section: Section) -> list[str]:
    """What was reported in words of the runs of a section, each once."""
    found = [
        f"{words} ({entry['source']})" if entry.get("source") else words
        for record in section.records
        for entry in record.reported
        if isinstance(words := entry.get("finding"), str) and words
    ]
    return list(dict.fromkeys(found))


def effect_of_epochs(section: Section) -> list[str]:
    """What more epochs do to the images of each model."""
    return _effects(section, by_epochs(section), _epochs_in_words)


def effect_of_code_size(section: Section) -> list[str]:
    """What larger codes do to the images of each model."""
    return _effects(section, by_code_size(section), "with a code of {:,.0f} values".format)


def _effects(section: Section, found: Sequence[Series], place: Callable[[float], str]) -> list[str]:
    """The first measure of images at both ends of each series, and the best where it is at neither."""
    sentences = []
    for one in columns.image_quantities(section.records)[:1]:
        for series in found:
            setting, values = series.curve(one.name)
            words = [f"{one.measured(value)} {place(x)}" for x, value in zip(setting, values, strict=True)]
            if not words:
                continue
            best = values.index(max(values))
            between = f"; the best is {words[best]}" if 0 < best < len(values) - 1 else ""
            ends = " and ".join(dict.fromkeys((words[0], words[-1])))
            sentences.append(f"{series.label}: {one.title} is {ends}{between}.")
    return sentences


def _epochs_in_words(epochs: float) -> str:
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
        found.append((in_words(entry), source, value, measured, _with_sign(measured - value)))
    return found


def _of_training(record: Record, metric: str) -> float:
    """A number of the training split: as it was evaluated, or else the mean of the last epoch's steps."""
    measured = record.metric(f"train_{metric}")
    steps = record.curve(metric, "train")[2] if record.is_evaluated else []
    return steps[-1] if steps and not math.isfinite(measured) else measured


def _with_sign(difference: float) -> str:
    if not math.isfinite(difference):
        return "–"
    digits = ",.0f" if 1000 <= abs(difference) < 1e10 else ".4g"
    return f"{difference:+{digits}}".replace("-", "−") if difference else "0"


def _reported_cell(group: Group, metric: str) -> str:
    """The values that were reported of a group's runs, each once."""
    entries: Sequence[dict[str, object]] = [e for record in group.records for e in references(record)]
    values = [f"{e['value']:g}" for e in entries if e["metric"] == metric and not is_of_training(e)]
    return ", ".join(dict.fromkeys(values))
