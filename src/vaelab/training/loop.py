"""fit(): the training loop, one page."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from vaelab import Failure
from vaelab.runs.folder import Row, Run
from vaelab.training.record import Numbers
from vaelab.training.training import Training

# Seconds between checkpoints: on a GPU a small network takes as long to be written as to be trained for an epoch.
KEPT_EVERY = 2.0


class NotFinite(Failure):
    """The loss became infinite or not a number."""


class OutOfTime(Exception):
    """trainer.max_seconds has passed; the run can be continued."""


@dataclass(frozen=True)
class Plan:
    """How long to train and what to do on the way."""

    epochs: int
    max_seconds: float | None
    log_every: int | None  # steps between the rows of metrics.csv inside an epoch
    draw: Callable[[int], None]  # what is kept of an epoch, if anything
    keeps_best: bool = False  # the weights of the epoch whose validation is best, instead of the last
    patience: int | None = None  # epochs without a better one after which the training ends
    after_epoch: Callable[[float, int], None] = lambda seconds, left: (
        None
    )  # of its training, and the epochs left


def fit(run: Run, training: Training, plan: Plan) -> Iterator[None]:
    """Trains to the plan's last epoch, from the run's checkpoint if there is one; yields after each step.

    Writes metrics.csv at each epoch's end, and a checkpoint of the first one, of the last one, and now and then
    between them. Raises NotFinite and OutOfTime.
    """
    started, saved = time.perf_counter(), -math.inf
    rows = resume(run, training)
    step = training.step
    done = int(rows[-1]["epoch"]) if rows else 0
    with progress(plan.epochs, step.steps * step.batch_size, done) as bar:
        for epoch in range(done + 1, plan.epochs + 1):
            if is_over(rows, plan):
                break
            bar.set_description(f"epoch {epoch}/{plan.epochs}")
            tick = time.perf_counter()
            step.begin(epoch)
            for _ in range(step.steps):
                step()
                bar.update(step.batch_size)
                yield
            trained = step.read()
            tock = time.perf_counter()
            with training.averaged():
                validated = training.validation()
                refuse_not_finite(trained, validated, epoch, step.steps)
                seconds = tock - tick, time.perf_counter() - tock
                rows += rows_of(
                    epoch, step.steps, trained, validated, training.rates.last, seconds, plan.log_every
                )
                if plan.keeps_best and best_epoch(rows) == epoch:
                    training.best = training.weights()
                plan.draw(epoch)
            means = {name: float(values.mean()) for name, values in trained.items()}
            run.log(f"epoch {epoch}: train {summary(means)}; val {summary(validated)}", show=False)
            run.write_history(rows)
            now = time.perf_counter()
            late = plan.max_seconds is not None and now - started > plan.max_seconds and epoch < plan.epochs
            if now - saved >= KEPT_EVERY or late or epoch == plan.epochs or is_over(rows, plan):
                run.save_checkpoint(training.state(), {"epoch": epoch, "step": epoch * step.steps}, rows)
                saved = now
            bar.set_postfix(in_short(means))
            plan.after_epoch(tock - tick, plan.epochs - epoch)
            if late:
                raise OutOfTime(f"trainer.max_seconds={plan.max_seconds:g} passed after epoch {epoch}")


def resume(run: Run, training: Training) -> list[Row]:
    """Loads the run's checkpoint, if there is one, and writes metrics.csv as it was then: its rows."""
    last = run.load_checkpoint()
    if last is None:
        return []
    training.load(last, run.folder)
    epoch = int(last.facts["epoch"])
    rows = last.rows or [row for row in run.history if row["epoch"] <= epoch]
    run.write_history(rows)
    run.log(f"continues after epoch {epoch}")
    return list(rows)


def refuse_not_finite(trained: Mapping[str, np.ndarray], validated: Numbers, epoch: int, steps: int) -> None:
    """Raises NotFinite for the first step of an epoch with a loss that is not finite."""
    losses = [~np.isfinite(values) for name, values in trained.items() if name.startswith("loss")]
    bad = np.flatnonzero(np.any(losses, axis=0))
    if len(bad):
        step = (epoch - 1) * steps + int(bad[0]) + 1
        raise NotFinite(f"the loss is not finite at step {step} (epoch {epoch})")
    if not all(math.isfinite(value) for name, value in validated.items() if name.startswith("loss")):
        # the last step broke the weights
        raise NotFinite(f"the loss is not finite after step {epoch * steps} (epoch {epoch})")


def rows_of(
    epoch: int,
    steps: int,
    trained: Mapping[str, np.ndarray],
    validated: Numbers,
    lr: float,
    seconds: tuple[float, float],
    log_every: int | None,
) -> list[Row]:
    """An epoch's rows of metrics.csv: means of the last `log_every` steps now and then, of the epoch, of validation."""
    first = (epoch - 1) * steps
    rows: list[Row] = []
    last = first // log_every * log_every if log_every else first
    while log_every and (last := last + log_every) <= first + steps:
        inside = slice(max(0, last - log_every - first), last - first)
        means = {name: float(values[inside].mean()) for name, values in trained.items()}
        rows.append({"epoch": epoch, "step": last, "split": "steps"} | means)
    means = {name: float(values.mean()) for name, values in trained.items()}
    for split, numbers, spent in (("train", means, seconds[0]), ("val", validated, seconds[1])):
        rows.append(
            {"epoch": epoch, "step": first + steps, "split": split} | numbers | {"lr": lr, "seconds": spent}
        )
    return rows


def is_over(rows: Sequence[Row], plan: Plan) -> bool:
    """Whether the plan's patience has ended."""
    return plan.patience is not None and bool(rows) and rows[-1]["epoch"] - best_epoch(rows) >= plan.patience


def best_epoch(rows: Sequence[Row]) -> int:
    """The first epoch with the best bound on log p(x) of the validation split, without one the lowest loss."""
    validated = [row for row in rows if row["split"] == "val"]
    return int(min(validated, key=judged)["epoch"])


def judged(row: Row) -> float:
    """What a validation is judged by, in nats: lower is better. A bound of several draws comes before the ELBO."""
    bound = row.get("iwae", row.get("elbo"))
    return float(row["loss"]) if bound is None else -float(bound)


def progress(epochs: int, images: int, done: int) -> tqdm:
    """A bar over all images of all epochs."""
    return tqdm(total=epochs * images, initial=done * images, unit="img", dynamic_ncols=True, smoothing=0.05)


def in_short(means: Numbers) -> dict[str, str]:
    """The losses and the ELBO."""
    return {n: f"{mean:.5g}" for n, mean in means.items() if n == "elbo" or n.startswith("loss")}


def summary(terms: Numbers) -> str:
    """The terms in one line."""
    return ", ".join(f"{name} {value:.5g}" for name, value in terms.items())
