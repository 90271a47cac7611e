"""Parts that the models share: encoders and decoders."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from vaelab.codes import Code
from vaelab.quantities import Quantity

ImageShape = tuple[int, int, int]  # (channels, height, width)

SMALLEST, LARGEST = 8, 256  # sides of the images that the convolutional networks are made and tested for
WIDEST = 256  # channels after which halving the resolution no longer doubles the width


class EncoderDecoder(nn.Module):
    """An encoder of images and a decoder to the logits of their pixels."""

    offers: ClassVar[frozenset[str]] = frozenset({"encoder"})
    methods: ClassVar[tuple[str, ...]] = ("encode", "decode")
    bounded: ClassVar[bool] = True  # whether decoded pixels lie in [0, 1]
    prior: ClassVar[str | None] = None  # in words, where draw() draws from one

    def __init__(self, encoder: nn.Module, decoder: nn.Module, code_shape: Sequence[int]) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.code_shape = tuple(code_shape)  # of one image
        self.quantities: tuple[Quantity, ...] = ()  # of the terms that its codes have

    def players(self) -> dict[str, list[nn.Parameter]]:
        """Who takes turns, with the parameters of each: all of them are one player's."""
        return {"model": [*self.parameters()]}

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Code:
        """Images (B, C, H, W) in [0, 1] to what is known of their codes (B, ...); most need no labels (B,)."""
        raise NotImplementedError

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Codes (B, ...) to images (B, C, H, W) in [0, 1], always in float32; most need no labels (B,)."""
        return torch.sigmoid(self.decoder(z).float())

    def after_step(self, code: Code, noise: torch.Generator) -> None:
        """What a network learns of a training batch's code without a gradient, once its player has stepped."""


class Reshape(nn.Module):
    """(B, n) to (B, *shape)."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, self.shape)


class OneHot(nn.Module):
    """(z (B, d), label (B,)) to z beside the label's one-hot code (B, d + K)."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes

    def forward(self, code: tuple[Tensor, Tensor]) -> Tensor:
        z, label = code
        # Not F.one_hot, which reads the labels back on a CPU.
        told = z.new_zeros(label.shape[0], self.classes).scatter_(1, label.unsqueeze(1), 1.0)
        return torch.cat([z, told], dim=1)


def refuse_unlabelled(model: str, classes: int, other: str) -> None:
    """Raises ValueError where a model that is told classes gets data with fewer than two."""
    if classes < 2:
        raise ValueError(
            f"{model} needs labelled images of two or more classes: give dataset.attribute=COLUMN of a CSV, "
            f"a folder with sub-folders, or take model={other}"
        )


def perceptron(widths: Sequence[int], activation: nn.Module) -> nn.Sequential:
    """Fully connected layers through the widths, with the activation between them."""
    layers: list[nn.Module] = []
    for i, (a, b) in enumerate(pairwise(widths)):
        layers += [activation] if i else []
        layers.append(nn.Linear(a, b))
    return nn.Sequential(*layers)


def fc_encoder(image_shape: ImageShape, hidden: Sequence[int], out: int, activation: nn.Module) -> nn.Module:
    """Images (B, C, H, W) to (B, out) through the hidden widths."""
    return nn.Sequential(nn.Flatten(), perceptron([math.prod(image_shape), *hidden, out], activation))


def fc_decoder(
    image_shape: ImageShape, hidden: Sequence[int], latent_dim: int, activation: nn.Module
) -> nn.Module:
    """Codes (B, latent_dim) to logits (B, C, H, W) through the hidden widths in reverse."""
    widths = [latent_dim, *reversed(hidden), math.prod(image_shape)]
    return nn.Sequential(perceptron(widths, activation), Reshape(image_shape))


def stage_sizes(image_shape: ImageShape) -> list[tuple[int, int]]:
    """Sizes (H, W) from the image's own down to the first with a side under 8, halved each time."""
    _, height, width = image_shape
    if not all(SMALLEST <= side <= LARGEST for side in (height, width)):
        raise ValueError(
            f"images of {height}×{width} do not fit this network, which takes sides from {SMALLEST} to {LARGEST}: "
            "set dataset.size"
        )
    sizes = [(height, width)]
    while min(sizes[-1]) >= SMALLEST:
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    return sizes


def stage_widths(channels: int, stages: int) -> list[int]:
    """Channels after each stage: doubled each time, up to WIDEST."""
    return [min(channels * 2**i, max(channels, WIDEST)) for i in range(stages)]


def normalised(layer: nn.Module, channels: int) -> nn.Sequential:
    """A layer without bias, GroupNorm with groups of 8 or more channels, and the activation."""
    return nn.Sequential(layer, nn.GroupNorm(math.gcd(8, channels), channels), nn.SiLU())


class Expand(nn.Module):
    """(B, a) to (B, b): a linear path, which learns fast, beside one hidden layer, which models more."""

    def __init__(self, a: int, hidden: int, b: int) -> None:
        super().__init__()
        self.direct = nn.Linear(a, b)
        self.bent = perceptron([a, hidden, b], nn.SiLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.direct(x) + self.bent(x)


def strided_encoder(image_shape: ImageShape, channels: int, out: int) -> nn.Module:
    """Images (B, C, H, W) to (B, out): 4×4 convolutions of stride 2, then one linear layer.

    The first convolution has a bias and no normalisation, which would take brightness and contrast away.
    """
    sizes = stage_sizes(image_shape)
    widths = stage_widths(channels, len(sizes) - 1)
    first = nn.Sequential(nn.Conv2d(image_shape[0], widths[0], 4, stride=2, padding=1), nn.SiLU())
    stages = [normalised(nn.Conv2d(a, b, 4, stride=2, padding=1, bias=False), b) for a, b in pairwise(widths)]
    return nn.Sequential(first, *stages, nn.Flatten(), nn.Linear(widths[-1] * math.prod(sizes[-1]), out))


def strided_decoder(image_shape: ImageShape, channels: int, hidden: int, latent_dim: int) -> nn.Module:
    """Codes (B, latent_dim) to logits (B, C, H, W): the strided encoder run backwards."""
    sizes = stage_sizes(image_shape)
    widths = [image_shape[0], *stage_widths(channels, len(sizes) - 1)]
    stages = [
        normalised(doubling(a, b, size, bias=False), b)
        for (b, a), size in zip(pairwise(widths[1:]), sizes[1:-1], strict=True)
    ]
    return nn.Sequential(
        Expand(latent_dim, hidden, widths[-1] * math.prod(sizes[-1])),
        nn.SiLU(),
        Reshape((widths[-1], *sizes[-1])),
        *reversed(stages),
        doubling(widths[1], widths[0], sizes[0], bias=True),
    )


def plain_encoder(image_shape: ImageShape, channels: int, hidden: int, out: int) -> nn.Module:
    """Images (B, C, H, W) to (B, out): 4×4 convolutions of stride 2 and one width, then two hidden layers."""
    sizes = stage_sizes(image_shape)
    stages: list[nn.Module] = []
    for a in (image_shape[0], *[channels] * (len(sizes) - 2)):
        stages += [nn.Conv2d(a, channels, 4, stride=2, padding=1), nn.ReLU()]
    widths = [channels * math.prod(sizes[-1]), hidden, hidden, out]
    return nn.Sequential(*stages, nn.Flatten(), perceptron(widths, nn.ReLU()))


def plain_decoder(image_shape: ImageShape, channels: int, hidden: int, latent_dim: int) -> nn.Module:
    """Codes (B, latent_dim) to logits (B, C, H, W): the plain encoder run backwards."""
    sizes = stage_sizes(image_shape)
    stages: list[nn.Module] = []
    for size in reversed(sizes[1:-1]):
        stages += [nn.ReLU(), doubling(channels, channels, size, bias=True)]
    widths = [latent_dim, hidden, hidden, channels * math.prod(sizes[-1])]
    bottom = nn.Sequential(perceptron(widths, nn.ReLU()), Reshape((channels, *sizes[-1])))
    return nn.Sequential(bottom, *stages, nn.ReLU(), doubling(channels, image_shape[0], sizes[0], bias=True))


def doubling(a: int, b: int, size: tuple[int, int], bias: bool) -> nn.ConvTranspose2d:
    """The transposed convolution that ends at exactly this size, odd sides too."""
    odd = (size[0] % 2, size[1] % 2)
    return nn.ConvTranspose2d(a, b, 4, stride=2, padding=1, output_padding=odd, bias=bias)


def pooled_encoder(image_shape: ImageShape, channels: int, latent_dim: int) -> nn.Module:
    """Images (B, C, H, W) to (B, latent_dim): 3×3 convolutions with max-pooling, then one linear layer."""
    sizes = stage_sizes(image_shape)
    widths = [image_shape[0], *stage_widths(channels, len(sizes) - 1)]
    stages = [
        nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)) for a, b in pairwise(widths)
    ]
    return nn.Sequential(*stages, nn.Flatten(), nn.Linear(widths[-1] * math.prod(sizes[-1]), latent_dim))


def upsampling_decoder(image_shape: ImageShape, channels: int, latent_dim: int) -> nn.Module:
    """Codes (B, latent_dim) to logits (B, C, H, W): the pooled encoder run backwards."""
    sizes = stage_sizes(image_shape)
    widths = [image_shape[0], *stage_widths(channels, len(sizes) - 1)]
    stages = [
        nn.Sequential(nn.ReLU(), nn.Upsample(size=size), nn.Conv2d(a, b, 3, padding=1))
        for (b, a), size in zip(pairwise(widths), sizes, strict=False)
    ]
    bottom = nn.Linear(latent_dim, widths[-1] * math.prod(sizes[-1]))
    return nn.Sequential(bottom, Reshape((widths[-1], *sizes[-1])), *reversed(stages))


def spatial_code(image_shape: ImageShape, code_channels: int) -> tuple[int, int, int]:
    """The shape of a code that keeps the image's layout."""
    _, height, width = image_shape
    return code_channels, height - 2, width - 2


def spatial_encoder(image_shape: ImageShape, channels: int, out: int) -> nn.Module:
    """Images (B, C, H, W) to (B, out, H - 2, W - 2): one padded and one unpadded 3×3 convolution."""
    stage_sizes(image_shape)  # refuses sizes that do not fit
    return nn.Sequential(
        nn.Conv2d(image_shape[0], channels, 3, padding=1), nn.ReLU(), nn.Conv2d(channels, out, 3)
    )


def spatial_decoder(image_shape: ImageShape, channels: int, code_channels: int) -> nn.Module:
    """Codes (B, code_channels, H - 2, W - 2) to logits (B, C, H, W)."""
    return nn.Sequential(
        nn.ConvTranspose2d(code_channels, channels, 3),
        nn.ReLU(),
        nn.Conv2d(channels, image_shape[0], 3, padding=1),
    )
