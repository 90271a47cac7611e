"""What every loss is: a generator of turns."""

from typing import ClassVar, Protocol

from torch import Tensor, nn

Terms = dict[str, Tensor]
Turn = tuple[str, Terms]  # who steps, and the named terms of which "loss" is the one to minimise


class ImageBatch(Protocol):
    """What a loss reads of a batch."""

    @property
    def images(self) -> Tensor:
        """(B, C, H, W) in [0, 1]."""

    @property
    def labels(self) -> Tensor | None:
        """(B,) int64, where the data have classes."""


class Loss(nn.Module):
    """A generator of turns: loss(model, batch) yields (player, terms), and the player minimises terms["loss"].

    `epoch` is the time in epochs that schedules read; the training loop sets it. What follows a yield is done after
    the player's step.
    """

    epoch = 0.0
    needs: ClassVar[str]  # what a model must offer: "encoder", "posterior" or "generator"

    def beta_eff(self, pixels: int) -> float | None:
        """The weight of the KL term that images of this many values have in common units; None without one."""
        return None


def mean_terms(**terms: Tensor) -> Terms:
    """Averages each term over the batch, its last axis."""
    return {name: term.mean(-1) for name, term in terms.items()}
