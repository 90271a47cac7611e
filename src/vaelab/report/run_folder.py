"""The files of a run folder as the report reads them: numbers by epoch, and arrays."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from vaelab import UsageError, views
from vaelab.keys import flatten
from vaelab.report import arrays
from vaelab.report.arrays import Array
from vaelab.report.values import number
from vaelab.runs import checksums
from vaelab.runs.history import Row
from vaelab.views import Rows, View
from vaelab.words import printable

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class RunFolder:
    """What a run folder holds."""

    folder: Path
    name: str  # the folder, without what all folders of the report have in common
    config: dict[str, Any]
    info: dict[str, Any]
    metrics: dict[str, float] = field(default_factory=dict)
    history: list[Row] = field(default_factory=list)  # rows of split steps are means inside an epoch
    problems: list[str] = field(default_factory=list)  # of its files, in words
    unchanged: set[str] = field(default_factory=set)  # files that have their checksum

    @cached_property
    def flat(self) -> dict[str, Any]:
        """The configuration, its keys in one level."""
        return flatten(self.config)

    @property
    def evaluations(self) -> list[str]:
        """The names of those that were asked for."""
        asked = self.config.get("evaluation")
        return list(asked) if isinstance(asked, dict) else []

    @cached_property
    def views(self) -> dict[str, tuple[View, ...]]:
        """How the arrays of its evaluations are shown."""
        return views.of_run(self.info)

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

    def curve_inside(self, column: str) -> tuple[list[float], list[float], list[float]]:
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

    def arrays(self, name: str, /, **axes: str) -> dict[str, Array]:
        """The named arrays of arrays/<name>.npz; empty where it lacks one, and a problem where it is damaged.

        Arrays whose axes end in a question mark may be absent.
        """
        others = [key for key, letters in axes.items() if letters.endswith("?")]
        known = {key: letters.removesuffix("?") for key, letters in axes.items()}
        return self._read(name, known, [key for key in axes if key not in others], others)

    def view_arrays(self, name: str, view: Rows) -> dict[str, Array]:
        """The arrays of a view of an evaluation, as arrays() gives them; those of captions only where they are."""
        others = [key for key in (view.above, view.beside, *view.arrays) if key]
        axes = dict.fromkeys((view.images, *view.key, *others), "*")
        found = self._read(name, axes, (view.images, *view.key), others)
        return self.attempt(name, lambda: arrays.check_view(view, found) if found else {}) or {}

    def attempt(self, name: str, call: Callable[[], Answer]) -> Answer | None:
        """What a call makes of the arrays of an evaluation; None, and a problem, where it fails."""
        try:
            return call()
        except UsageError as error:
            self._add_problem(str(error), name)
        except Exception:  # what others wrote may be wrong in any way
            remedy = checksums.remedy(self.folder, f"arrays/{name}.npz")
            self._add_problem(f"arrays/{name}.npz is damaged: {remedy}", name)
        return None

    def snapshots(self, name: str) -> list[int]:
        """The epochs of which an evaluation has kept arrays."""
        files = (self.folder / "arrays" / name).glob("epoch_*.npz")
        found = (re.fullmatch(r"epoch_(\d{4,9})", file.stem) for file in files)
        return sorted(int(epoch[1]) for epoch in found if epoch)

    def _read(
        self, name: str, axes: Mapping[str, str], keys: Sequence[str], if_there: Sequence[str]
    ) -> dict[str, Array]:
        file = self.folder / "arrays" / f"{name}.npz"

        def read() -> dict[str, Array]:
            if not file.exists():
                return {}
            arrays.refuse(file)
            self._refuse_changed(f"arrays/{name}.npz")
            return arrays.read(file, axes, keys, if_there)

        return self.attempt(name, read) or {}

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
