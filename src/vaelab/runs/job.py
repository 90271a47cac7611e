"""Everything that a training run needs, built and checked before anything is written."""

from dataclasses import dataclass
from typing import Any

import torch
from omegaconf import DictConfig

from vaelab import UsageError, build, hardware, plugins
from vaelab.data import ImageSet, Loader
from vaelab.hardware import Hardware
from vaelab.losses import Loss
from vaelab.quantities import LEARNING_RATE, SECONDS, SKIPPED, Quantity
from vaelab.runs.history import MOST_ROWS


@dataclass(frozen=True)
class Job:
    """Everything that one training run needs, built and checked before anything is written."""

    cfg: DictConfig
    hardware: Hardware
    images: ImageSet
    loaders: tuple[Loader, Loader]  # train and val
    network: build.Network
    criterion: Loss
    evaluations: dict[str, Any]

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        return self.hardware.device

    @property
    def quantities(self) -> list[Quantity]:
        """What the numbers of the run are called, of its training first."""
        parts = (self.criterion, self.network, *self.evaluations.values())
        found = [one for part in parts for one in getattr(part, "quantities", ())]
        return [*found, SKIPPED, LEARNING_RATE, SECONDS]


def prepare(cfg: DictConfig) -> Job:
    """Builds a job; raises UsageError for every mistake in the configuration or the data."""
    plugins.allow(cfg.get("plugins") or ())
    build.check(cfg)
    chosen = hardware.choose(cfg.trainer)
    build.rehearse(cfg)
    images = build.dataset(cfg)
    network = build.model(cfg, images.image_shape, len(images.classes))
    criterion = build.loss(cfg, network, images.sizes()["train"], images.image_shape)
    evaluations = build.evaluations(cfg, network, images)
    loaders = build.loaders(cfg, images, chosen.device)
    refuse_long_history(cfg, len(loaders[0]))
    return Job(cfg, chosen, images, loaders, network, criterion, evaluations)


def refuse_long_history(cfg: DictConfig, steps: int) -> None:
    """Raises UsageError where epochs of so many steps give more rows of metrics.csv than are ever read."""
    rows = cfg.epochs * (2 + (steps // cfg.log_every if cfg.log_every else 0))
    if rows > MOST_ROWS:
        often = f" and log_every={cfg.log_every}" if cfg.log_every else ""
        raise UsageError(
            f"epochs={cfg.epochs}{often} give {rows:,} rows of metrics.csv, more than {MOST_ROWS:,}: take fewer"
        )
