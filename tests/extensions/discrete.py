"""A discrete code: bits that are drawn, with the gradient of their probabilities; and a regulariser for it."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vaelab.codes import Code
from vaelab.losses.regularisers import Weighted
from vaelab.models import EncoderDecoder, ImageShape


@dataclass(frozen=True, eq=False)
class Bits(Code):
    probability: Tensor

    @property
    def mean(self) -> Tensor:  # type: ignore[override]
        return self.probability.round()

    @property
    def bits(self) -> float:
        return float(self.probability.shape[1])

    def sample(self, noise: torch.Generator) -> Tensor:
        uniform = torch.rand(self.probability.shape, generator=noise, device=self.probability.device)
        drawn = (uniform < self.probability).float()
        return drawn + (self.probability - self.probability.detach())

    def kl(self, z: Tensor | None = None) -> Tensor:
        p = self.probability
        return torch.special.xlogy(p, 2 * p) + torch.special.xlogy(1 - p, 2 * (1 - p))


class BinaryVAE(EncoderDecoder):
    offers = frozenset({"encoder", "prior", "bits"})
    prior = "fair coins"

    def __init__(self, image_shape: ImageShape, code: int, width: int) -> None:
        pixels = math.prod(image_shape)
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(pixels, width), nn.ReLU(), nn.Linear(width, code))
        decoder = nn.Sequential(
            nn.Linear(code, width), nn.ReLU(), nn.Linear(width, pixels), nn.Unflatten(1, image_shape)
        )
        super().__init__(encoder, decoder, (code,))

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Bits:
        return Bits(torch.sigmoid(self.encoder(images).float()).clamp(1e-6, 1 - 1e-6))

    def draw(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        coins = torch.rand(count, *self.code_shape, generator=generator)
        return (coins < 0.5).float().to(next(self.parameters()).device)


class OfBits(Weighted):
    needs = "bits"

    def measure(
        self, code: Code, z: Tensor, kl: Tensor, epoch: Tensor, noise: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        return kl.sum(1).mean(), {}
