"""A regulariser: the biased squared MMD to the prior, with a Gaussian kernel of width 1."""

from typing import Any

import torch
from torch import Tensor

from vaelab.codes import Code
from vaelab.losses.regularisers import Weighted


def kernel(a: Tensor, b: Tensor) -> Tensor:
    return torch.exp(-0.5 * (a[:, None] - b).square().mean(2))


class Distance(Weighted):
    def __init__(self, scale: float, **weighted: Any) -> None:
        super().__init__(**weighted)
        self.scale = scale

    @property
    def kl_share(self) -> float:
        return 0.0

    def measure(
        self, code: Code, z: Tensor, kl: Tensor, epoch: Tensor, noise: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        prior = torch.randn(z.shape, generator=noise, device=z.device)
        distance = kernel(z, z).mean() + kernel(prior, prior).mean() - 2 * kernel(z, prior).mean()
        return self.scale * distance, {"my_mmd": distance}
