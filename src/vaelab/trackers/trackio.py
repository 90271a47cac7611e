"""trackio: its local database, for `trackio show --project vaelab`, or the Space or server that its variables name."""

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trackio

from vaelab import trackers
from vaelab.trackers import PROJECT, Subject


class Trackio:
    """A run of trackio, which knows runs by their names."""

    def __init__(self, subject: Subject) -> None:
        self.id = subject.id or f"{subject.name}-{uuid.uuid4().hex[:8]}"
        self._run = trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", PROJECT),
            name=self.id,
            group=subject.group,
            config=dict(subject.config),
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def log(self, row: Mapping[str, Any]) -> None:
        """A row of its own."""
        self._run.log(trackers.numbers(row), step=row["step"])

    def flush(self) -> None:
        """trackio's own thread writes within half a second."""

    def finish(self, metrics: Mapping[str, float], figures: Mapping[str, Path], step: int) -> None:
        """Numbers, and media."""
        values = {f"test/{name}": value for name, value in metrics.items()}
        media = {
            name: trackio.Video(path) if path.suffix == ".gif" else trackio.Image(path)
            for name, path in figures.items()
        }
        if values or media:
            self._run.log(values | media, step=step)

    def close(self) -> None:
        """Waits until all is written, or sent."""
        self._run.finish()
