"""What an encoder knows of a batch: a code owns its mathematics, and nothing tests for its kind."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Code(Protocol):
    """What is known of the codes of B images; losses, metrics and evaluations ask it."""

    @property
    def mean(self) -> Tensor:
        """(B, ...): what is decoded where there is to be no noise."""

    @property
    def variance(self) -> Tensor | None:
        """(B, ...), or None where a code has no noise."""

    def sample(self, noise: torch.Generator) -> Tensor:
        """(B, ...): one draw for each image, from a generator on the code's device."""

    def kl(self) -> Tensor | None:
        """KL to the prior in nats of each unit, (B, units), or None where there is no prior."""


class Point(NamedTuple):
    """One point for each image, as an autoencoder has it."""

    mean: Tensor

    @property
    def variance(self) -> None:
        """None, for there is no noise."""
        return

    def sample(self, noise: torch.Generator | None = None) -> Tensor:
        """The point itself."""
        return self.mean

    def kl(self) -> None:
        """None, for there is no prior."""
        return


class Gaussian(NamedTuple):
    """A diagonal Gaussian q(z|x) for each image, beside the prior N(0, I): mean and log variance, both (B, ...)."""

    mean: Tensor
    log_variance: Tensor

    @property
    def variance(self) -> Tensor:
        """(B, ...)."""
        return self.log_variance.exp()

    def sample(self, noise: torch.Generator) -> Tensor:
        """One draw z = mean + sigma * epsilon for each image (Kingma & Welling 2014, equation 10)."""
        # Not randn_like, whose numbers follow the order of the memory on a GPU.
        epsilon = torch.randn(
            self.mean.shape, generator=noise, dtype=self.mean.dtype, device=self.mean.device
        )
        return self.mean + torch.exp(0.5 * self.log_variance) * epsilon

    def kl(self) -> Tensor:
        """KL(q(z|x) ‖ N(0, I)) in nats of each unit, (B, units) (Kingma & Welling 2014, appendix B)."""
        mean, log_variance = self.mean.flatten(1), self.log_variance.flatten(1)
        return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)
