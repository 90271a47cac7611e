"""Run folders as the report sees them: what each holds, and which can be compared."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from vaelab import UsageError
from vaelab.names import choice_of
from vaelab.quantities import Quantity, of_run
from vaelab.report import arrays
from vaelab.report.arrays import Array
from vaelab.runs import checksums
from vaelab.runs.history import Row
from vaelab.words import printable

LARGEST = 1e100  # of a number, so that sums of squares are numbers, too

MOST_PICTURED = 40  # runs of a section that are shown with pictures and curves

# What makes two runs points of one line along λ: all of the configuration but this.
ALONG_A_LINE = (
    "kl_weight",
    "seed",
    "chapter",
    "reported",
    "data_dir",
    "dpi",
    "snapshot_epochs",
    "evaluation",
    "log_every",
    "plugins",
    "trainer",
)

PARTS = ("likelihood", "regulariser", "loss")  # groups whose choice stands for the class that it builds


@dataclass(frozen=True)
class Record:
    """One run folder that could be read; what is missing in it is absent here."""

    folder: Path
    name: str  # the folder, without what all folders of the report have in common
    config: dict[str, Any]
    info: dict[str, Any]
    metrics: dict[str, float] = field(default_factory=dict)
    history: list[Row] = field(default_factory=list)  # rows of split steps are means inside an epoch
    problems: list[str] = field(default_factory=list)  # of its files, in words
    unchanged: set[str] = field(default_factory=set)  # files that have their checksum

    @property
    def status(self) -> str:
        """running, done, interrupted or failed."""
        return str(self.info.get("status", "running"))

    @property
    def dataset(self) -> str:
        """The data set's name."""
        return str(self.info["dataset"]["name"])

    @property
    def chapter(self) -> str:
        """Where in the report it stands: with the other runs of this name, or with all of its data set."""
        return " ".join(str(self.config.get("chapter") or "").split())

    @property
    def fingerprint(self) -> str:
        """Of the images and their splits."""
        return str(self.info["dataset"].get("fingerprint", "unknown"))

    @property
    def sizes(self) -> dict[str, int]:
        """Images per split."""
        sizes = self.info["dataset"].get("sizes") or {}
        return {str(split): int(size) for split, size in sizes.items() if number(size) is not None}

    @property
    def classes(self) -> list[str]:
        """Names of the labels, or none."""
        return [str(name) for name in self.info["dataset"].get("classes") or []]

    @property
    def evaluations(self) -> list[str]:
        """The names of those that were asked for."""
        asked = self.config.get("evaluation")
        return list(asked) if isinstance(asked, dict) else []

    @property
    def model(self) -> str:
        """The model's name."""
        return str(self.config["model"]["_target_"]).rpartition(".")[2]

    @property
    def kind(self) -> str:
        """AE, VAE or GAN."""
        if str(self.config["loss"]["_target_"]).endswith("Adversarial"):
            return "GAN"
        return "VAE" if self.kl_weight is not None or self._told_prior else "AE"

    @property
    def kl_weight(self) -> float | None:
        """λ, or what a target of the KL has driven it to, in three digits; None for a model without a KL term."""
        found = number(self.metrics.get("kl_weight"))
        if self.target is not None and found is not None:
            return float(f"{found:.3g}")
        return number(
            (self.config.get("regulariser") or {}).get("kl_weight", self.config["loss"].get("kl_weight"))
        )

    @cached_property
    def quantities(self) -> dict[str, Quantity]:
        """What its numbers are called."""
        return of_run(self.info)

    @property
    def target(self) -> float | None:
        """The KL in nats that λ was driven for, or None where λ was given."""
        return number((self.config.get("regulariser") or {}).get("target"))

    @property
    def has_prior(self) -> bool:
        """Whether samples of a prior mean something: not in an autoencoder, nor at λ = 0."""
        return self.kind == "GAN" or (self._told_prior if self.kl_weight is None else self.kl_weight != 0)

    @property
    def _told_prior(self) -> bool:
        """Whether run.json names a prior; those of older versions do not."""
        model = self.info.get("model")
        return isinstance(model, dict) and bool(model.get("prior"))

    @property
    def beta_eff(self) -> float | None:
        """λ in common units; None without a KL term, or while a learned sigma is not known."""
        return number(self.info.get("beta_eff"))

    @property
    def seed(self) -> Any:
        """The training seed."""
        return self.config.get("seed")

    @property
    def convention(self) -> tuple[Any, ...]:
        """What decides which numbers in nats compare: the likelihood, and its sigma or scale where it has one."""
        likelihood = self.config.get("likelihood")
        if not isinstance(likelihood, dict):
            return ("none",)
        words = choice_of("likelihood", str(likelihood.get("_target_", "none")))
        scales = [likelihood[key] for key in ("sigma", "scale") if key in likelihood]
        return words, *(str(scale) if number(scale) is None else scale for scale in scales)

    @property
    def reduction(self) -> str:
        """The convention of the optimised loss: sum or mean."""
        return str(self.config["loss"].get("reduction", "sum"))

    @property
    def epoch(self) -> int:
        """The last finished epoch."""
        return max((int(row.get("epoch", 0)) for row in self.history), default=0)

    @property
    def is_evaluated(self) -> bool:
        """Whether its numbers are those of a finished run; a GAN may have nothing but pictures and curves."""
        return self.status == "done" and (bool(self.metrics) or self.kind == "GAN")

    @property
    def findings(self) -> dict[str, list[str]]:
        """What each evaluation found, in sentences."""
        found = self.info.get("findings")
        lists = found.items() if isinstance(found, dict) else ()
        return {str(name): list(map(str, kept)) for name, kept in lists if isinstance(kept, list)}

    @cached_property
    def line(self) -> dict[str, Any]:
        """The configuration, flat, without what runs of one line along λ may differ in."""
        kept = {key: value for key, value in self.config.items() if key not in ALONG_A_LINE}
        flat = flatten(kept)
        for part in PARTS:
            if target := flat.pop(f"{part}._target_", None):
                flat[part] = choice_of(part, str(target))
        hidden = (
            "regulariser.kl_weight",
            "regulariser.target",
            "output_dir",
            "rerun",
            "dataset.data_dir",
            "dataset.path",
        )
        without = [part for part in PARTS if flat.get(part) is None]
        return {key: value for key, value in flat.items() if key not in (*hidden, *without)}

    @property
    def experiment(self) -> str:
        """The experiment's name, from the command or else the folder's name; empty where there is none."""
        command = self.info.get("command")
        for word in map(str, command if isinstance(command, list) else []):
            if given := re.fullmatch(
                r"experiment=([\w.-]+)", word
            ):  # that of a sweep may have several, with commas
                return given[1]
        for part in self.folder.name.split(","):
            if given := re.fullmatch(r"experiment=([\w.-]+?)(-\d+)?", part):  # -2 is of a run made again
                return given[1]
        return ""

    @property
    def kept_epoch(self) -> int | None:
        """The epoch whose weights a run has kept for its validation, or None where they are the last."""
        told = self.info.get("training")
        if not isinstance(told, dict) or flatten(self.config).get("trainer.keep") != "best":
            return None
        epoch = number(told.get("weights_of_epoch"))
        return None if epoch is None else int(epoch)

    @property
    def weights(self) -> str:
        """Which weights were measured, in words; empty where they are those of the last epoch."""
        decay = flatten(self.config).get("trainer.ema")
        words = [f"of epoch {self.kept_epoch}, whose validation was the best"] if self.kept_epoch else []
        words += [f"a moving average (decay {decay:g})"] if number(decay) else []
        return "; ".join(words)

    @cached_property
    def code_size(self) -> float:
        """Values of the code of one image, as the arrays have them, or else as it was asked for; NaN without."""
        for name, key, axis in (("latent_space", "mean", 1), ("kl_per_dimension", "kl", 0)):
            shape = self._shape(name, key)
            if len(shape) > axis:
                return float(math.prod(shape[axis:]))
        asked = number(self.config["model"].get("latent_dim"))
        return math.nan if asked is None else asked

    def metric(self, name: str) -> float:
        """A number of the test split, NaN where there is none."""
        found = number(self.metrics.get(name))
        return math.nan if found is None or not self.is_evaluated else found

    def curve(self, column: str, split: str) -> tuple[list[float], list[float], list[float]]:
        """Epochs, seconds of training until then, and values of one column of metrics.csv."""
        epochs: list[float] = []
        seconds: list[float] = []
        values: list[float] = []
        elapsed = 0.0
        for row in self.history:
            elapsed += number(row.get("seconds")) or 0.0 if row.get("split") == "train" else 0.0
            value = number(row.get(column))
            if row.get("split") == split and value is not None:
                epochs.append(float(row["epoch"]))
                seconds.append(elapsed)
                values.append(value)
        return epochs, seconds, values

    def inside(self, column: str) -> tuple[list[float], list[float], list[float]]:
        """The same as curve() for the rows inside epochs that log_every kept, at fractions of an epoch."""
        begin = elapsed = 0.0
        epochs: dict[float, tuple[float, float, float, float]] = {}
        for row in self.history:
            end, seconds = number(row.get("step")), number(row.get("seconds")) or 0.0
            if row.get("split") == "train" and end is not None and end > begin:
                epochs[row["epoch"]] = (begin, end - begin, elapsed, seconds)
                begin, elapsed = end, elapsed + seconds
        found = []
        for row in self.history:
            value, step = number(row.get(column)), number(row.get("step"))
            if row.get("split") != "steps" or value is None or step is None or row["epoch"] not in epochs:
                continue
            begin, steps, before, seconds = epochs[row["epoch"]]
            share = (step - begin) / steps
            if 0 <= share <= 1:
                found.append((row["epoch"] - 1 + share, before + share * seconds, value))
        x, seconds_until, values = zip(*found, strict=True) if found else ((), (), ())
        return list(x), list(seconds_until), list(values)

    def arrays(self, name: str, *keys: str) -> dict[str, Array]:
        """The named arrays of arrays/<name>.npz; empty where it lacks one, and a problem where it is damaged."""
        file = self.folder / "arrays" / f"{name}.npz"
        try:
            if not file.exists():
                return {}
            arrays.refuse(file)
            self._refuse_changed(f"arrays/{name}.npz")
            return arrays.read(file, name.partition("/")[0], *keys)
        except UsageError as error:
            self._add_problem(str(error), name)
        except Exception:  # what others wrote may be wrong in any way
            remedy = checksums.remedy(self.folder, f"arrays/{name}.npz")
            self._add_problem(f"arrays/{name}.npz is damaged: {remedy}", name)
        return {}

    def _shape(self, name: str, key: str) -> tuple[int, ...]:
        """Of an array, without its values; empty where it cannot be read."""
        try:
            return arrays.shape(self.folder / "arrays" / f"{name}.npz", key)
        except Exception:  # also where there is no such file; what is shown of it tells of damage
            return ()

    def _refuse_changed(self, name: str) -> None:
        if name not in self.unchanged:
            checksums.refuse_changed(self.folder, self.info, name)
            self.unchanged.add(name)

    def _add_problem(self, problem: str, name: str) -> None:
        if name not in self.evaluations:  # which vae-evaluate does again only if it is asked to
            problem = problem.replace(" writes it again", f" 'evaluation=[{name}]' writes it again")
        if printable(problem) not in self.problems:
            self.problems.append(printable(problem))


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

    def by_weight(self) -> list[tuple[float | None, list[Record]]]:
        """The evaluated runs of each λ."""
        groups: dict[float | None, list[Record]] = {}
        for record in self.records:
            if record.is_evaluated:
                groups.setdefault(record.kl_weight, []).append(record)
        return list(groups.items())


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

    @cached_property
    def pictured(self) -> "Section":
        """The section with the runs alone whose pictures and curves are shown.

        All of them, or of more than MOST_PICTURED those of the best and the worst ELBO and the first seed of each λ.
        """
        if len(self.records) <= MOST_PICTURED:
            return self
        ranked = sorted(
            (r for r in self.records if math.isfinite(r.metric("elbo"))), key=lambda r: r.metric("elbo")
        )
        first = [runs[0] for line in self.lines for _, runs in line.by_weight()]
        kept = {r.name for r in [*ranked[-1:], *ranked[:1], *first][:MOST_PICTURED]}
        lines = [
            replace(line, records=tuple(r for r in line.records if r.name in kept)) for line in self.lines
        ]
        records = tuple(r for r in self.records if r.name in kept)
        return replace(self, records=records, lines=tuple(line for line in lines if line.records))

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
        found.append(_section(dataset, fingerprint, chapter, title, own))
    # What has no numbers yet stands last.
    return sorted(found, key=lambda section: not any(record.is_evaluated for record in section.records))


def _section(dataset: str, fingerprint: str, chapter: str, title: str, records: Sequence[Record]) -> Section:
    with_kl = [record for record in records if record.kl_weight is not None]
    in_beta_eff = len({(record.convention, record.reduction) for record in with_kl}) > 1
    lines = _lines(records)
    ordered = tuple(record for line in lines for record in line.records)
    labels = _labels(lines, in_beta_eff)
    return Section(dataset, fingerprint, chapter, title, ordered, tuple(lines), labels, in_beta_eff)


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
        labels = told_apart(same, [group[0].line for group in same])
        for group, label in zip(same, labels, strict=True):
            group.sort(key=lambda r: (r.kl_weight or 0.0, str(r.seed), r.name))
            lines.append(Line(label, tuple(group)))
    return lines


def _by_number(name: str) -> list[str | int]:
    """A key that sorts epochs=5 before epochs=10."""
    return [int(part) if place % 2 else part for place, part in enumerate(re.split(r"([0-9]+)", name))]


def told_apart(groups: Sequence[Sequence[Record]], settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """What groups of runs of one model are called: by what they differ in, of their settings, one of each group.

    Where several settings follow from the experiment, its name stands for them.
    """
    keys = differing(settings)
    experiments = [{record.experiment for record in group} for group in groups]
    names = [found.pop() if len(found) == 1 else "" for found in experiments]
    by_name = [key for key in keys if _follows(key, names, settings)] if all(names) else []
    if len(by_name) < 2 or len(set(names)) < 2:
        by_name = []
    labels = []
    for group, name, values in zip(groups, names, settings, strict=True):
        told = [key for key in keys if key not in by_name and _tells(key, values, settings)]
        words = [f"{key.removeprefix('model.')}={values.get(key)}" for key in told]
        labels.append(" ".join([group[0].model, *([name] if by_name else []), *words]))
    return labels


def _tells(key: str, values: Mapping[str, Any], settings: Sequence[Mapping[str, Any]]) -> bool:
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


def differing(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys in which configurations differ; of keys that always change together, the shortest."""
    keys = sorted({key for config in configs for key in config}, key=lambda key: (key.count("."), key))
    seen: set[tuple[str, ...]] = set()
    differing = []
    for key in keys:
        values = tuple(repr(config.get(key)) for config in configs)
        if len(set(values)) > 1 and values not in seen:
            seen.add(values)
            differing.append(key)
    return differing


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


def flatten(values: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """A tree of keys as one level of dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def number(value: Any) -> float | None:
    """A finite number that can be drawn, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -LARGEST <= value <= LARGEST else None
