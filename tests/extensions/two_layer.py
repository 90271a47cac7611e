"""A VAE of two stochastic layers, p(x|z1) p(z1|z2), whose code holds the values of both."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Normal, kl_divergence

from vaelab.codes import Code
from vaelab.models import EncoderDecoder, ImageShape


def normal(output: Tensor) -> Normal:
    mean, log_deviation = output.float().chunk(2, 1)
    return Normal(mean, log_deviation.clamp(-10, 10).exp(), validate_args=False)


@dataclass(frozen=True, eq=False)
class TwoLayered(Code):
    top: Normal
    bottom: Callable[[Tensor], Normal]
    prior: Callable[[Tensor], Normal]

    @property
    def mean(self) -> Tensor:  # type: ignore[override]
        return torch.cat((self.top.mean, self.bottom(self.top.mean).mean), 1)

    def sample(self, noise: torch.Generator) -> Tensor:
        top = drawn(self.top, noise)
        return torch.cat((top, drawn(self.bottom(top), noise)), 1)

    def kl(self, z: Tensor | None = None) -> Tensor:
        assert z is not None
        top = z[:, : self.top.mean.shape[1]]
        standard = Normal(torch.zeros_like(top), torch.ones_like(top), validate_args=False)
        of_top, of_bottom = (
            kl_divergence(self.top, standard),
            kl_divergence(self.bottom(top), self.prior(top)),
        )
        return torch.cat((of_top, of_bottom), 1)


def drawn(density: Normal, noise: torch.Generator) -> Tensor:
    epsilon = torch.randn(density.mean.shape, generator=noise, device=density.mean.device)
    return density.mean + density.stddev * epsilon


class TwoLayer(EncoderDecoder):
    offers = frozenset({"encoder", "prior", "posterior"})
    prior = "prior of two layers"

    def __init__(self, image_shape: ImageShape, top: int, bottom: int, width: int) -> None:
        pixels = math.prod(image_shape)
        encoder = nn.Sequential(nn.Flatten(), nn.Linear(pixels, width), nn.ReLU())
        decoder = nn.Sequential(
            nn.Linear(bottom, width), nn.ReLU(), nn.Linear(width, pixels), nn.Unflatten(1, image_shape)
        )
        super().__init__(encoder, decoder, (top + bottom,))
        self.top, self.of_top = top, nn.Linear(width, 2 * top)
        self.of_bottom, self.of_prior = nn.Linear(width + top, 2 * bottom), nn.Linear(top, 2 * bottom)

    def encode(self, images: Tensor, labels: Tensor | None = None) -> TwoLayered:
        features = self.encoder(images).float()
        return TwoLayered(
            normal(self.of_top(features)),
            lambda top: normal(self.of_bottom(torch.cat((features, top), 1))),
            lambda top: normal(self.of_prior(top)),
        )

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return super().decode(z[:, self.top :])

    def draw(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        device = next(self.parameters()).device
        epsilon = torch.randn(count, *self.code_shape, generator=generator).to(device)
        top = epsilon[:, : self.top]
        given = normal(self.of_prior(top))
        return torch.cat((top, given.mean + given.stddev * epsilon[:, self.top :]), 1)
