"""What is measured and drawn of a trained run, and kept in its folder."""

import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import nn
from tqdm import tqdm

from vaelab import build, files, hardware, moving, views
from vaelab.data import ImageSet
from vaelab.evaluations import Begun, Context, Result, without_lost
from vaelab.losses import Loss
from vaelab.quantities import stored
from vaelab.runs.drawing import Drawer, Workers
from vaelab.runs.folder import Run
from vaelab.runs.history import Row
from vaelab.runs.job import Job

UNFINISHED = Path("checkpoints", "unfinished")
MOST_BYTES = 1 << 28  # of a snapshot's arrays: 1,000 images of 128×128×3 twice


def draw_snapshot(job: Job, run: Run, epoch: int, drawer: Drawer | None = None) -> None:
    """Keeps what some evaluations show of this epoch, as figures/<name>/epoch_0010.png and its arrays.

    The arrays are on the disk on return; without a drawer the figures are too.
    """
    if epoch not in (*job.cfg.snapshot_epochs, job.cfg.epochs):
        return
    read = context(job.cfg, job.network, job.criterion, job.images, [], job.device, epoch)
    drawer = drawer or Drawer(Workers(0))
    for name, evaluation in job.evaluations.items():
        if getattr(evaluation, "at_snapshots", False):
            keep(run, f"{name}/epoch_{epoch:04d}", evaluation(read), job.cfg.dpi, drawer, background=True)


def draw_missing(run: Run, evaluations: Mapping[str, Any], read: Context, dpi: int, drawer: Drawer) -> None:
    """Draws the snapshots whose arrays a process that was killed had kept, but not their figures."""
    for name, evaluation in evaluations.items():
        for file in sorted((run.folder / "arrays" / name).glob("epoch_*.npz")):
            path = run.folder / "figures" / name / f"{file.stem}.png"
            if path.exists() or not hasattr(evaluation, "drawing"):
                continue
            draw = None
            with suppress(Exception):  # a file may be damaged in many ways, and is no picture then
                epoch = int(file.stem.removeprefix("epoch_"))
                of_epoch = replace(read, title=read.title.rpartition("epoch ")[0] + f"epoch {epoch}")
                draw = evaluation.drawing(files.small_arrays(file, MOST_BYTES), of_epoch)
            if draw:
                drawer.draw(draw, path, dpi)


def animate_snapshots(run: Run, evaluations: Mapping[str, Any], drawer: Drawer) -> None:
    """Has the snapshots of each evaluation, from the first epoch to the last, become figures/snapshots/<name>.gif."""
    for name, evaluation in evaluations.items():
        if not hasattr(evaluation, "frame"):
            continue
        frames: list[np.ndarray] = []
        for file in sorted((run.folder / "arrays" / name).glob("epoch_*.npz")):
            with suppress(Exception):  # a file may be damaged in many ways, and is no picture then
                frames.append(evaluation.frame(files.small_arrays(file, MOST_BYTES)))
        alike = [frame for frame in frames if frame.shape == frames[-1].shape]
        if len(alike) > 1:
            drawer.animate(moving.along_epochs(alike), run.folder / "figures" / "snapshots" / f"{name}.gif")


def evaluate(
    run: Run, evaluations: Mapping[str, Any], read: Context, dpi: int, drawer: Drawer | None = None
) -> None:
    """Writes each evaluation's arrays and figure, then all metrics, findings and checksums."""
    with ExitStack() as stack:
        drawer = drawer or Drawer(stack.enter_context(Workers()))
        for _ in evaluating(run, evaluations, read, dpi, drawer):
            drawer.workers.help()


def evaluating(
    run: Run, evaluations: Mapping[str, Any], read: Context, dpi: int, drawer: Drawer
) -> Iterator[None]:
    """As evaluate(), in turns: after the first all that needs the model is measured, and workers have the rest."""
    read = replace(read, unfinished=run.folder / UNFINISHED)
    results: dict[str, Result] = {}
    begun: list[tuple[str, Begun, Future[Any]]] = []
    with progress(len(evaluations)) as bar:

        def put(name: str, result: Result) -> None:
            result = without_lost(result)
            drawing = keep(run, name, result, dpi, drawer)
            results[name] = replace(result, arrays={}, draw=None, plain={})  # which are large
            if drawing:
                drawing.add_done_callback(lambda _: advance(bar))
            else:
                advance(bar)

        # What takes long elsewhere begins first; on a CPU it would hold up what is measured here, and so waits for it.
        order = sorted(evaluations, key=lambda name: not hasattr(evaluations[name], "begin"))
        with drawer.workers.held(next(read.model.parameters()).device.type == "cpu"):
            for place, name in enumerate(order, 1):
                bar.set_description(f"measuring {place} of {len(order)}")
                evaluation = evaluations[name]
                found = getattr(evaluation, "begin", evaluation)(read)
                if isinstance(found, Result):
                    put(name, found)
                    continue
                computed = drawer.workers.submit(found.compute)
                if computed.done():  # here, and so its codes need not be kept any longer
                    put(name, found.complete(computed.result()))
                else:
                    begun.append((name, found, computed))
        while begun:
            yield
            for one in [one for one in begun if one[2].done()]:
                begun.remove(one)
                name, half, computed = one
                put(name, half.complete(computed.result()))
        while not drawer.is_done():
            yield
        draw_missing(run, evaluations, read, dpi, drawer)
        animate_snapshots(run, evaluations, drawer)
        while not drawer.is_done():
            yield
    write_results(run, {name: results[name] for name in evaluations}, evaluations)


def write_results(run: Run, results: Mapping[str, Result], evaluations: Mapping[str, Any]) -> None:
    """Adds metrics, findings, facts and what evaluations say of them to those of earlier ones, and seals the folder.

    A run of a version that said nothing of its numbers or arrays stays such a run.
    """
    own = [one for evaluation in evaluations.values() for one in getattr(evaluation, "quantities", ())]
    metrics: dict[str, float] = dict(run.metrics)
    findings: dict[str, list[str]] = dict(run.info.get("findings", {}))
    facts: dict[str, Any] = {}
    for name, result in results.items():
        metrics |= result.metrics
        facts |= result.facts
        findings[name] = list(result.findings)
    run.write_json("evaluation/metrics.json", metrics)
    said = {"quantities": stored(own), "views": views.stored(evaluations)}
    added = {key: run.info[key] | new for key, new in said.items() if key in run.info}
    run.update(**facts | added | {"findings": {name: found for name, found in findings.items() if found}})
    shutil.rmtree(run.folder / UNFINISHED, ignore_errors=True)
    run.seal()


def progress(count: int) -> tqdm:
    """A bar over so many evaluations, each of which has ended once its figure is on the disk."""
    return tqdm(total=count, unit="figure", dynamic_ncols=True)


def advance(bar: tqdm) -> None:
    """Another figure is drawn, by whichever thread."""
    with bar.get_lock():
        bar.update()
        bar.set_description(f"drawing {min(bar.n + 1, bar.total)} of {bar.total}")


def keep(
    run: Run, name: str, result: Result, dpi: int, drawer: Drawer, background: bool = False
) -> Future[Any] | None:
    """Writes arrays/<name>.npz, what is asked for as .npy beside it, and has figures/<name>.png drawn, if any."""
    run.write_arrays(name, result.arrays)
    for other, array in result.plain.items():
        run.write_array(other, array)
    if result.moving is not None:
        drawer.animate(result.moving, run.folder / "figures" / f"{name}.gif")
    if result.draw is None:
        return None
    return drawer.draw(result.draw, run.folder / "figures" / f"{name}.png", dpi, background)


def epoch_of_weights(run: Run) -> int:
    """The epoch that the weights of a run come from: its last, the best where that was kept, or 0 of a foreign one."""
    rows = run.history
    return int(run.info.get("training", {}).get("weights_of_epoch", rows[-1]["epoch"] if rows else 0))


def context(
    cfg: DictConfig,
    network: nn.Module,
    criterion: Loss,
    images: ImageSet,
    history: list[Row],
    device: torch.device,
    epoch: int,
) -> Context:
    """What evaluations read: the network in evaluation mode and float32, the splits, the history, a title.

    Epoch 0 is of weights that were not trained here.
    """
    hardware.allow_tf32(device, False)  # whatever the runs of this process train in
    criterion.epoch.fill_(epoch)  # what a schedule of the KL weight reads
    weighted = [] if criterion.kl_weight is None else [f"λ = {criterion.kl_weight:g}"]
    architecture = str(cfg.model._target_).rpartition(".")[2]
    return Context(
        model=network.eval(),
        loss=criterion.eval(),
        batches=cache(partial(build.evaluation_loader, images, batch_size=cfg.batch_size, device=device)),
        classes=images.classes,
        history=history,
        title=" · ".join([images.name, architecture, *weighted, *([f"epoch {epoch}"] if epoch else [])]),
    )
