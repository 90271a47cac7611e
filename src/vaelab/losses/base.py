"""What every loss is: a generator of turns."""

from collections.abc import Mapping
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from vaelab.quantities import Quantity

Terms = dict[str, Tensor]
Turn = tuple[str, Terms]  # who steps, and the named terms of which "loss" is the one to minimise


NATS = "nats per image"
LOSS = Quantity("loss", "loss, as it was optimised", better="lower")
RECONSTRUCTION = Quantity(
    "reconstruction", "reconstruction", NATS, digits=2, better="lower", of="images", shown="always"
)


class ImageBatch(Protocol):
    """What a loss reads of a batch."""

    @property
    def images(self) -> Tensor:
        """(B, C, H, W) in [0, 1]."""

    @property
    def labels(self) -> Tensor | None:
        """(B,) int64, where the data have classes."""


class Loss(nn.Module):
    """A generator of turns: loss(model, batch, noise) yields (player, terms); the player minimises terms["loss"].

    Every term is 0-dimensional, and each step has the same ones. All that is random comes from the generator `noise`,
    which is on the model's device. What follows a yield is done after the player's step.
    """

    epoch: Tensor  # float64 (): the time in epochs that schedules read, on the device; the training sets it
    quantities: tuple[Quantity, ...] = (LOSS,)  # of its terms
    needs: ClassVar[str]  # what a model must offer: "encoder", "prior" or "generator"

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("epoch", torch.zeros((), dtype=torch.float64), persistent=False)

    @property
    def kl_weight(self) -> float | None:
        """λ, or None without one."""
        return None

    def findings(self, terms: Mapping[str, float]) -> tuple[str, ...]:
        """Sentences on the terms of held-out images."""
        return ()

    def beta_eff(self, pixels: int) -> float | None:
        """The weight of the KL term that images of this many values have in common units; None without one."""
        return None


def mean_terms(**terms: Tensor) -> Terms:
    """Averages each term over the batch, its last axis."""
    return {name: term.mean(-1) for name, term in terms.items()}
