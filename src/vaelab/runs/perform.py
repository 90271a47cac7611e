"""One run, from a configuration to a finished folder: train, measure, draw."""

import math
import platform
import statistics
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from vaelab import Failure, build, hardware, machine, plugins, views
from vaelab.data import SPLITS, Feed
from vaelab.evaluations import measure
from vaelab.hardware import Hardware
from vaelab.quantities import stored
from vaelab.runs import job as jobs
from vaelab.runs.drawing import Drawer, Workers
from vaelab.runs.folder import Run
from vaelab.runs.identity import refuse_change
from vaelab.runs.job import Job
from vaelab.runs.measure import context, draw_snapshot, epoch_of_weights, evaluating
from vaelab.runs.repair import restore_checkpoint
from vaelab.runs.request import Request
from vaelab.runs.tracking import Tracking
from vaelab.training.average import Average
from vaelab.training.capture import Lane, Plain, Stream
from vaelab.training.loop import OutOfTime, Plan, best_epoch, fit
from vaelab.training.rates import Rates, Schedule
from vaelab.training.step import Bounds, Randomness, Step
from vaelab.training.training import Training
from vaelab.training.validation import Validation


def perform(request: Request, processes: int | None = None) -> None:
    """Does what is left of a run; raises UsageError for a mistake and NotFinite for a loss that is lost.

    So many processes draw beside it; None is as many as pay.
    """
    with Workers(processes) as workers:
        alone(request, workers)


def alone(request: Request, workers: Workers) -> None:
    """Does what is left of a run beside which there is no other."""
    for images in steps(request, workers):
        if not images:
            workers.help()


def steps(request: Request, workers: Workers) -> Generator[int, None, None]:
    """Does what is left of a run; yields the number of images of each step of its training, then 0 while workers draw.

    Several runs share a device when their steps are taken in turn. The workers draw. Raises as perform() does.
    """
    job, run, drawer = jobs.prepare(request.cfg), request.run, Drawer(workers)
    with run.locked():
        if run.is_done():  # by another process, since the command began
            return
        refuse_change(run, job.cfg, job.images.fingerprint)
        restore_checkpoint(run)
        job = replace(job, hardware=hardware.continued(job.hardware, job.cfg.trainer, run.info))
        with run.recorded(), _device_failures(job):
            run.start(job.cfg, request.command, facts(job) | {"sweep": None, **request.facts})
            with Tracking(run, job.cfg.get("trackers") or ()) as tracking:
                try:
                    yield from train(job, run, drawer)
                except OutOfTime as pause:
                    return run.pause(str(pause))
                yield from finish(job, run, drawer, tracking)


class OutOfMemory(Failure):
    """The device has no room for a run."""


@contextmanager
def _device_failures(job: Job) -> Iterator[None]:
    """Raises what a device has no room for, or no answer to, as failures in words."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        remedy = "take a smaller batch_size, or fewer runs at once (hydra.launcher.at_once)"
        raise OutOfMemory(
            f"out of memory on {device_name(job.device.type)} with batch_size={job.cfg.batch_size}: {remedy}"
        ) from error
    except RuntimeError as error:
        words = str(error).splitlines()[0] if str(error) else ""
        if job.device.type != "cuda" or "CUDA" not in words:
            raise
        raise Failure(
            f"the device failed ({words}): the same command goes on from the last checkpoint"
        ) from error


def train(job: Job, run: Run, drawer: Drawer) -> Iterator[int]:
    """Trains, or continues, and saves the weights; raises NotFinite and OutOfTime."""
    if job.cfg.trainer.compile is True and not job.hardware.compile:
        run.log(f"not compiled: {job.hardware.reasons['compile']}")
    reset_peak_memory(job)
    model = hardware.Placed(job.network, job.hardware, run.log)
    if run.checkpoint_facts() is None:
        initialise(job)
    training = assemble(job, model)
    for _ in fit(run, training, plan(job, run, training, model, drawer)):
        yield job.cfg.batch_size
    run.save_weights(training.finish())
    run.update(training=training_facts(job, run, training))
    if model.not_compiled_because:
        reasons = {**job.hardware.reasons, "compile": model.not_compiled_because}
        run.update(compile=False, chosen_because=reasons)


def initialise(job: Job) -> None:
    """Has a network that begins from the data see the training images, before the first step."""
    begin = getattr(job.network, "initialise", None)
    if begin is not None:
        batches = build.evaluation_loader(job.images, "train", job.cfg.batch_size, job.device)
        begin(batches, beta_eff(job))


def assemble(job: Job, model: Any) -> Training:
    """The parts of a training, on the job's device."""
    cfg, trainer, device = job.cfg, job.cfg.trainer, job.device
    criterion = job.criterion.to(device)
    optimizers = build.optimizers(cfg, job.network.players(), device)
    randomness = Randomness(cfg.seed, device)
    lane = lane_of(job.hardware, randomness.noise)
    feed = Feed(job.loaders[0])
    schedule = Schedule(
        cfg.lr_schedule, cfg.epochs, cfg.lr_warmup_epochs, cfg.lr_step_epochs, cfg.lr_step_factor
    )
    rates = Rates(optimizers.values(), schedule, feed.steps, device)
    average = None if trainer.ema is None else Average(job.network, trainer.ema)
    bounds = Bounds(trainer.gradient_clip, trainer.skip_gradient_above)
    step = Step(model, criterion, optimizers, feed, randomness, rates, bounds, average, lane)
    measured = measure if "encoder" in job.network.offers else lambda model, batch: {}
    validation = Validation(model, criterion, job.loaders[1], measured, randomness.noise, lane)
    return Training(job.network, criterion, optimizers, step, validation, rates, average)


def lane_of(chosen: Hardware, noise: torch.Generator) -> Lane:
    """Where the steps of a run are done."""
    return Stream(chosen, noise) if chosen.device.type == "cuda" else Plain("on a CPU a step is called")


def plan(job: Job, run: Run, training: Training, model: Any, drawer: Drawer) -> Plan:
    """How fit() trains this configuration."""
    cfg = job.cfg
    return Plan(
        epochs=cfg.epochs,
        max_seconds=cfg.trainer.max_seconds,
        log_every=cfg.log_every,
        draw=partial(draw_snapshot, job, run, drawer=drawer),
        keeps_best=cfg.trainer.keep == "best",
        patience=cfg.trainer.patience,
        after_epoch=Compilation(job, run, training, model),
    )


class Compilation:
    """Compiles a network on a GPU once the time of an epoch says that it pays, where that is left to the program."""

    def __init__(self, job: Job, run: Run, training: Training, model: Any) -> None:
        self._waits = job.cfg.trainer.compile == "auto" and job.device.type == "cuda"
        self._job, self._run, self._training, self._model = job, run, training, model
        self._epochs = 0

    def __call__(self, seconds: float, left: int) -> None:
        """Looks at an epoch of training that took so long; the first, in which the step is captured, says nothing."""
        self._epochs += 1
        if not self._waits or self._epochs != 2 or (because := hardware.pays(seconds * left)) is None:
            return
        reasons = {**self._job.hardware.reasons, "compile": because}
        self._run.update(compile=True, chosen_because=reasons)
        self._model.compile()
        for repeated in (self._training.step.repeated, self._training.validation.repeated):
            repeated.forget()


def training_facts(job: Job, run: Run, training: Training) -> dict[str, Any]:
    """What run.json says of how a run was trained."""
    rows = run.history
    last = int(rows[-1]["epoch"])
    repeated = training.step.repeated
    how = {"captured": repeated.is_captured, "not_captured_because": repeated.because}
    return {
        **(how if repeated.calls else run.info.get("training", {})),  # trained before, but not measured
        "epochs": last,
        "stopped_early": last < job.cfg.epochs,
        "weights": "average" if job.cfg.trainer.ema is not None else "plain",
        "weights_of_epoch": best_epoch(rows) if job.cfg.trainer.keep == "best" else last,
    }


def finish(job: Job, run: Run, drawer: Drawer, tracking: Tracking) -> Iterator[int]:
    """Measures and draws a trained run, and marks it as done; yields 0 while only others have work left."""
    epoch = epoch_of_weights(run)
    read = context(job.cfg, job.network, job.criterion, job.images, run.history, job.device, epoch)
    for _ in evaluating(run, job.evaluations, read, job.cfg.dpi, drawer):
        yield 0
    yield from tracking.finish()
    run.update(status="done", **tracking.facts(), **final_facts(job, run))


def facts(job: Job) -> dict[str, Any]:
    """What run.json says from the start."""
    images = job.images
    return {
        "plugins": plugins.hashes(build.own_modules(job.cfg)),
        "device": device_name(job.device.type),
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
        "model": {
            "family": family(job),
            "prior": getattr(job.network, "prior", None),
            "code": code_facts(job),
        },
        "beta_eff": beta_eff(job),
        "quantities": stored(job.quantities),
        "views": views.stored(job.evaluations),
    }


def family(job: Job) -> str:
    """What run.json calls the model: a GAN encodes nothing, and an AE has no prior that its codes are held to."""
    if "encoder" not in job.network.offers:
        return "GAN"
    return "VAE" if "prior" in job.network.offers else "AE"


@torch.no_grad()
def code_facts(job: Job) -> dict[str, Any] | None:
    """What run.json says of the code of an image; None of a GAN. The network is left as it was."""
    if "encoder" not in job.network.offers:
        return None
    network: Any = job.network
    parameter, was_training = next(network.parameters()), network.training
    image = torch.zeros(1, *job.images.image_shape, device=parameter.device)
    code = network.eval().encode(image, torch.zeros(1, dtype=torch.int64, device=parameter.device))
    network.train(was_training)
    units = math.prod(network.code_shape)
    return {"shape": list(network.code_shape), "units": units, "bits": code.bits, "layers": code.layers}


def final_facts(job: Job, run: Run) -> dict[str, Any]:
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
        "peak_memory_bytes": peak_memory(job.device.type),
    }


def beta_eff(job: Job) -> float | None:
    """The weight of the KL term in common units; None without one, or before a learned sigma is known."""
    weight = job.criterion.beta_eff(math.prod(job.images.image_shape))
    return None if weight is None or math.isnan(weight) else weight


def reset_peak_memory(job: Job) -> None:
    """Begins to count anew, where the device can: one process may do several runs."""
    if job.device.type == "cuda":
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
