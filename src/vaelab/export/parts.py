"""The parts of a network as functions of tensors alone: encoder, decoder, generator."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vaelab.build import Network
from vaelab.models import ImageShape


class Encoder(nn.Module):
    """Images (B, C, H, W) to codes (B, ...), or of a Gaussian code the mean and log variance, (B, ...) each."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, labels: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor]:
        code = self.network.encode(images, labels)
        mean = code.mean
        moments = code.moments(mean)
        return mean if moments is None else (mean, moments[1].view_as(mean))


class Maker(nn.Module):
    """Codes or noise (B, ...) to images (B, C, H, W), by a method of the network."""

    def __init__(self, network: Any, method: str) -> None:
        super().__init__()
        self.network, self.method = network, method

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        images: Tensor = getattr(self.network, self.method)(z, labels)
        return images


@dataclass(frozen=True)
class Part:
    """One function of a network; `inputs(count)` makes an example of so many of each input, by its name."""

    name: str
    function: nn.Module
    inputs: Callable[[int], dict[str, Tensor]]
    outputs: tuple[str, ...]


@torch.no_grad()
def parts(network: Network, image_shape: ImageShape) -> list[Part]:
    """The functions of a network in evaluation mode for images (C, H, W)."""
    noise = torch.Generator().manual_seed(0)

    def images(count: int) -> dict[str, Tensor]:
        return {"images": torch.rand(count, *image_shape, generator=noise)} | labels(count)

    def codes(count: int) -> dict[str, Tensor]:
        shape: Any = network.code_shape
        return {"z": torch.randn(count, *shape, generator=noise)} | labels(count)

    def codes_of_the_prior(count: int) -> dict[str, Tensor]:
        return {"z": network.draw(count, noise)} | labels(count)  # type: ignore[operator]

    def labels(count: int) -> dict[str, Tensor]:
        if "classes" not in network.offers:
            return {}
        return {"labels": torch.arange(count) % int(network.classes)}  # type: ignore[arg-type]

    if "generator" in network.offers:
        return [Part("generator", Maker(network, "generate"), codes_of_the_prior, ("images",))]
    encoder = Encoder(network)
    outputs = ("code",) if isinstance(encoder(**images(1)), Tensor) else ("mean", "log_variance")
    return [
        Part("encoder", encoder, images, outputs),
        Part("decoder", Maker(network, "decode"), codes, ("images",)),
    ]
