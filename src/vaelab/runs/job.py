"""Everything that a training run needs, built and checked before anything is written."""

from dataclasses import dataclass
from typing import Any

from lightning_fabric import Fabric
from omegaconf import DictConfig

from vaelab import UsageError, build
from vaelab.data import ImageSet, Loader
from vaelab.losses import Loss
from vaelab.runs.history import MOST_ROWS


@dataclass(frozen=True)
class Job:
    """Everything that one training run needs, built and checked before anything is written."""

    cfg: DictConfig
    hardware: build.Hardware
    engine: Fabric
    images: ImageSet
    loaders: tuple[Loader, Loader]  # train and val
    network: build.Network
    criterion: Loss
    evaluations: dict[str, Any]


def prepare(cfg: DictConfig, like: Job | None = None) -> Job:
    """Builds a job, on the images and loaders of one that differs in its numbers only, if given.

    Raises UsageError for every mistake in the configuration or the data.
    """
    build.check(cfg)
    hardware = like.hardware if like else build.hardware(cfg)
    build.rehearse(cfg)
    images = like.images if like else build.dataset(cfg)
    network = build.model(cfg, images.image_shape, len(images.classes))
    criterion = build.loss(cfg, network)
    evaluations = build.evaluations(cfg, network, images)
    engine = like.engine if like else build.fabric(hardware)
    loaders = like.loaders if like else build.loaders(cfg, images, engine.device)
    refuse_long_history(cfg, len(loaders[0]))
    return Job(cfg, hardware, engine, images, loaders, network, criterion, evaluations)


def refuse_long_history(cfg: DictConfig, steps: int) -> None:
    """Raises UsageError where epochs of so many steps give more rows of metrics.csv than are ever read."""
    rows = cfg.epochs * (2 + (steps // cfg.log_every if cfg.log_every else 0))
    if rows > MOST_ROWS:
        often = f" and log_every={cfg.log_every}" if cfg.log_every else ""
        raise UsageError(
            f"epochs={cfg.epochs}{often} give {rows:,} rows of metrics.csv, more than {MOST_ROWS:,}: take fewer"
        )
