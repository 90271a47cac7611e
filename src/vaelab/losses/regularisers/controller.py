"""A weight λ that is driven until the KL is as large as asked for."""

import math

import torch
from torch import Tensor, nn

RANGE = (math.log(1e-6), math.log(1e6))  # of log λ
NEAR = 0.05  # of a target: that far off, a KL is not as large as asked for


class Controller(nn.Module):
    """A PI controller of log λ, which raises λ while the KL is above the target and lowers it while it is below.

    As GECO (Rezende & Viola 2018, algorithm 1) it multiplies λ by the exponential of an error, and as ControlVAE (Shao
    et al. 2020) it sums the errors of the KL and damps the way there by a term in proportion to the error of now. The
    error is log(KL / target), at most 1 either way, so that the same gains do for every target. The sum changes in
    training alone and is part of the state, so that a continued training is the same.
    """

    # Gains: λ can rise or fall a thousandfold in 140 steps, and hardly swings in training with rates from 1e-4 to 1e-2.
    integral, proportional = 0.05, 3.0
    log_weight: Tensor  # what the errors have summed up to, without the noise of the last batch

    def __init__(self, target: float, first: float) -> None:
        super().__init__()
        self.target = target
        self.register_buffer("log_weight", torch.tensor(math.log(first)))

    @property
    def full(self) -> float:
        """The λ that it has come to."""
        return math.exp(float(self.log_weight))

    def findings(self, kl: float) -> tuple[str, ...]:
        """Says where a KL in nats is not near the target."""
        if abs(kl - self.target) <= NEAR * self.target:
            return ()
        return (f"KL {kl:.1f} of {self.target:g} asked for (regulariser.target), with λ at {self.full:.3g}",)

    def forward(self, epoch: Tensor, kl: Tensor) -> Tensor:
        """λ for a batch of this KL in nats, whatever the time."""
        if not self.training:
            return self.log_weight.exp()
        error = (kl.detach() / self.target).clamp(math.exp(-1), math.e).log()
        self.log_weight.copy_((self.log_weight + self.integral * error).clamp(*RANGE))
        return torch.exp(self.log_weight + self.proportional * error)
