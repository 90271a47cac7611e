"""What is measured and drawn of a trained run, and kept in its folder."""

from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import torch
from omegaconf import DictConfig
from torch import nn

from vaelab import build, figures
from vaelab.data import ImageSet
from vaelab.evaluations import Context, evaluated
from vaelab.losses import Loss
from vaelab.runs.folder import Run
from vaelab.runs.history import Row
from vaelab.runs.job import Job


def draw_snapshot(job: Job, run: Run, epoch: int) -> None:
    """Keeps what some evaluations show of this epoch, as figures/<name>/epoch_0010.png and its arrays."""
    if epoch not in (*job.cfg.snapshot_epochs, job.cfg.epochs):
        return
    read = context(job.cfg, job.network, job.criterion, job.images, [], job.device, epoch)
    for name, evaluation in job.evaluations.items():
        if getattr(evaluation, "at_snapshots", False):
            keep(run, f"{name}/epoch_{epoch:04d}", evaluation(read), job.cfg.dpi)


def evaluate(run: Run, evaluations: Mapping[str, Any], read: Context, dpi: int) -> None:
    """Writes each evaluation's arrays and figure, then all metrics, findings and checksums."""
    metrics: dict[str, float] = dict(run.metrics)
    findings: dict[str, list[str]] = dict(run.info.get("findings", {}))
    for name, evaluation in evaluations.items():
        result = evaluated(evaluation, read)
        keep(run, name, result, dpi)
        metrics |= result.metrics
        findings[name] = list(result.findings)
    run.write_json("evaluation/metrics.json", metrics)
    run.update(findings={name: found for name, found in findings.items() if found})
    run.seal()


def keep(run: Run, name: str, result: Any, dpi: int) -> None:
    """Writes arrays/<name>.npz, what is asked for as .npy beside it, and figures/<name>.png."""
    run.write_arrays(name, result.arrays)
    for other, array in result.plain.items():
        run.write_array(other, array)
    if result.figure is not None:
        figures.save(result.figure, run.folder / "figures" / f"{name}.png", dpi)


def context(
    cfg: DictConfig,
    network: nn.Module,
    criterion: Loss,
    images: ImageSet,
    history: list[Row],
    device: torch.device,
    epoch: int,
) -> Context:
    """What evaluations read: the network in evaluation mode and float32, the splits, the history, a title."""
    criterion.epoch.fill_(epoch)  # what a schedule of the KL weight reads
    weighted = [f"λ = {criterion.kl_weight:g}"] if criterion.needs == "posterior" else []
    architecture = str(cfg.model._target_).rpartition(".")[2]
    return Context(
        model=network.eval(),
        loss=criterion.eval(),
        batches=cache(partial(build.evaluation_loader, images, batch_size=cfg.batch_size, device=device)),
        classes=images.classes,
        history=history,
        title=" · ".join([images.name, architecture, *weighted, f"epoch {epoch}"]),
    )
