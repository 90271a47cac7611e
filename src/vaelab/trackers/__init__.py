"""Trackers: what a run is followed with beside its folder; each is told the same by one small interface"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module, util
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from vaelab import UsageError

Name = Literal["tensorboard", "wandb", "mlflow", "trackio"]  # of its package, its extra and its module here
CLASSES = {"tensorboard": "TensorBoard", "wandb": "WandB", "mlflow": "MLflow", "trackio": "Trackio"}
PROJECT = "vaelab"
SUFFIXES = (".png", ".gif")  # of figures


@dataclass(frozen=True)
class Subject:
    """The run that a tracker is told of."""

    name: str  # <dataset>/<model>/<run name>
    group: str  # of the runs of one sweep
    folder: Path
    output_dir: Path
    config: Mapping[str, Any]
    id: str | None  # by which the tracker knows it from earlier


class Tracker(Protocol):
    """Somebody else's record of a run; anything may raise anything."""

    id: str

    def log(self, row: Mapping[str, Any]) -> None:
        """Takes a row of metrics.csv."""

    def flush(self) -> None:
        """Returns once what was logged is no longer in this process alone."""

    def finish(self, metrics: Mapping[str, float], figures: Mapping[str, Path], step: int) -> None:
        """Takes the numbers of the trained run, and its figures by name."""

    def close(self) -> None:
        """Ends the record, of a finished run or of one that goes on later."""


def begin(name: str, subject: Subject) -> Tracker:
    """The tracker of this name, with the configuration of a run that it begins, or goes on with."""
    tracker: Tracker = getattr(import_module(f"vaelab.trackers.{name}"), CLASSES[name])(subject)
    return tracker


def refuse_missing(names: Iterable[str]) -> None:
    """Raises UsageError for a tracker whose package is not there; imports none."""
    for name in names:
        if util.find_spec(name) is None:
            raise UsageError(f"trackers=[{name}] needs {name}: pip install 'vaelab[{name}]'")


def numbers(row: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a row by the names that trackers have for them: train/loss."""
    return {f"{row['split']}/{name}": value for name, value in row.items() if name not in ("step", "split")}


def figures(folder: Path) -> dict[str, Path]:
    """The figures of a run by name: a moving picture's ends in .gif, for most have a figure of the same name."""
    found = [path for path in sorted((folder / "figures").rglob("*")) if path.suffix in SUFFIXES]
    return {path.relative_to(folder).as_posix().removesuffix(".png"): path for path in found}


assert set(CLASSES) == set(get_args(Name))
