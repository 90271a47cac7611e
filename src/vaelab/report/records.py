"""Runs that can be compared: lines along λ, sections of the same images."""

import math
import re
import statistics
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from vaelab.report.oracle import Oracle
from vaelab.report.record import PARTS, Record
from vaelab.report.values import number, or_nan
from vaelab.words import printable

SPELLINGS = {"regulariser.kl_weight": "kl_weight"}  # as a command has it
MOST_WITH_PICTURES = 40  # runs of a section that are shown with pictures and curves


@dataclass(frozen=True)
class Group:
    """Runs of one model and λ, which differ in their seed."""

    label: str
    records: tuple[Record, ...]

    @property
    def kind(self) -> str:
        """AE, VAE or GAN."""
        return self.records[0].kind

    @property
    def weight(self) -> float:
        """λ; NaN for models without a KL term."""
        return or_nan(self.records[0].kl_weight)

    @property
    def name(self) -> str:
        """The label, with the number of runs where there are several."""
        return self.label + (f" (means of {repeats(self.records)})" if len(self.records) > 1 else "")

    def mean(self, metric: str) -> float:
        """Over seeds; NaN where no run has it."""
        values = self._values(metric)
        return statistics.fmean(values) if values else math.nan

    def deviation(self, metric: str) -> float:
        """Over seeds; 0 with one."""
        values = self._values(metric)
        return statistics.stdev(values) if len(values) > 1 else 0.0

    def fact(self, name: str) -> float:
        """The mean of a number of run.json; NaN where no run has it."""
        values = [v for r in self.records if (v := number(r.info.get(name))) is not None]
        return statistics.fmean(values) if values else math.nan

    def _values(self, metric: str) -> list[float]:
        return [v for r in self.records if math.isfinite(v := r.metric(metric))]


@dataclass(frozen=True)
class Line:
    """Runs that differ in λ and seed only, in the order of λ."""

    label: str
    records: tuple[Record, ...]

    @property
    def has_kl(self) -> bool:
        """Whether its models have a KL term, so that there is a λ."""
        return self.records[0].kl_weight is not None

    @property
    def has_several_weights(self) -> bool:
        """Whether λ is what its runs differ in."""
        return len({record.kl_weight for record in self.records}) > 1

    @property
    def kind(self) -> str:
        """AE, VAE or GAN."""
        return self.records[0].kind

    def groups(self, metric: str = "") -> list[Group]:
        """The evaluated runs of each λ, in its order; those alone that have a metric where one is named."""
        groups: dict[float | None, list[Record]] = {}
        for record in self.records:
            if math.isfinite(record.metric(metric)) if metric else record.is_evaluated:
                groups.setdefault(record.kl_weight, []).append(record)
        return [Group(self.label, tuple(records)) for records in groups.values()]


@dataclass(frozen=True)
class Section:
    """All runs on the same images and splits, or those of one chapter."""

    dataset: str
    fingerprint: str
    chapter: str
    title: str  # the chapter, or the data set; both where a chapter has several data sets
    records: tuple[Record, ...]
    lines: tuple[Line, ...]
    labels: dict[str, str]  # of each run, by its name: short, and no two alike
    in_beta_eff: bool  # whether λ of some runs mean different things, so that β_eff is plotted
    oracle: Oracle | None = None  # of the same images

    @cached_property
    def sizes(self) -> str:
        """The images of each split in words: from the fewest to the most that runs have learned from."""
        found = {
            split: {r.sizes[split] for r in self.records if split in r.sizes}
            for split in self.records[0].sizes
        }
        return ", ".join(
            f"{'–'.join(f'{size:,}' for size in sorted({min(own), max(own)}))} {printable(split)}"
            for split, own in found.items()
        )

    @cached_property
    def with_pictures(self) -> "Section":
        """The section with the runs alone whose pictures and curves are shown.

        All of them, or of too many those of the best and the worst ELBO and the first seed of each λ.
        """
        if len(self.records) <= MOST_WITH_PICTURES:
            return self
        ranked = sorted(
            (r for r in self.records if math.isfinite(r.metric("elbo"))), key=lambda r: r.metric("elbo")
        )
        first = [group.records[0] for line in self.lines for group in line.groups()]
        return self.subset({r.name for r in [*ranked[-1:], *ranked[:1], *first][:MOST_WITH_PICTURES]})

    def subset(self, names: Container[str]) -> "Section":
        """The section with the runs of these names alone."""
        lines = [
            replace(line, records=tuple(r for r in line.records if r.name in names)) for line in self.lines
        ]
        records = tuple(r for r in self.records if r.name in names)
        return replace(self, records=records, lines=tuple(line for line in lines if line.records))

    def class_name(self, number: int) -> str:
        """The name of a class, or its number where the data set has no names."""
        classes = self.records[0].classes
        return classes[number] if 0 <= number < len(classes) else f"class {number}"

    @property
    def has_several_weights(self) -> bool:
        """Whether it shows what λ does."""
        return any(line.has_several_weights for line in self.lines)

    def weight(self, record: Record) -> float | None:
        """What stands on the axis of λ: λ, or β_eff where conventions differ."""
        return record.beta_eff if self.in_beta_eff else record.kl_weight

    @property
    def symbol(self) -> str:
        """The name of weight()."""
        return "β_eff" if self.in_beta_eff else "λ"


@dataclass(frozen=True)
class Collection:
    """What was found: readable runs, and each folder that is not, with the reason."""

    sections: tuple[Section, ...]
    refused: tuple[tuple[str, str], ...]

    @property
    def records(self) -> list[Record]:
        """All runs."""
        return [record for section in self.sections for record in section.records]


def sections(records: Iterable[Record]) -> list[Section]:
    """Groups runs by their images and chapters, those by what they differ in beside λ and seed."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record.dataset, record.fingerprint, record.chapter), []).append(record)
    data = {chapter: {dataset for dataset, _, own in groups if own == chapter} for _, _, chapter in groups}
    found = []
    for (dataset, fingerprint, chapter), own in sorted(groups.items()):
        title = f"{chapter} · {dataset}" if chapter and len(data[chapter]) > 1 else chapter or dataset
        in_beta_eff = len({(r.convention, r.reduction) for r in own if r.kl_weight is not None}) > 1
        lines = _lines(own)
        ordered = tuple(record for line in lines for record in line.records)
        labels = _labels(lines, in_beta_eff)
        found.append(
            Section(dataset, fingerprint, chapter, title, ordered, tuple(lines), labels, in_beta_eff)
        )
    # What has no numbers yet stands last.
    return sorted(found, key=lambda section: not any(record.is_evaluated for record in section.records))


def _lines(records: Sequence[Record]) -> list[Line]:
    groups: dict[str, list[Record]] = {}
    for record in records:
        key = repr((record.kl_weight is None, sorted(record.line.items(), key=str)))
        groups.setdefault(key, []).append(record)
    # Models with a KL term first, for λ is what the report is about.
    keyed = sorted(
        groups.values(), key=lambda g: (g[0].kl_weight is None, g[0].model, -len(g), _by_number(g[0].name))
    )
    by_model: dict[str, list[list[Record]]] = {}
    for group in keyed:
        by_model.setdefault(group[0].model, []).append(group)
    lines = []
    for same in by_model.values():
        labels = group_labels(same, [group[0].line for group in same])
        for group, label in zip(same, labels, strict=True):
            group.sort(key=lambda r: (r.kl_weight or 0.0, str(r.seed), r.name))
            lines.append(Line(label, tuple(group)))
    return lines


def _by_number(name: str) -> list[str | int]:
    """A key that sorts epochs=5 before epochs=10."""
    return [int(part) if place % 2 else part for place, part in enumerate(re.split(r"([0-9]+)", name))]


def group_labels(groups: Sequence[Sequence[Record]], settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """What groups of runs of one model are called: by what they differ in, of their settings, one of each group.

    Where several settings follow from the experiment, its name stands for them.
    """
    keys = differing_keys(settings)
    experiments = [{record.experiment for record in group} for group in groups]
    names = [found.pop() if len(found) == 1 else "" for found in experiments]
    by_name = [key for key in keys if _follows(key, names, settings)] if all(names) else []
    if len(by_name) < 2 or len(set(names)) < 2:
        by_name = []
    labels = []
    for group, name, values in zip(groups, names, settings, strict=True):
        told = [key for key in keys if key not in by_name and _distinguishes(key, values, settings)]
        words = [f"{SPELLINGS.get(key, key.removeprefix('model.'))}={values.get(key)}" for key in told]
        labels.append(" ".join([group[0].model, *([name] if by_name else []), *words]))
    return labels


def _distinguishes(key: str, values: Mapping[str, Any], settings: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a setting of a part of the loss tells groups apart that have the same part; other settings always do."""
    part = key.partition(".")[0]
    if part in PARTS and key not in values:
        return False
    if part == key or part not in values:
        return True
    alike = [other for other in settings if other.get(part) == values[part]]
    return len({repr(other.get(key)) for other in alike}) > 1


def _follows(key: str, names: Sequence[str], settings: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a setting has one value for each name."""
    return len({(name, repr(values.get(key))) for name, values in zip(names, settings, strict=True)}) == len(
        set(names)
    )


def image_values(section: Section) -> float:
    """Values of one image, pixels times channels; 0 where the runs do not say."""
    shape = [number(length) for length in section.records[0].info["dataset"].get("shape") or []]
    lengths = [length for length in shape if length is not None]
    return math.prod(lengths) if lengths and len(lengths) == len(shape) else 0.0


def repeats(records: Sequence[Record]) -> str:
    """How many runs a mean is of: "3 seeds", or "3 runs" where some have the same seed."""
    seeds = {str(record.seed) for record in records}
    return f"{len(records)} {'seeds' if len(seeds) == len(records) else 'runs'}"


def differing_keys(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys in which configurations differ; of keys that always change together, the shortest."""
    keys = sorted({key for config in configs for key in config}, key=lambda key: (key.count("."), key))
    shortest: dict[tuple[str, ...], str] = {}
    for key in keys:
        shortest.setdefault(tuple(repr(config.get(key)) for config in configs), key)
    return [key for values, key in shortest.items() if len(set(values)) > 1]


def _labels(lines: Sequence[Line], in_beta_eff: bool) -> dict[str, str]:
    labels: dict[str, str] = {}
    for line in lines:
        weights = [record.kl_weight for record in line.records]
        alike = [(record.kl_weight, record.seed) for record in line.records]
        for record in line.records:
            parts = [line.label] if len(lines) > 1 or record.kl_weight is None else []
            if record.kl_weight is not None:
                found = "" if record.target is None else f", found for a KL of {record.target:g}"
                parts.append(f"λ = {record.kl_weight:g}{found}")
            if in_beta_eff and record.beta_eff is not None:
                parts.append(f"β_eff = {record.beta_eff:.3g}")
            if weights.count(record.kl_weight) > 1:
                parts.append(f"seed {record.seed}")
            if alike.count((record.kl_weight, record.seed)) > 1 and record.experiment:
                parts.append(record.experiment)
            label = " · ".join(parts)
            labels[record.name] = (
                f"{label} ({printable(record.folder.name)})" if label in labels.values() else label
            )
    return labels
