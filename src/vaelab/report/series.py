"""Runs that differ in one more setting than λ and seed: the size of the code, or the epochs."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from vaelab.report.record import Record
from vaelab.report.records import Group, Section, group_labels
from vaelab.report.values import or_nan

SIZES = (
    "latent_dim",
    "model.latent_dim",
    "model.code_channels",
)  # settings that make codes larger or smaller


@dataclass(frozen=True)
class Series:
    """Runs of one model and λ in the order of a setting; those with the same value of it stand together."""

    label: str
    points: tuple[tuple[float, Group], ...]

    def curve(self, metric: str) -> tuple[list[float], list[float]]:
        """The values of the setting, ascending, where there is the metric, and the metric there."""
        found = [(value, group.mean(metric)) for value, group in self.points]
        found = [(x, y) for x, y in found if math.isfinite(y)]
        return [x for x, _ in found], [y for _, y in found]


def by_code_size(section: Section) -> list[Series]:
    """Models that were trained alike with codes of different sizes; none where all are of one size."""
    found = _groups(section, SIZES, attrgetter("code_size"))
    trained: dict[str, list[list[Record]]] = {}
    for group in found:
        alike = {k: v for k, v in group[0].line.items() if not k.startswith("model.") and k not in SIZES}
        trained.setdefault(_key(alike), []).append(group)
    several = [
        groups for groups in trained.values() if len({r.code_size for group in groups for r in group}) > 1
    ]
    return _series([group for groups in several for group in groups], SIZES, attrgetter("code_size"))


def by_epochs(section: Section) -> list[Series]:
    """Models that were trained for different numbers of epochs, all else the same."""
    found = _groups(section, ("epochs",), _epochs)
    return _series([group for group in found if len({_epochs(r) for r in group}) > 1], ("epochs",), _epochs)


def _epochs(record: Record) -> float:
    """Epochs that were asked for; NaN where the configuration has no number."""
    return or_nan(record.config.get("epochs"))


def _groups(section: Section, apart: Sequence[str], value: Callable[[Record], float]) -> list[list[Record]]:
    """The evaluated runs with an encoder, by all of their settings and λ but those apart."""
    groups: dict[str, list[Record]] = {}
    for record in section.records:
        if record.is_evaluated and record.kind != "GAN" and value(record) > 0:
            rest = {k: v for k, v in record.line.items() if k not in apart}
            groups.setdefault(_key(rest | {"kl_weight": record.kl_weight}), []).append(record)
    return list(groups.values())


def _series(
    groups: Sequence[list[Record]], apart: Sequence[str], value: Callable[[Record], float]
) -> list[Series]:
    """Series whose labels say in which other settings those of the same model differ."""
    found = []
    for group in groups:
        same = [other for other in groups if other[0].model == group[0].model]
        labels = group_labels(same, [_settings(other[0], apart) for other in same])
        label = labels[same.index(group)].replace("kl_weight=", "λ = ")
        by_value: dict[float, list[Record]] = {}
        for record in sorted(group, key=value):
            by_value.setdefault(value(record), []).append(record)
        points = tuple((place, Group(label, tuple(records))) for place, records in by_value.items())
        found.append(Series(label, points))
    return found


def _settings(record: Record, apart: Sequence[str]) -> dict[str, object]:
    rest = {k: v for k, v in record.line.items() if k not in apart}
    return rest | ({} if record.kl_weight is None else {"kl_weight": f"{record.kl_weight:g}"})


def _key(settings: dict[str, object]) -> str:
    return repr(sorted(settings.items(), key=str))
