"""One run, from a configuration to a finished folder: train, measure, draw."""

import math
import platform
import statistics
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from vaelab import build, machine
from vaelab.data import SPLITS
from vaelab.evaluations import measure
from vaelab.runs import job as jobs
from vaelab.runs.checkpoint import weights
from vaelab.runs.folder import Run
from vaelab.runs.identity import refuse_change
from vaelab.runs.job import Job
from vaelab.runs.measure import context, draw_snapshot, evaluate
from vaelab.runs.repair import restore_checkpoint
from vaelab.runs.request import Request
from vaelab.training.loop import Member, OutOfTime, Plan, fit, seed_all


def perform(asked: Request) -> None:
    """Does what is left of a run; raises UsageError for a mistake and NotFinite for a loss that is lost."""
    job, run = jobs.prepare(asked.cfg), asked.run
    with run.locked():
        if run.is_done():  # by another process, since the command began
            return
        begin(job, asked)
        with run.recorded():
            try:
                train(job, run)
            except OutOfTime as pause:
                return run.pause(str(pause))
            finish(job, run)


def begin(job: Job, asked: Request) -> None:
    """Writes the run's configuration and its first facts; raises UsageError where the folder is another run's."""
    refuse_change(asked.run, job.cfg, job.images.fingerprint)
    restore_checkpoint(asked.run)
    asked.run.start(job.cfg, asked.command, facts(job) | {"sweep": None, **asked.facts})


def train(job: Job, run: Run) -> None:
    """Trains, or continues, and saves the weights; raises NotFinite and OutOfTime."""
    cfg, engine = job.cfg, job.engine
    if cfg.trainer.compile is True and not job.hardware.compile:
        run.log(f"not compiled: {job.hardware.reasons['compile']}")
    reset_peak_memory(job)
    model, optimizers = build.setup(
        engine, job.network, build.optimizers(cfg, job.network.players()), job.hardware.compile
    )
    criterion = job.criterion.to(engine.device)
    member = Member.alone(run, model, criterion, optimizers, partial(draw_snapshot, job, run))
    clip = partial(clip_gradients, engine, model, optimizers, cfg.trainer.gradient_clip)
    planned = plan(job, partial(seed_all, cfg.seed), clip)
    fit(engine, model, criterion, optimizers, *job.loaders, [member], planned)
    if member.error:
        raise member.error
    run.save_weights(weights(job.network, criterion))


def plan(job: Job, seed: Callable[[int], None], clip: Callable[[str], None]) -> Plan:
    """How fit() trains this configuration."""
    trainer = job.cfg.trainer
    return Plan(
        epochs=job.cfg.epochs,
        seed=seed,
        clip=clip if trainer.gradient_clip else None,
        max_seconds=trainer.max_seconds,
        measure=measure if "encoder" in job.network.offers else lambda model, batch: {},
        log_every=job.cfg.log_every,
    )


def clip_gradients(
    engine: Fabric, model: nn.Module, optimizers: Mapping[str, Any], max_norm: float, player: str
) -> None:
    """Scales a player's gradients to the largest norm; the loss says itself when it is not finite."""
    engine.clip_gradients(model, optimizers[player], max_norm=max_norm, error_if_nonfinite=False)


def finish(job: Job, run: Run) -> None:
    """Measures and draws a trained run, and marks it as done."""
    read = context(
        job.cfg, job.network, job.criterion, job.images, run.history, job.engine.device, job.cfg.epochs
    )
    evaluate(run, job.evaluations, read, job.cfg.dpi)
    run.update(status="done", **measured(job, run))


def facts(job: Job) -> dict[str, Any]:
    """What run.json says from the start."""
    images = job.images
    return {
        "device": device_name(job.hardware.device),
        "precision": job.hardware.precision,
        "compile": job.hardware.compile,
        "chosen_because": job.hardware.reasons,
        "threads": torch.get_num_threads(),
        "seed": job.cfg.seed,
        "dataset": {
            "name": images.name,
            "source": images.source,
            "fingerprint": images.fingerprint,
            "sizes": {split: images.sizes()[split] for split in SPLITS},
            "shape": list(images.image_shape),
            "classes": list(images.classes),
        },
        "parameters": sum(p.numel() for player in job.network.players().values() for p in player),
        "beta_eff": beta_eff(job),
    }


def measured(job: Job, run: Run) -> dict[str, Any]:
    """What run.json says once the run is trained."""
    rows = run.history
    epochs = [row["seconds"] for row in rows if row["split"] == "train"]
    seconds = sum(row["seconds"] for row in rows if "seconds" in row)  # rows inside an epoch have none
    per_epoch = job.images.sizes()["train"] // job.cfg.batch_size * job.cfg.batch_size
    return {
        "beta_eff": beta_eff(job),
        "seconds": seconds,
        # The first epoch warms caches up; the median of the others is the steady state.
        "images_per_second": per_epoch / statistics.median(epochs[1:] or epochs),
        "peak_memory_bytes": peak_memory(job.hardware.device),
    }


def beta_eff(job: Job) -> float | None:
    """The weight of the KL term in common units; None without one, or before a learned sigma is known."""
    weight = job.criterion.beta_eff(math.prod(job.images.image_shape))
    return None if weight is None or math.isnan(weight) else weight


def reset_peak_memory(job: Job) -> None:
    """Begins to count anew, where the device can: one process may do several runs."""
    if job.engine.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()


def peak_memory(device: str) -> int:
    """Bytes: the most that the device's allocator held, or the process's largest resident set on a CPU."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return machine.peak_memory()


def device_name(kind: str) -> str:
    """The device in words, for run.json."""
    if kind == "cuda":
        return f"cuda: {torch.cuda.get_device_name()}"
    return f"cpu: {platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
