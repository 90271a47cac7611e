"""How a weight comes to its full value, as a function of the time in epochs."""

from typing import Literal

import torch
from torch import Tensor, nn

ScheduleName = Literal["constant", "linear", "cyclical"]


def constant(epoch: Tensor, period: float) -> Tensor:
    """The full weight from the first step."""
    return torch.ones_like(epoch)


def linear(epoch: Tensor, period: float) -> Tensor:
    """Warm-up from 0 to the full weight over the first `period` epochs (Bowman et al. 2016, section 3.1)."""
    return (epoch / period).clamp(max=1)


def cyclical(epoch: Tensor, period: float) -> Tensor:
    """Cycles of `period` epochs: linear over the first half, then full (Fu et al. 2019, equation 6, R = 0.5)."""
    return (2 * (epoch % period) / period).clamp(max=1)


SCHEDULES = {"constant": constant, "linear": linear, "cyclical": cyclical}


class Scheduled(nn.Module):
    """A given weight λ that follows a schedule."""

    def __init__(self, weight: float, schedule: ScheduleName, period: float) -> None:
        super().__init__()
        self.full, self._schedule, self._period = weight, SCHEDULES[schedule], period

    def forward(self, epoch: Tensor, kl: Tensor) -> Tensor:
        """λ at a time in epochs, whatever the KL."""
        return self.full * self._schedule(epoch, self._period)
