"""Generative adversarial networks: DCGAN and the class-conditional ACGAN."""

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from vaelab.bounds import Maps, Width
from vaelab.models import blocks
from vaelab.models.averages import move_toward
from vaelab.models.blocks import ImageShape, OneHot, Reshape
from vaelab.quantities import Quantity

Noise = Literal["normal", "uniform"]
DiscriminatorNorm = Literal["batch", "spectral", "none"]
Conditioning = Literal["one_hot", "embedding"]

WIDEST = 8  # times the maps of the layer next to the image, as in the DCGAN paper's networks of 64×64
SLOPE = 0.2  # of the discriminator's LeakyReLU (Radford et al. 2016, section 3)
INITIAL_DEVIATION = 0.02  # of all weights at the beginning (the same)


class Verdict(NamedTuple):
    """What a discriminator says of images: logits (B,) of being real, and of the classes (B, K) or None."""

    real: Tensor
    classes: Tensor | None


class GAN(nn.Module):
    """A generator of images from noise, its moving average, and a discriminator."""

    offers: ClassVar[frozenset[str]] = frozenset({"generator"})
    methods: ClassVar[tuple[str, ...]] = ("generate", "discriminate")
    quantities: ClassVar[tuple[Quantity, ...]] = ()
    averaged: Tensor

    def __init__(
        self, generator: nn.Module, discriminator: nn.Module, latent_dim: int, noise: Noise, ema: float | None
    ) -> None:
        super().__init__()
        if ema is not None and not 0 < ema < 1:
            raise ValueError(f"ema={ema} is not between 0 and 1 (null: no average)")
        self.generator, self.discriminator = generator, discriminator
        self.latent_dim, self.noise, self.ema = latent_dim, noise, ema
        self.average = None if ema is None else copy.deepcopy(generator).requires_grad_(False)
        self.register_buffer("averaged", torch.zeros((), dtype=torch.int64))  # updates of the average so far

    def players(self) -> dict[str, list[nn.Parameter]]:
        """Who takes turns, with the parameters of each."""
        return {
            "discriminator": [*self.discriminator.parameters()],
            "generator": [*self.generator.parameters()],
        }

    def draw(self, count: int, generator: torch.Generator | None = None) -> Tensor:
        """Noise z (count, latent_dim) on the model's device, normal or uniform on [0, 1]."""
        device = self.averaged.device if generator is None else generator.device
        sample = torch.randn if self.noise == "normal" else torch.rand
        return sample(count, self.latent_dim, generator=generator, device=device).to(self.averaged.device)

    def generate(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Noise (B, latent_dim) to images (B, C, H, W) in [0, 1], float32; by the averaged weights in evaluation mode.

        Only a class-conditional model takes labels (B,) int64. Raises ValueError where they are missing or too many.
        """
        if label is not None:
            raise ValueError("this model is not class-conditional: generate(z) takes no label")
        return self._images(self.standardised(z))

    def discriminate(self, images: Tensor) -> Verdict:
        """What the discriminator says of images (B, C, H, W) in [0, 1]."""
        return Verdict(self.discriminator(2 * images - 1).float().squeeze(1), None)

    def standardised(self, z: Tensor) -> Tensor:
        """The noise with mean 0 and variance 1, as the generator takes it.

        With the mean 1/2 of uniform noise its first layer makes mostly the same pattern of any z: the samples collapse.
        """
        return z if self.noise == "normal" else (z - 0.5) * math.sqrt(12)

    @contextmanager
    def frozen_discriminator(self) -> Iterator[None]:
        """The discriminator without gradients for its own weights, which the generator's turn does not need."""
        self.discriminator.requires_grad_(False)
        try:
            yield
        finally:
            self.discriminator.requires_grad_(True)

    @torch.no_grad()
    def update_average(self) -> None:
        """Moves the average toward the generator."""
        if self.average is None or self.ema is None:
            return
        self.averaged += 1
        move_toward(self.average.state_dict(), self.generator.state_dict(), self.averaged, self.ema)

    def _images(self, code: Tensor | tuple[Tensor, Tensor]) -> Tensor:
        network = self.generator if self.training or self.average is None else self.average
        # (tanh(a) + 1) / 2 = sigmoid(2a)
        return torch.sigmoid(2 * network(code).float())


class ACGAN(GAN):
    """A GAN whose generator is told a class and whose discriminator names it (Odena et al. 2017)."""

    offers: ClassVar[frozenset[str]] = frozenset({"generator", "classes"})

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        latent_dim: int,
        noise: Noise,
        ema: float | None,
        classes: int,
    ) -> None:
        super().__init__(generator, discriminator, latent_dim, noise, ema)
        self.classes = classes

    def generate(self, z: Tensor, label: Tensor | None = None) -> Tensor:
        """Noise (B, latent_dim) and labels (B,) int64 to images (B, C, H, W) in [0, 1], float32."""
        if label is None:
            raise ValueError(
                f"this model is class-conditional: generate(z, label) takes labels 0 to {self.classes - 1}"
            )
        return self._images((self.standardised(z), label))

    def discriminate(self, images: Tensor) -> Verdict:
        """What the discriminator says of images (B, C, H, W) in [0, 1]."""
        real, classes = self.discriminator(2 * images - 1).float().split([1, self.classes], dim=1)
        return Verdict(real.squeeze(1), classes)


class Embedding(nn.Module):
    """(z (B, d), label (B,)) to z times a learned vector of the class (B, d)."""

    def __init__(self, classes: int, latent_dim: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(classes, latent_dim)

    def forward(self, code: tuple[Tensor, Tensor]) -> Tensor:
        z, label = code
        return z * self.vectors(label)


def dcgan(
    image_shape: ImageShape,
    latent_dim: Width,
    generator_maps: Maps,
    discriminator_maps: Maps,
    noise: Noise,
    discriminator_norm: DiscriminatorNorm,
    ema: float | None,
) -> GAN:
    """The convolutional GAN of Radford et al. 2016 for any size from 8×8 to 256×256; noise (B, latent_dim)."""
    return GAN(
        generator_network(image_shape, generator_maps, latent_dim),
        discriminator_network(image_shape, discriminator_maps, 1, discriminator_norm),
        latent_dim,
        noise,
        ema,
    )


def acgan(
    image_shape: ImageShape,
    classes: int,
    latent_dim: Width,
    generator_maps: Maps,
    discriminator_maps: Maps,
    noise: Noise,
    discriminator_norm: DiscriminatorNorm,
    ema: float | None,
    conditioning: Conditioning,
) -> ACGAN:
    """The networks of the DCGAN with a class for the generator and a class head beside the source head.

    Raises ValueError for data with fewer than two classes.
    """
    blocks.refuse_unlabelled("acgan", classes, "dcgan")
    told = OneHot(classes) if conditioning == "one_hot" else Embedding(classes, latent_dim)
    width = latent_dim + classes if conditioning == "one_hot" else latent_dim
    return ACGAN(
        nn.Sequential(told, generator_network(image_shape, generator_maps, width)),
        discriminator_network(image_shape, discriminator_maps, 1 + classes, discriminator_norm),
        latent_dim,
        noise,
        ema,
        classes,
    )


def generator_network(image_shape: ImageShape, maps: int, inputs: int) -> nn.Module:
    """Codes (B, inputs) to (B, C, H, W) before the tanh: transposed 4×4 convolutions of stride 2, batch norm, ReLU."""
    sizes = blocks.stage_sizes(image_shape)
    widths = [image_shape[0], *map_counts(maps, len(sizes) - 1)]
    bottom = nn.Linear(inputs, widths[-1] * math.prod(sizes[-1]), bias=False)
    stages = [
        nn.Sequential(blocks.doubling(a, b, size, bias=False), nn.BatchNorm2d(b), nn.ReLU())
        for (b, a), size in zip(pairwise(widths[1:]), sizes[1:-1], strict=True)
    ]
    network = nn.Sequential(
        bottom,
        Reshape((widths[-1], *sizes[-1])),
        nn.BatchNorm2d(widths[-1]),
        nn.ReLU(),
        *reversed(stages),
        blocks.doubling(widths[1], widths[0], sizes[0], bias=True),
    )
    return network.apply(initialise)


def discriminator_network(image_shape: ImageShape, maps: int, out: int, norm: DiscriminatorNorm) -> nn.Module:
    """Images (B, C, H, W) to logits (B, out): 4×4 convolutions of stride 2, LeakyReLU, no norm on the first layer."""
    sizes = blocks.stage_sizes(image_shape)
    widths = [image_shape[0], *map_counts(maps, len(sizes) - 1)]
    layers: list[nn.Module] = []
    for number, (a, b) in enumerate(pairwise(widths)):
        normalised = norm == "batch" and number > 0
        conv = nn.Conv2d(a, b, 4, stride=2, padding=1, bias=not normalised)
        layers += [conv, *([nn.BatchNorm2d(b)] if normalised else []), nn.LeakyReLU(SLOPE)]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * math.prod(sizes[-1]), out))
    network.apply(initialise)
    return with_spectral_norm(network) if norm == "spectral" else network


def map_counts(maps: int, stages: int) -> Sequence[int]:
    """Feature maps after each halving of the resolution: doubled each time, up to WIDEST times the first."""
    return [maps * min(2**stage, WIDEST) for stage in range(stages)]


def with_spectral_norm(network: nn.Sequential) -> nn.Sequential:
    """Divides each layer's weights by their largest singular value (Miyato et al. 2018, section 2.1)."""
    for layer in network:
        if isinstance(layer, nn.Conv2d | nn.Linear):
            spectral_norm(layer)
    return network


def initialise(layer: nn.Module) -> None:
    """Normal weights of deviation 0.02, around 1 in batch norms (Radford et al. 2016, section 4); biases 0."""
    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        nn.init.normal_(layer.weight, std=INITIAL_DEVIATION)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, mean=1, std=INITIAL_DEVIATION)
    if isinstance(getattr(layer, "bias", None), Tensor):
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
