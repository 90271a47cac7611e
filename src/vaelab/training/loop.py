"""fit(): the training loop, one page."""

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim import Optimizer
from tqdm import tqdm

from vaelab import Failure, UsageError
from vaelab.runs import checkpoint
from vaelab.runs.checkpoint import Terms
from vaelab.runs.folder import Row, Run

Numbers = dict[str, float]


class NotFinite(Failure):
    """The loss became infinite or not a number."""


class OutOfTime(Exception):
    """trainer.max_seconds has passed; the run can be continued."""


@dataclass(frozen=True)
class Plan:
    """How long to train and what to do on the way."""

    epochs: int
    seed: Callable[[int], None]  # makes everything random in an epoch follow from the epoch's number
    clip: Callable[[str], None] | None  # bounds a player's gradients before its step
    max_seconds: float | None
    measure: Callable[[nn.Module, Any], Terms]  # what a batch is held to beside the loss
    log_every: int | None = None  # steps between the rows of metrics.csv inside an epoch


class Clock(NamedTuple):
    """Seconds of an epoch's training and validation."""

    train: float
    val: float


class Trained(NamedTuple):
    """What an epoch's training gave: of each member the means and the first bad step or -1, and the last step.

    `windows` holds the means of the last steps at each step that log_every asks for.
    """

    means: list[Numbers]
    bad_steps: list[int]
    step: int
    windows: list[tuple[int, list[Numbers]]]


class Member:
    """One run of those that are trained in one pass, with its state on the device; a solo run is the only member."""

    def __init__(
        self,
        run: Run,
        state: Callable[[], Terms],  # everything that training changes
        load: Callable[[Terms], None],
        lr: float,
        draw: Callable[[int], None],  # what is kept of an epoch, if anything
    ) -> None:
        self.run, self.state, self.load, self.lr, self.draw = run, state, load, lr, draw
        facts = run.checkpoint_facts() or {"epoch": 0, "step": 0}
        self.epoch, self.step = int(facts["epoch"]), int(facts["step"])
        self.rows: list[Row] = []
        self.error: Exception | None = None
        self.waits = self.epoch > 0  # until its checkpoint is loaded, at the epoch of that

    @classmethod
    def alone(
        cls,
        run: Run,
        model: nn.Module,
        loss: nn.Module,
        optimizers: Mapping[str, Optimizer],
        draw: Callable[[int], None],
    ) -> "Member":
        """The member that a run of its own is."""
        lr = next(iter(optimizers.values())).param_groups[0]["lr"]
        parts = (model, loss, optimizers)
        return cls(run, partial(checkpoint.state, *parts), partial(checkpoint.load, *parts), lr, draw)

    def resume(self) -> None:
        """Loads the checkpoint, and writes metrics.csv as it was then."""
        last = self.run.load_checkpoint()
        assert last is not None
        try:
            self.load(last.tensors)
        except (RuntimeError, KeyError, IndexError, ValueError) as error:
            raise UsageError(
                f"the checkpoint of {self.run.folder} is of another model: give the command with rerun=true"
            ) from error
        self.rows = last.rows or [row for row in self.run.history if row["epoch"] <= self.epoch]
        self.run.write_history(self.rows)
        self.waits = False
        self.run.log(f"continues after epoch {self.epoch}")

    def record(self, epoch: int, trained: "Trained", validated: Numbers, clock: Clock, number: int) -> None:
        """Writes an epoch's rows and a checkpoint, or how the run failed; `number` is its place among the members."""
        losses = [value for name, value in validated.items() if name.startswith("loss")]
        if (bad_step := trained.bad_steps[number]) >= 0:
            self.error = NotFinite(f"the loss is not finite at step {bad_step} (epoch {epoch})")
        elif not all(map(math.isfinite, losses)):  # the last step broke the weights
            self.error = NotFinite(f"the loss is not finite after step {trained.step} (epoch {epoch})")
        else:
            try:
                return self._keep(epoch, trained, validated, clock, number)
            except Exception as error:  # a full disk, say: other members may go on
                self.error = error
        self.run.fail(self.error)

    def _keep(self, epoch: int, trained: "Trained", validated: Numbers, clock: Clock, number: int) -> None:
        facts, means = {"epoch": epoch, "step": trained.step}, trained.means[number]
        self.rows += [
            {"epoch": epoch, "step": step, "split": "steps"} | numbers[number]
            for step, numbers in trained.windows
        ]
        self.rows += [
            facts | {"split": "train"} | means | {"lr": self.lr, "seconds": clock.train},
            facts | {"split": "val"} | validated | {"lr": self.lr, "seconds": clock.val},
        ]
        self.run.log(f"epoch {epoch}: train {summary(means)}; val {summary(validated)}", show=False)
        self.draw(epoch)
        self.run.write_history(self.rows)
        self.run.save_checkpoint(self.state(), facts, self.rows)
        self.epoch, self.step = epoch, trained.step


def fit(
    fabric: Fabric,
    model: nn.Module,
    loss: nn.Module,
    optimizers: Mapping[str, Optimizer],
    train: Any,
    val: Any,
    members: Sequence[Member],
    plan: Plan,
) -> None:
    """Trains the members to the plan's last epoch, each from its run's checkpoint if there is one.

    Writes metrics.csv and a checkpoint at each epoch's end. A member whose loss is not finite stops, with its
    `error` set, and the others go on. Raises OutOfTime.
    """
    started = time.perf_counter()
    with progress(plan.epochs, train, members) as bar:
        while left := [m for m in members if m.error is None and m.epoch < plan.epochs]:
            # After a kill some members may be an epoch ahead. They are computed all the same, so that the numbers of
            # the others come from the same operations, and take part again when their epoch has come.
            last = min(left, key=lambda m: m.epoch)
            present = [m for m in left if m.epoch == last.epoch]
            for member in present:
                if member.waits:
                    member.resume()
            epoch = last.epoch + 1
            # Everything random in an epoch follows from the seed and the epoch's number, so that a continued
            # run needs no state of any generator, and nothing drawn in between disturbs it.
            plan.seed(epoch)
            bar.set_description(f"epoch {epoch}/{plan.epochs}")
            tick = time.perf_counter()
            trained = train_epoch(fabric, model, loss, optimizers, train, plan, bar, epoch, last.step)
            tock = time.perf_counter()
            validated = validate(model, loss, val, plan)
            clock = Clock(tock - tick, time.perf_counter() - tock)
            for number, member in enumerate(members):
                if member in present:
                    member.record(epoch, trained, validated[number], clock, number)
            bar.set_postfix(in_short(trained.means))
            if plan.max_seconds and time.perf_counter() - started > plan.max_seconds:
                break
    for member in members:  # trained to the end before, but not measured
        if member.waits and member.epoch == plan.epochs:
            member.resume()
    left = [member for member in members if member.error is None and member.epoch < plan.epochs]
    if left:
        raise OutOfTime(f"trainer.max_seconds={plan.max_seconds:g} passed after epoch {left[0].epoch}")


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
) -> Trained:
    """One pass over the training split; nothing is read from the device before its end."""
    model.train()
    loss.train()
    totals: Terms = {}
    window: Terms = {}
    windows: list[tuple[int, int, Terms]] = []  # last step, count of steps and sums of each
    bad_step = torch.tensor(-1, device=fabric.device)
    first = step
    for batch in batches:
        loss.epoch = epoch - 1 + (step - first) / len(batches)
        step += 1
        turns: list[tuple[str, Terms]] = []
        for player, terms in loss(model, batch):
            optimizer = optimizers[player]
            optimizer.zero_grad()
            fabric.backward(terms["loss"].sum())  # over the members, none of which is in another's gradient
            if plan.clip:
                plan.clip(player)
            optimizer.step()
            bad_step = torch.where((bad_step < 0) & ~terms["loss"].detach().isfinite(), step, bad_step)
            turns.append((player, terms))
        terms = named(turns)
        add(totals, terms, weight=1)
        if plan.log_every:
            add(window, terms, weight=1)
            if step % plan.log_every == 0:
                windows.append((step, min(plan.log_every, step - first), window))
                window = {}
        bar.update(batches.batch_size)
    means = read(totals, step - first)
    return Trained(
        means, bad_step.reshape(-1).tolist(), step, [(last, read(sums, n)) for last, n, sums in windows]
    )


@torch.no_grad()
def validate(model: nn.Module, loss: nn.Module, batches: Iterable[Any], plan: Plan) -> list[Numbers]:
    """Each member's terms of the loss and the plan's measures, averaged over the images of a split."""
    model.eval()
    loss.eval()
    totals: Terms = {}
    images = 0
    for batch in batches:
        size = len(batch.index)
        add(totals, named(list(loss(model, batch))) | plan.measure(model, batch), weight=size)
        images += size
    return read(totals, images)


def named(turns: Sequence[tuple[str, Terms]]) -> Terms:
    """The terms of all turns of a step; where there are several players, each one's loss has its name."""
    if len(turns) == 1:
        return turns[0][1]
    return {
        f"loss_{player}" if name == "loss" else name: term
        for player, terms in turns
        for name, term in terms.items()
    }


def add(totals: Terms, terms: Terms, weight: int) -> None:
    """Adds the terms to the totals, on the device."""
    for name, term in terms.items():
        totals[name] = totals.get(name, torch.zeros_like(term)) + weight * term.detach()


def read(totals: Terms, count: int) -> list[Numbers]:
    """Each member's totals over the count, read from the device at once."""
    values = torch.stack([total.double().reshape(-1) for total in totals.values()], dim=1).tolist()
    return [{name: value / count for name, value in zip(totals, member, strict=True)} for member in values]


def seed_all(seed: int, epoch: int) -> None:
    """Seeds torch's generators with a mix of the run's seed and the epoch."""
    torch.manual_seed(
        int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> np.uint64(1))
    )


def progress(epochs: int, batches: Any, members: Sequence[Member]) -> tqdm:
    """A bar over all images of all epochs."""
    images = len(batches) * batches.batch_size
    done = min((member.epoch for member in members), default=0)
    return tqdm(total=epochs * images, initial=done * images, unit="img", dynamic_ncols=True, smoothing=0.05)


def in_short(means: Sequence[Numbers]) -> dict[str, str]:
    """The losses and the ELBO of every member."""
    names = [name for name in means[0] if name == "elbo" or name.startswith("loss")]
    return {name: " ".join(f"{member[name]:.5g}" for member in means) for name in names}


def summary(terms: Mapping[str, float]) -> str:
    """The terms in one line."""
    return ", ".join(f"{name} {value:.5g}" for name, value in terms.items())
