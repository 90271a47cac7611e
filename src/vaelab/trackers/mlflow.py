"""MLflow: a database in <output_dir>/mlflow, or the server that MLFLOW_TRACKING_URI names."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock
from mlflow.entities import Metric, Param
from mlflow.tracking import MlflowClient

from vaelab import trackers
from vaelab.keys import flatten
from vaelab.trackers import PROJECT, Subject

MOST_AT_ONCE = 100  # parameters that one request takes
LONGEST = 6000  # characters of a parameter
FINISHED, STOPPED = "FINISHED", "KILLED"  # as MLflow calls them


class MLflow:
    """A run of MLflow."""

    def __init__(self, subject: Subject) -> None:
        self._status = STOPPED
        if uri := os.environ.get("MLFLOW_TRACKING_URI"):
            self._client = MlflowClient(uri)
            experiment = self._experiment(None)
        else:
            folder = subject.output_dir.absolute() / "mlflow"
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / ".lock"):  # the runs of a sweep would make its tables at once
                self._client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
                experiment = self._experiment((folder / "artifacts").as_uri())
        if subject.id is not None:
            self.id = subject.id
            return self._client.update_run(self.id, status="RUNNING")
        run = self._client.create_run(experiment, tags={"group": subject.group}, run_name=subject.name)
        self.id = run.info.run_id
        found = [Param(key, str(value)[:LONGEST]) for key, value in flatten(subject.config).items()]
        for start in range(0, len(found), MOST_AT_ONCE):
            self._client.log_batch(self.id, params=found[start : start + MOST_AT_ONCE])

    def log(self, row: Mapping[str, Any]) -> None:
        """A metric for each number."""
        self._metrics(trackers.numbers(row), row["step"])

    def flush(self) -> None:
        """The database has it already."""

    def finish(self, metrics: Mapping[str, float], figures: Mapping[str, Path], step: int) -> None:
        """Metrics, and artifacts."""
        self._metrics({f"test/{name}": value for name, value in metrics.items()}, step)
        for name, path in figures.items():
            self._client.log_artifact(self.id, str(path), name.rpartition("/")[0])
        self._status = FINISHED

    def close(self) -> None:
        """Says how the run ended."""
        self._client.set_terminated(self.id, self._status)

    def _experiment(self, artifacts: str | None) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        if found := self._client.get_experiment_by_name(name):
            return str(found.experiment_id)
        return str(self._client.create_experiment(name, artifact_location=artifacts))

    def _metrics(self, values: Mapping[str, float], step: int) -> None:
        now = int(time.time() * 1000)
        found = [Metric(name, value, now, step) for name, value in values.items()]
        self._client.log_batch(self.id, metrics=found)
