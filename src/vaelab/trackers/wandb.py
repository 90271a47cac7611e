"""Weights & Biases: offline in the run folder, for `wandb sync`, or online where there is a login."""

import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb
from wandb.sdk.lib.wbauth import read_netrc_auth

from vaelab import trackers
from vaelab.trackers import PROJECT, Subject

LONGEST_GROUP = 128  # characters that W&B takes


class WandB:
    """A run of W&B, whose charts have the step of the training below them."""

    def __init__(self, subject: Subject) -> None:
        self.id = subject.id or uuid.uuid4().hex[:8]
        settings = wandb.Settings(console="off", silent=True, x_disable_stats=True, x_disable_meta=True)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            id=self.id,
            name=subject.name,
            group=subject.group[:LONGEST_GROUP],
            dir=os.environ.get("WANDB_DIR", subject.folder),
            config=dict(subject.config),
            resume="allow",
            mode=None
            if has_login() or os.environ.get("WANDB_MODE")
            else "offline",  # None: what it says itself
            settings=settings,
        )
        self._run.define_metric("*", step_metric="step")

    def log(self, row: Mapping[str, Any]) -> None:
        """A row of the history."""
        self._run.log({"step": row["step"], **trackers.numbers(row)})

    def flush(self) -> None:
        """W&B's own process has it already."""

    def finish(self, metrics: Mapping[str, float], figures: Mapping[str, Path], step: int) -> None:
        """The summary, and media."""
        self._run.summary.update({f"test/{name}": value for name, value in metrics.items()})
        media = {
            name: wandb.Video(str(path), format="gif") if path.suffix == ".gif" else wandb.Image(str(path))
            for name, path in figures.items()
        }
        if media:
            self._run.log({"step": step, **media})

    def close(self) -> None:
        """Waits until all is written, or sent."""
        self._run.finish()


def has_login() -> bool:
    """Whether W&B knows who the user is."""
    host = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    return bool(os.environ.get("WANDB_API_KEY") or read_netrc_auth(host=host))
