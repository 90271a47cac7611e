"""A VAE that is told λ: one network for all λ of a range, which knows a whole curve of rate and distortion."""

import copy
import math
from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from vaelab import UsageError
from vaelab.codes import Gaussian
from vaelab.models.blocks import perceptron
from vaelab.models.resnet import Residual
from vaelab.models.vae import VAE, gaussian

FEATURES = 64  # numbers that λ is told by
ACTIVATIONS = (nn.ReLU, nn.SiLU, nn.Tanh)


class Modulation(nn.Module):
    """Scales and shifts (B, C, ...) channel by channel by features of λ (B, F) (FiLM: Perez et al. 2018, equation 2).

    It begins as the identity, so that the network begins as one that is told nothing.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.read = nn.Linear(FEATURES, 2 * channels)
        nn.init.zeros_(self.read.weight)
        nn.init.zeros_(self.read.bias)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        scale, shift = self.read(features).unflatten(1, (2, -1, *[1] * (x.dim() - 2))).unbind(1)
        return x * (1 + scale) + shift


class Modulated(nn.Module):
    """Layers in a row, where what comes into an activation is modulated first: (B, *shape) and features of λ (B, F)."""

    def __init__(self, network: nn.Module, shape: Sequence[int]) -> None:
        super().__init__()
        self.steps = nn.ModuleList()
        x = torch.zeros(1, *shape)
        for layer in leaves(network):
            if isinstance(layer, ACTIVATIONS):
                self.steps.append(Modulation(x.shape[1]))
            self.steps.append(ModulatedResidual(layer, x.shape[1:]) if isinstance(layer, Residual) else layer)
            x = layer(x)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        for step in self.steps:
            x = step(x, features) if isinstance(step, TOLD) else step(x)
        return x


class ModulatedResidual(nn.Module):
    """x + f(x) where f is modulated."""

    def __init__(self, block: Residual, shape: Sequence[int]) -> None:
        super().__init__()
        self.change = Modulated(block.change, shape)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        return x + self.change(x, features)


TOLD = (Modulation, Modulated, ModulatedResidual)


def leaves(network: nn.Module) -> Iterator[nn.Module]:
    """The layers of a network of rows within rows, in their order."""
    if not isinstance(network, nn.Sequential):
        yield network
        return
    for layer in network:
        yield from leaves(layer)


class ConditionedVAE(VAE):
    """q(z|x, λ) and p(x|z, λ) for all λ of a range `kl_weights`; without a λ it is the VAE of `kl_weight`.

    λ comes in by scaling and shifting what goes into each activation, and the code where it leaves the encoder and
    enters the decoder (FiLM: Perez et al. 2018; as QARV, Duan et al. 2023, tells its network λ). MR-VAE (Bae et al.
    2022) has a sigmoid of an affine function of log λ for a scale of hidden units, and no shift: enough for linear
    VAEs. But a unit's log variance has to move by about log λ, which a shift of the code does at once: after 10 epochs
    of fc_vae on TibetanMNIST, D + λ · KL at λ = 1 was 0.1 nats above that of a run of its own, and 76 with such a gate
    on the hidden units alone, begun at sigmoid(5).
    """

    offers: ClassVar[frozenset[str]] = VAE.offers | {"kl_weights"}

    kl_weight: float | Tensor

    def __init__(
        self,
        network: VAE,
        image_shape: Sequence[int],
        kl_weights: tuple[float, float],
        kl_weight: float,
    ) -> None:
        super().__init__(
            Modulated(network.encoder, image_shape),
            Modulated(network.decoder, network.code_shape),
            network.code_shape,
        )
        self.bounded = network.bounded  # type: ignore[misc]
        self.kl_weights, self.kl_weight = kl_weights, kl_weight
        self.features = nn.Sequential(perceptron([1, FEATURES, FEATURES], nn.SiLU()), nn.SiLU())
        units = self.code_shape[0]
        self.leaving, self.entering = Modulation(2 * units), Modulation(units)

    def at(self, kl_weight: float | Tensor) -> "ConditionedVAE":
        """The same network at another λ, or one for each image (B,); raises UsageError for a λ outside of its range."""
        low, high = self.kl_weights
        if not isinstance(kl_weight, Tensor) and not low <= kl_weight <= high:
            raise UsageError(
                f"λ = {kl_weight:g} is none of {low:g} to {high:g}, which this network has learned"
            )
        other = copy.copy(self)  # with the same parameters
        other.kl_weight = kl_weight
        return other

    def encode(
        self, images: Tensor, labels: Tensor | None = None, kl_weight: Tensor | None = None
    ) -> Gaussian:
        """Images (B, C, H, W) in [0, 1] to q(z|x, λ), in float32; λ of each image (B,), or that of the network."""
        features = self.features_of(kl_weight, images)
        return gaussian(self.leaving(self.encoder(images, features), features))

    def decode(self, z: Tensor, labels: Tensor | None = None, kl_weight: Tensor | None = None) -> Tensor:
        """Codes (B, ...) to images (B, C, H, W), float32; λ of each image (B,), or that of the network."""
        features = self.features_of(kl_weight, z)
        decoded = self.decoder(self.entering(z, features), features).float()
        return torch.sigmoid(decoded) if self.bounded else decoded

    def features_of(self, kl_weight: Tensor | None, like: Tensor) -> Tensor:
        """Features of λ, (B, F), or (1, F) of one λ for all."""
        given = self.kl_weight if kl_weight is None else kl_weight
        weights = given if isinstance(given, Tensor) else torch.full((1,), given, device=like.device)
        low, high = map(math.log, self.kl_weights)
        # From -1 to 1 over the range.
        place = (2 * weights.log() - low - high) / ((high - low) or 1.0)
        return self.features(place.unsqueeze(1))
