"""fit(): the training loop, one page."""

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer
from tqdm import tqdm

from vaelab.run import Row, Run

Terms = dict[str, Tensor]


class NotFinite(Exception):
    """The loss became infinite or not a number."""


class OutOfTime(Exception):
    """trainer.max_seconds has passed; the run can be continued."""


@dataclass(frozen=True)
class Plan:
    """How long to train and what to do at an epoch's end."""

    epochs: int
    seed: int
    gradient_clip: float | None
    max_seconds: float | None
    measure: Callable[[nn.Module, Any], Terms]  # mse and psnr of a batch's reconstructions
    draw: Callable[[int], None]  # what is kept of this epoch, if anything


def fit(
    fabric: Fabric,
    model: nn.Module,
    loss: nn.Module,
    optimizers: Mapping[str, Optimizer],
    train: Any,
    val: Any,
    run: Run,
    plan: Plan,
) -> None:
    """Trains to the plan's last epoch, from the run's checkpoint if there is one.

    Writes metrics.csv and a checkpoint at each epoch's end. Raises NotFinite, OutOfTime.
    """
    started = time.perf_counter()
    epoch, step, rows = restore(model, loss, optimizers, run)
    with progress(plan.epochs, train, epoch) as bar:
        while epoch < plan.epochs:
            epoch += 1
            # Everything random in an epoch follows from the seed and the epoch's number, so that a continued
            # run needs no state of any generator, and nothing drawn in between disturbs it.
            seed_all(plan.seed, epoch)
            bar.set_description(f"epoch {epoch}/{plan.epochs}")
            tick = time.perf_counter()
            trained, step = train_epoch(fabric, model, loss, optimizers, train, plan, bar, epoch, step)
            tock = time.perf_counter()
            validated = validate(model, loss, val, plan)
            if not math.isfinite(validated["loss"]):  # the epoch's last step broke the weights
                raise NotFinite(f"the loss is not finite after step {step} (epoch {epoch})")
            lr = next(iter(optimizers.values())).param_groups[0]["lr"]
            facts = {"epoch": epoch, "step": step}
            rows += [
                facts | {"split": "train"} | trained | {"lr": lr, "seconds": tock - tick},
                facts | {"split": "val"} | validated | {"lr": lr, "seconds": time.perf_counter() - tock},
            ]
            bar.set_postfix({k: f"{trained[k]:.2f}" for k in ("loss", "elbo") if k in trained})
            run.log(f"epoch {epoch}: train {summary(trained)}; val {summary(validated)}", show=False)
            plan.draw(epoch)
            run.write_history(rows)
            run.save_checkpoint(state(model, loss, optimizers), facts)
            if plan.max_seconds and time.perf_counter() - started > plan.max_seconds and epoch < plan.epochs:
                raise OutOfTime(f"trainer.max_seconds={plan.max_seconds:g} passed after epoch {epoch}")


def train_epoch(
    fabric: Fabric,
    model: nn.Module,
    loss: Any,
    optimizers: Mapping[str, Optimizer],
    batches: Any,
    plan: Plan,
    bar: tqdm,
    epoch: int,
    step: int,
) -> tuple[dict[str, float], int]:
    """One pass over the training split; nothing is read from the device before its end."""
    model.train()
    loss.train()
    totals: Terms = {}
    bad_step = torch.tensor(-1, device=fabric.device)
    first = step
    for batch in batches:
        loss.epoch = epoch - 1 + (step - first) / len(batches)
        step += 1
        for player, terms in loss(model, batch):
            optimizer = optimizers[player]
            optimizer.zero_grad()
            fabric.backward(terms["loss"])
            if plan.gradient_clip:
                fabric.clip_gradients(model, optimizer, max_norm=plan.gradient_clip, error_if_nonfinite=False)
            optimizer.step()
            bad_step = torch.where((bad_step < 0) & ~terms["loss"].detach().isfinite(), step, bad_step)
            add(totals, terms, weight=1)
        bar.update(len(batch.index))
    means = read(totals, step - first)
    if bad_step >= 0:
        raise NotFinite(f"the loss is not finite at step {int(bad_step)} (epoch {epoch})")
    return means, step


@torch.no_grad()
def validate(model: nn.Module, loss: nn.Module, batches: Iterable[Any], plan: Plan) -> dict[str, float]:
    """The loss's terms and the plan's measures, averaged over the images of a split."""
    model.eval()
    loss.eval()
    totals: Terms = {}
    images = 0
    for batch in batches:
        size = len(batch.index)
        for _, terms in loss(model, batch):
            add(totals, terms, weight=size)
        add(totals, plan.measure(model, batch), weight=size)
        images += size
    return read(totals, images)


def add(totals: Terms, terms: Terms, weight: int) -> None:
    """Adds the terms to the totals, on the device."""
    for name, term in terms.items():
        totals[name] = totals.get(name, torch.zeros_like(term)) + weight * term.detach()


def read(totals: Terms, count: int) -> dict[str, float]:
    """The totals over the count, read from the device at once."""
    values = torch.stack([total.double() for total in totals.values()]).tolist()
    return {name: value / count for name, value in zip(totals, values, strict=True)}


def seed_all(seed: int, epoch: int) -> None:
    """Seeds torch's generators with a mix of the run's seed and the epoch."""
    torch.manual_seed(
        int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> np.uint64(1))
    )


def state(model: nn.Module, loss: nn.Module, optimizers: Mapping[str, Optimizer]) -> Terms:
    """Everything that training changes, as one flat dict of tensors."""
    tensors = weights(model, loss, prefix="model.")
    for player, optimizer in optimizers.items():
        for index, entries in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{player}.{index}.{name}": value for name, value in entries.items()}
    return tensors


def weights(model: nn.Module, loss: nn.Module, prefix: str = "") -> Terms:
    """The weights of a model and, named `loss.`, those of its loss."""
    return {f"{prefix}{name}": value for name, value in model.state_dict().items()} | {
        f"loss.{name}": value for name, value in loss.state_dict().items()
    }


def restore(
    model: nn.Module, loss: nn.Module, optimizers: Mapping[str, Optimizer], run: Run
) -> tuple[int, int, list[Row]]:
    """Loads the run's checkpoint: (epochs done, steps done, rows of their metrics)."""
    checkpoint = run.load_checkpoint()
    if checkpoint is None:
        return 0, 0, []
    tensors, facts = checkpoint
    model.load_state_dict(below(tensors, "model."))
    loss.load_state_dict(below(tensors, "loss."))
    for player, optimizer in optimizers.items():
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        entries: dict[int, Terms] = {}
        for name, value in below(tensors, f"optimizer.{player}.").items():
            index, _, entry = name.partition(".")
            parameter = parameters[int(index)]
            if value.shape == parameter.shape:  # fused optimizers need the parameter's own memory layout
                value = torch.empty_like(parameter).copy_(value)
            entries.setdefault(int(index), {})[entry] = value
        optimizer.load_state_dict({**optimizer.state_dict(), "state": entries})
    rows = [row for row in run.history if row["epoch"] <= facts["epoch"]]
    run.log(f"continues after epoch {facts['epoch']}")
    return facts["epoch"], facts["step"], rows


def progress(epochs: int, batches: Any, done: int) -> tqdm:
    """A bar over all images of all epochs."""
    images = len(batches) * batches.batch_size
    return tqdm(total=epochs * images, initial=done * images, unit="img", dynamic_ncols=True, smoothing=0.05)


def summary(terms: Mapping[str, float]) -> str:
    """The terms in one line."""
    return ", ".join(f"{name} {value:.5g}" for name, value in terms.items())


def below(tensors: Terms, prefix: str) -> Terms:
    """The tensors whose names begin with the prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
