"""Learning rates that follow a schedule."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

ScheduleName = Literal["constant", "cosine", "step"]


@dataclass(frozen=True)
class Schedule:
    """The factor of the learning rate at each time in epochs."""

    name: ScheduleName
    epochs: int  # of the whole training
    warmup_epochs: float | None  # of a linear rise before
    step_epochs: float  # between two drops of the schedule "step"
    step_factor: float  # of each drop

    @property
    def is_constant(self) -> bool:
        """Whether the factor is always 1."""
        return self.name == "constant" and not self.warmup_epochs

    def factor(self, time: float, steps: int) -> float:
        """The factor of the step that begins at `time` epochs, of `steps` in an epoch."""
        warmup = self.warmup_epochs or 0.0
        if time < warmup:  # the first step has a rate above 0, the last of the warm-up the full one
            return min(1.0, (time + 1 / steps) / warmup)
        if self.name == "cosine":  # Loshchilov & Hutter 2017, equation 5, without restarts
            share = (time - warmup) / max(self.epochs - warmup, 1 / steps)
            return 0.5 * (1 + math.cos(math.pi * min(1.0, share)))
        if self.name == "step":
            return float(self.step_factor ** math.floor((time - warmup) / self.step_epochs))
        return 1.0


class Rates:
    """The learning rates of optimizers, set at each step from a table on the device."""

    def __init__(
        self, optimizers: Iterable[Optimizer], schedule: Schedule, steps: int, device: torch.device
    ) -> None:
        self._schedule, self._steps = schedule, steps
        self._optimizers = list(optimizers)
        self._full = [float(group["lr"]) for group in self._groups()]
        self._table = torch.ones(steps, dtype=torch.float64, device=device)
        self._last = 1.0
        for group in [] if schedule.is_constant else self._groups():
            group["lr"] = torch.tensor(float(group["lr"]), device=device)

    def _groups(self) -> list[dict[str, Any]]:
        # Asked for again each time, for an optimizer that loads a state has others.
        return [group for optimizer in self._optimizers for group in optimizer.param_groups]

    def begin(self, epoch: int) -> None:
        """Begins an epoch, counted from 1."""
        if not self._schedule.is_constant:
            times = [epoch - 1 + step / self._steps for step in range(self._steps)]
            factors = [self._schedule.factor(time, self._steps) for time in times]
            self._last = factors[-1]
            self._table.copy_(torch.tensor(factors, dtype=torch.float64))

    def set(self, number: Tensor) -> None:
        """Sets the rates of the step of this number, int64 (1,) on the device."""
        if self._schedule.is_constant:
            return
        factor = self._table.index_select(0, number).squeeze(0)
        for group, full in zip(self._groups(), self._full, strict=True):
            group["lr"].copy_(factor * full)

    @property
    def last(self) -> float:
        """The first player's rate at the end of the epoch that was begun last."""
        return self._full[0] * self._last
