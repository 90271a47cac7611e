"""A moving average of a network's weights, which evaluations use in their place."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vaelab.models.averages import move_toward


class Average:
    """The average beside the weights of a network; `decay` is the share that stays at each step."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._live = dict(network.state_dict())
        self._decay = decay
        self.weights = {name: value.clone() for name, value in self._live.items()}
        self.updates = torch.zeros((), dtype=torch.int64, device=next(network.parameters()).device)

    @torch.no_grad()
    def update(self) -> None:
        """Moves the average toward the network's weights."""
        self.updates += 1
        move_toward(self.weights, self._live, self.updates, self._decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """While within, the network has the average for its weights, where its own lay."""
        self.exchange()
        try:
            yield
        finally:
            self.exchange()

    @torch.no_grad()
    def exchange(self) -> None:
        """Gives the network the average for its weights, and takes the weights for the average."""
        for name, value in self._live.items():
            own = value.clone()
            value.copy_(self.weights[name])
            self.weights[name].copy_(own)

    def state(self) -> dict[str, Tensor]:
        """The average and how often it was updated."""
        return {"updates": self.updates, **{f"weights.{name}": value for name, value in self.weights.items()}}

    @torch.no_grad()
    def load(self, tensors: dict[str, Tensor]) -> None:
        """Puts back what state() gave; raises KeyError where something is missing."""
        for name, value in self.state().items():
            value.copy_(tensors[name])
