"""Everything that a run trains, and its state as a checkpoint holds it."""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from vaelab import UsageError
from vaelab.runs import checkpoint
from vaelab.runs.checkpoint import AVERAGE, BEST
from vaelab.training.average import Average
from vaelab.training.rates import Rates
from vaelab.training.step import Step
from vaelab.training.validation import Validation


@dataclass
class Training:
    """A network, its loss and optimizers, the step that changes them, and what is kept beside."""

    network: nn.Module
    loss: nn.Module
    optimizers: Mapping[str, Optimizer]
    step: Step
    validation: Validation
    rates: Rates
    average: Average | None = None
    best: dict[str, Tensor] = field(default_factory=dict)  # weights of the best epoch, where they are kept

    def state(self) -> dict[str, Tensor]:
        """Everything that training changes, as one flat dict of tensors."""
        tensors = checkpoint.state(self.network, self.loss, self.optimizers)
        if self.average is not None:
            tensors |= {AVERAGE + name: value for name, value in self.average.state().items()}
        return tensors | {BEST + name: value for name, value in self.best.items()}

    def load(self, last: checkpoint.Checkpoint, folder: object) -> None:
        """Puts back what state() gave; raises UsageError where it is of another model."""
        tensors = last.tensors
        try:
            checkpoint.load(self.network, self.loss, self.optimizers, tensors)
            if self.average is not None:
                self.average.load(checkpoint.below(tensors, AVERAGE))
        except (RuntimeError, KeyError, IndexError, ValueError) as error:
            raise UsageError(
                f"the checkpoint of {folder} is of another model: give the command with rerun=true"
            ) from error
        device = next(self.network.parameters()).device
        self.best = {name: value.to(device) for name, value in checkpoint.below(tensors, BEST).items()}

    def averaged(self) -> AbstractContextManager[None]:
        """While within, the network has the average of its weights, where one is kept."""
        return nullcontext() if self.average is None else self.average.in_place()

    def weights(self) -> dict[str, Tensor]:
        """A copy of the weights that the network has now, with those of the loss."""
        return {name: value.clone() for name, value in checkpoint.weights(self.network, self.loss).items()}

    @torch.no_grad()
    def finish(self) -> dict[str, Tensor]:
        """Leaves the network with the weights that are kept, and returns them."""
        if self.best:
            now = checkpoint.weights(self.network, self.loss)
            for name, value in self.best.items():
                now[name].copy_(value)
        elif self.average is not None:
            self.average.exchange()
        return checkpoint.weights(self.network, self.loss)
