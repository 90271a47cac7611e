"""Networks of other tools, laid out as their checkpoints are: to be measured here, not to be trained."""

import inspect
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from vaelab import UsageError
from vaelab.bounds import Width
from vaelab.codes import Gaussian
from vaelab.models.blocks import ImageShape, Reshape
from vaelab.models.vae import VAE, gaussian

PYTHAE_HIDDEN = 512  # of pythae's default encoder and decoder


class PythaeEncoder(nn.Module):
    """Images (B, C, H, W) to mean and log variance, together (B, 2 * latent_dim)."""

    def __init__(self, image_shape: ImageShape, latent_dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Sequential(nn.Linear(math.prod(image_shape), PYTHAE_HIDDEN), nn.ReLU())
        )
        self.embedding = nn.Linear(PYTHAE_HIDDEN, latent_dim)
        self.log_var = nn.Linear(PYTHAE_HIDDEN, latent_dim)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.layers(images.flatten(1))
        return torch.cat((self.embedding(hidden), self.log_var(hidden)), 1)


class PythaeDecoder(nn.Module):
    """Codes (B, latent_dim) to logits (B, C, H, W)."""

    def __init__(self, image_shape: ImageShape, latent_dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Sequential(nn.Linear(latent_dim, PYTHAE_HIDDEN), nn.ReLU()),
            nn.Sequential(nn.Linear(PYTHAE_HIDDEN, math.prod(image_shape)), Reshape(image_shape)),
        )

    def forward(self, z: Tensor) -> Tensor:
        logits: Tensor = self.layers(z)
        return logits


def pythae_vae(image_shape: ImageShape, latent_dim: Width) -> VAE:
    """The default networks of pythae (Chadebec et al. 2022), for its VAE and BetaVAE; latents (B, latent_dim)."""
    return VAE(PythaeEncoder(image_shape, latent_dim), PythaeDecoder(image_shape, latent_dim), (latent_dim,))


class VanillaVAE(VAE):
    """That of PyTorch-VAE (Subramanian 2020), whose output is a tanh, of images in [0, 1]."""

    bounded: ClassVar[bool] = False

    def __init__(self, image_shape: ImageShape, latent_dim: int, hidden: Sequence[int]) -> None:
        channels, height, width = image_shape
        side = 2 ** (len(hidden) + 1)  # whose encoder ends at 2×2
        if (height, width) != (side, side):
            raise ValueError(
                f"{len(hidden)} halvings are of images of {side}×{side}, not {height}×{width}: set dataset.size={side}"
            )
        widths = [channels, *hidden]
        down = [
            nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), nn.BatchNorm2d(b), nn.LeakyReLU())
            for a, b in pairwise(widths)
        ]
        up = [_doubling(b, a) for a, b in reversed([*pairwise(hidden)])]
        super().__init__(nn.Sequential(*down), nn.Sequential(*up), (latent_dim,))
        self.fc_mu, self.fc_var = nn.Linear(4 * hidden[-1], latent_dim), nn.Linear(4 * hidden[-1], latent_dim)
        self.decoder_input = nn.Linear(latent_dim, 4 * hidden[-1])
        last = nn.Conv2d(hidden[0], channels, 3, padding=1)
        self.final_layer = nn.Sequential(*_doubling(hidden[0], hidden[0]), last, nn.Tanh())

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Gaussian:
        """Images (B, C, H, W) in [0, 1] to q(z|x), in float32."""
        features = self.encoder(images).flatten(1)
        return gaussian(torch.cat((self.fc_mu(features), self.fc_var(features)), 1))

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Codes (B, latent_dim) to images (B, C, H, W) as they are, in [-1, 1], always in float32."""
        images: Tensor = self.final_layer(self.decoder(self.decoder_input(z).unflatten(1, (-1, 2, 2))))
        return images.float()


def _doubling(a: int, b: int) -> nn.Sequential:
    grown = nn.ConvTranspose2d(a, b, 3, stride=2, padding=1, output_padding=1)
    return nn.Sequential(grown, nn.BatchNorm2d(b), nn.LeakyReLU())


def pytorch_vae(image_shape: ImageShape, latent_dim: Width, hidden: Sequence[Width]) -> VanillaVAE:
    """VanillaVAE with these widths of its convolutions; latents (B, latent_dim).

    Raises ValueError for images of a size that such an encoder does not end at 2×2 with.
    """
    return VanillaVAE(image_shape, latent_dim, hidden)


class LatentDiffusionVAE(VAE):
    """AutoencoderKL of diffusers (Rombach et al. 2022), whose images are in [-1, 1]; a code with their layout."""

    bounded: ClassVar[bool] = False

    def __init__(self, network: Any, code_shape: Sequence[int]) -> None:
        before, after = network.quant_conv, network.post_quant_conv
        encoder = {"encoder": network.encoder} | ({} if before is None else {"quant_conv": before})
        decoder = ({} if after is None else {"post_quant_conv": after}) | {"decoder": network.decoder}
        super().__init__(_chain(encoder), _chain(decoder), code_shape)

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Gaussian:
        """Images (B, C, H, W) in [0, 1] to q(z|x), in float32."""
        return gaussian(self.encoder(2 * images - 1))

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Codes (B, channels, h, w) to images (B, C, H, W) as they are, beyond [0, 1] too, always in float32."""
        images: Tensor = (self.decoder(z).float() + 1) / 2
        return images


def _chain(layers: dict[str, nn.Module]) -> nn.Sequential:
    """Layers one after the other, under the names that they have in a checkpoint."""
    chain = nn.Sequential()
    for name, layer in layers.items():
        chain.add_module(name, layer)
    return chain


def autoencoder_kl(image_shape: ImageShape, settings: dict[str, Any]) -> LatentDiffusionVAE:
    """The network that the settings of a config.json describe; latents (B, latent_channels, h, w).

    Raises UsageError without diffusers, and ValueError for settings that are none or images that do not fit them.
    """
    try:
        from diffusers import AutoencoderKL
    except ImportError:
        raise UsageError("an AutoencoderKL needs diffusers: pip install 'vaelab[diffusers]'") from None
    channels, height, width = image_shape
    known = set(inspect.signature(AutoencoderKL.__init__).parameters)
    network: Any = AutoencoderKL(**{key: value for key, value in settings.items() if key in known})
    factor = 2 ** (len(network.config.block_out_channels) - 1)
    if channels != network.config.in_channels or height % factor or width % factor:
        raise ValueError(
            f"images of {height}×{width}×{channels} do not fit this AutoencoderKL, which takes "
            f"{network.config.in_channels} channels and sides that {factor} divides: set dataset.size"
        )
    return LatentDiffusionVAE(network, (network.config.latent_channels, height // factor, width // factor))
