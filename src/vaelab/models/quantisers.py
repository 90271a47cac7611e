"""From vectors to the nearest of a finite set of them: a learned codebook, or a fixed grid."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vaelab.codes import Quantised, counted


class Quantiser(nn.Module):
    """Vectors of `size` kinds at `places` places, and how often each kind is at each place: the learned prior.

    The probabilities of the prior follow the training batches as an average, mixed with a little of the uniform one, so
    that a vector which has not been at a place yet has a finite code length there.
    """

    decay = 0.99
    uniform = 0.01  # share of the uniform distribution in the prior
    frequency: Tensor

    def __init__(self, places: int, size: int, dim: int) -> None:
        super().__init__()
        self.size, self.dim = size, dim
        self.register_buffer("frequency", torch.full((places, size), 1 / size))

    @property
    def prior(self) -> Tensor:
        """Probabilities (P, K)."""
        return torch.lerp(self.frequency, torch.full_like(self.frequency, 1 / self.size), self.uniform)

    def bounded(self, output: Tensor) -> Tensor:
        """An encoder's output (B, P, D) where its nearest vector is looked for."""
        return output

    def nearest(self, encoded: Tensor) -> Tensor:
        """Which vector is nearest, (B, P) int64."""
        raise NotImplementedError

    def vectors(self, index: Tensor) -> Tensor:
        """The vectors (..., D) of these numbers."""
        raise NotImplementedError

    def forward(self, output: Tensor) -> Quantised:
        """An encoder's output (B, P, D) as a code, through which gradients go straight to the encoder."""
        encoded = self.bounded(output.float())
        index = self.nearest(encoded.detach())
        return Quantised(straight_through(encoded, self.vectors(index)), encoded, index, self.prior)

    def snapped(self, z: Tensor) -> Tensor:
        """The nearest vectors of any values (B, P, D), through which gradients go straight."""
        return straight_through(z, self.vectors(self.nearest(z.detach().float())))

    @torch.no_grad()
    def after_step(self, code: Quantised, noise: torch.Generator) -> None:
        """Moves the prior toward a batch's frequencies."""
        counts = counted(code.index, self.size)
        self.frequency.lerp_(counts / len(code.index), 1 - self.decay)


class Codebook(Quantiser):
    """Learned vectors, each the average of what is encoded to it (van den Oord et al. 2017, appendix A.1).

    A vector that is used less than `dead` times as often as the mean one is replaced by what the batch has at some
    place. All are new after the first step.
    """

    dead = 0.03
    codes: Tensor
    uses: Tensor
    sums: Tensor

    def __init__(self, places: int, size: int, dim: int) -> None:
        super().__init__(places, size, dim)
        self.register_buffer("codes", torch.randn(size, dim))
        self.register_buffer("uses", torch.zeros(size))  # averages over batches
        self.register_buffer("sums", torch.zeros(size, dim))

    def nearest(self, encoded: Tensor) -> Tensor:
        """Which vector is nearest, (B, P) int64."""
        # ‖z‖² is the same for all vectors. In float64, for float32 may be multiplied with the digits of bf16 or TF32.
        codes, encoded = self.codes.double(), encoded.double()
        return (codes.square().sum(1) - 2 * encoded @ codes.T).argmin(-1)

    def vectors(self, index: Tensor) -> Tensor:
        """The vectors (..., D) of these numbers."""
        return self.codes[index]

    @torch.no_grad()
    def after_step(self, code: Quantised, noise: torch.Generator) -> None:
        """Moves the vectors toward what was encoded to them, and replaces those that are not used."""
        super().after_step(code, noise)
        encoded, index = code.encoded.flatten(0, 1), code.index.flatten()
        finite = encoded.isfinite().all(
            1
        )  # a step that is left out for its gradient must not spoil the vectors
        encoded = torch.where(finite[:, None], encoded, 0)
        uses = torch.zeros_like(self.uses).index_add_(0, index, finite.float())
        sums = torch.zeros_like(self.sums).index_add_(0, index, encoded)
        self.uses.lerp_(uses, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        mean_use = len(encoded) / self.size
        dead = self.uses < self.dead * mean_use
        chosen = torch.randint(len(encoded), (self.size,), generator=noise, device=encoded.device)
        self.codes.copy_(torch.where(dead[:, None], encoded[chosen], self.sums / self.uses[:, None]))
        self.uses.copy_(torch.where(dead, mean_use, self.uses))
        self.sums.copy_(torch.where(dead[:, None], self.codes * mean_use, self.sums))


class Grid(Quantiser):
    """A fixed grid of `levels` values in each dimension, with no codebook to learn: FSQ (Mentzer et al. 2024)."""

    levels: Tensor
    strides: Tensor

    def __init__(self, places: int, levels: Sequence[int]) -> None:
        super().__init__(places, math.prod(levels), len(levels))
        counts = torch.tensor(levels)
        self.register_buffer("levels", counts, persistent=False)
        self.register_buffer("strides", counts.cumprod(0) // counts, persistent=False)

    def bounded(self, output: Tensor) -> Tensor:
        """Values in (-1, 1)."""
        return torch.tanh(output)

    def nearest(self, encoded: Tensor) -> Tensor:
        """Which vector is nearest, (B, P) int64."""
        steps = self.levels - 1
        places = ((encoded.clamp(-1, 1) + 1) / 2 * steps).round().long()
        return (places * self.strides).sum(-1)

    def vectors(self, index: Tensor) -> Tensor:
        """The vectors (..., D) of these numbers, in [-1, 1]."""
        places = index[..., None] // self.strides % self.levels
        return 2 * places / (self.levels - 1) - 1


def straight_through(values: Tensor, replaced_by: Tensor) -> Tensor:
    """The second tensor, with the gradient of the first (Bengio et al. 2013)."""
    return replaced_by + (values - values.detach())
