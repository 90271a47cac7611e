"""Lines of runs that are networks with known weights, beside images that are made."""

import copy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from vaelab import UsageError, models
from vaelab.data import ImageSet
from vaelab.explore.explorer import Explorer
from vaelab.explore.lines import Line

SHAPE = (1, 16, 16)
CLASSES = ("a", "b", "c")
Make = Callable[..., Explorer]


def images(count: int = 300, shape: tuple[int, int, int] = SHAPE) -> ImageSet:
    """Images of one bright square each, at any place and of any size."""
    rng = np.random.default_rng(0)
    channels, height, width = shape
    pixels = np.zeros((count, height, width, channels), np.uint8)
    for image in pixels:
        top, left, size = rng.integers(0, 10), rng.integers(0, 10), rng.integers(2, 7)
        image[top : top + size, left : left + size] = rng.integers(100, 256)
    return ImageSet.of("squares", pixels, rng.integers(0, len(CLASSES), count), CLASSES)


class Told:
    """What a page reads of a run, without its folder."""

    def __init__(self, network: Any, data: ImageSet | None) -> None:
        self.network, self.data = network, data
        self.info = {"dataset": {"shape": list(SHAPE), "classes": list(CLASSES), "name": "squares"}}
        self.config = {"kl_weight_unit": "nats"}
        self.run = SimpleNamespace(folder=Path("no run"))

    def model(self, device: str) -> Any:
        return self.network.to(device).eval()

    def image_set(self) -> ImageSet:
        if self.data is None:
            raise UsageError("not prepared")
        return self.data


@pytest.fixture(scope="session")
def squares() -> ImageSet:
    return images()


@pytest.fixture
def explorer(squares: ImageSet) -> Make:
    """explorer(network, ...): that of a line of networks of λ = 0.5, 1.5, ...; `weights=` says others."""

    def made(
        *networks: Any, weights: tuple[float | None, ...] | None = None, prepared: bool = True
    ) -> Explorer:
        given = weights or tuple(0.5 + place for place in range(len(networks)))
        runs = tuple(Told(network, squares if prepared else None) for network in networks)
        return Explorer(Line("test", "squares", runs, given), "cpu")  # type: ignore[arg-type]

    return made


def fc_vae(seed: int = 0, latent_dim: int = 5) -> Any:
    """A network whose units say different amounts of an image, as those of a trained one do."""
    torch.manual_seed(seed)
    network = models.fc_vae(SHAPE, latent_dim, [32], "relu")
    last = [module for module in network.encoder.modules() if isinstance(module, torch.nn.Linear)][-1]
    with torch.no_grad():
        last.weight[:latent_dim] *= torch.tensor([0.0, 20.0, 5.0, 40.0, 10.0])[:latent_dim, None]
        last.bias.zero_()
    return network


class AnyWeight(models.VAE):
    """A network that takes λ: its codes shrink and its pictures darken as λ grows."""

    offers = models.VAE.offers | {"kl_weights"}
    kl_weights = (0.1, 10.0)

    def at(self, kl_weight: float) -> Any:
        """The network at one λ."""
        other = copy.copy(self)
        other.told = kl_weight  # type: ignore[attr-defined]
        return other

    def decode(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        return super().decode(z) / (1 + self.told)  # type: ignore[operator]


def any_weight() -> AnyWeight:
    base = fc_vae()
    return AnyWeight(base.encoder, base.decoder, base.code_shape)
