"""The runs of a page: found, held to be finished, and put into lines along λ."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vaelab import UsageError
from vaelab.keys import flatten, kl_weight_of, without
from vaelab.names import choice_of
from vaelab.runs.find import find
from vaelab.runs.identity import resolved
from vaelab.runs.open_run import OpenedRun
from vaelab.words import printable

# What does not tell lines apart. In a report seeds do not either, for they are averaged there; here each is a network.
HIDDEN = {*without("draws_lines"), "loss.kl_weight"} - {"seed"}


@dataclass(frozen=True)
class Line:
    """Finished runs on the same images that differ in λ alone, by ascending λ; one run where there is no λ."""

    name: str
    dataset: str
    runs: tuple[OpenedRun, ...]
    weights: tuple[float | None, ...]  # λ of each run, None for a run without one

    @property
    def first(self) -> OpenedRun:
        """The run that says what all have in common."""
        return self.runs[0]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        channels, height, width = self.first.info["dataset"]["shape"]
        return int(channels), int(height), int(width)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes of the data."""
        return tuple(printable(str(name)) for name in self.first.info["dataset"].get("classes") or ())


def read(
    pattern: str, passed_over: Path, data_dir: str | None, own_modules: Sequence[str]
) -> tuple[list[Line], list[str]]:
    """The lines of the finished runs that a glob pattern matches, and why the others are left out.

    Raises UsageError where no finished run is left.
    """
    folders = find(pattern, passed_over)
    if not folders:
        raise UsageError(
            f"there are no run folders in {pattern}: vae-train makes one, vae-sweep several; give runs=GLOB"
        )
    opened, refused = [], []
    for folder in folders:
        try:
            opened.append(_opened(folder, data_dir, own_modules))
        except UsageError as reason:
            refused.append(printable(str(reason)))
    if not opened:
        raise UsageError(refused[0] if len(refused) == 1 else f"none of {len(refused)} runs: {refused[0]}")
    return _lines(opened), refused


def kl_weight(run: OpenedRun) -> float | None:
    """λ of a run, or what a target of the KL has driven it to, in three digits; None without one or with many."""
    weight = kl_weight_of(run.config, run.metrics)
    return float(weight) if isinstance(weight, int | float) else None


def model(run: OpenedRun) -> str:
    """The model's name."""
    return choice_of("model", str(run.config.model._target_))


def _opened(folder: Path, data_dir: str | None, own_modules: Sequence[str]) -> OpenedRun:
    run = OpenedRun(folder, data_dir, own_modules=own_modules)
    if not run.run.is_done():
        status = run.info.get("status")
        raise UsageError(f"{folder} is not done ({status}): give the command that began it again")
    run.check()
    return run


def _lines(runs: Sequence[OpenedRun]) -> list[Line]:
    """Each run in the first line that it fits and that does not have its λ yet; the longest lines first."""
    lines: dict[str, list[dict[float | None, OpenedRun]]] = {}
    for run in runs:
        weight = kl_weight(run)
        same = lines.setdefault(f"{weight is None} {_key(run)}", [])
        line = next((line for line in same if weight not in line), None)
        if line is None or weight is None:
            same.append({weight: run})
        else:
            line[weight] = run
    found = sorted((line for same in lines.values() for line in same), key=len, reverse=True)
    return [_line(line, name) for line, name in zip(found, _told_apart(found), strict=True)]


def _line(members: Mapping[float | None, OpenedRun], name: str) -> Line:
    ordered = sorted(members.items(), key=lambda item: item[0] or 0.0)
    data = printable(str(ordered[0][1].info["dataset"].get("name")))
    return Line(name, data, tuple(run for _, run in ordered), tuple(weight for weight, _ in ordered))


def _told_apart(lines: Sequence[Mapping[float | None, OpenedRun]]) -> list[str]:
    """The model of each line, and the settings that its folder is named after where several have the same data too."""
    firsts = [next(iter(line.items())) for line in lines]
    short = [(model(run), run.info["dataset"].get("fingerprint")) for _, run in firsts]
    names = []
    for (weight, run), (name, data) in zip(firsts, short, strict=True):
        is_alone = short.count((name, data)) == 1
        names.append(printable(name if is_alone else f"{name}: {_settings(run, weight is not None)}"))
    return names


def _settings(run: OpenedRun, has_weight: bool) -> str:
    hidden = HIDDEN if has_weight else HIDDEN - {"kl_weight"}
    parts = re.split(r",(?=[^,\[\]]*=)", run.run.folder.name)
    kept = [part for part in parts if not hidden & set(_prefixes(part.partition("=")[0]))]
    return ", ".join(kept) or "default"


def _key(run: OpenedRun) -> str:
    """What the runs of one line have in common, as text."""
    values = flatten(resolved(run.config))
    kept = {key: value for key, value in values.items() if not HIDDEN & set(_prefixes(key))}
    return repr((sorted(kept.items(), key=str), run.info["dataset"].get("fingerprint")))


def _prefixes(key: str) -> Iterator[str]:
    parts = key.split(".")
    return (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def folder_names(line: Line) -> list[str]:
    """The run folders of a line, relative to the working folder."""
    return [printable(os.path.relpath(run.run.folder)) for run in line.runs]
