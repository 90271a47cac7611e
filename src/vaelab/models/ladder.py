"""The ladder VAE: a code in layers, each inferred from the image and from the layers above (Sønderby et al. 2016)."""

from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from vaelab.bounds import Between, Maps, Width
from vaelab.codes import Layered
from vaelab.gaussians import Moments
from vaelab.models.blocks import ImageShape, perceptron, strided_decoder, strided_encoder
from vaelab.models.vae import NormalPrior, bounded
from vaelab.quantities import Quantity

FEWEST, MOST = 2, 4  # layers


class LadderVAE(NormalPrior):
    """p(x|z1) p(z1|z2) ... p(zL) and q(zL|x) ... q(z1|z2, x), all Gaussian.

    A code counts each layer's values in deviations of its prior from its prior's mean, u = (z - mean) / deviation,
    from the top layer down. So the prior of a code is N(0, I) and the KL is the same, and where a unit of an upper
    layer moves, the layers below follow it as their priors do.
    """

    offers: ClassVar[frozenset[str]] = NormalPrior.offers | {"layers"}

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        evidence: Sequence[nn.Module],
        readings: Sequence[nn.Module],
        priors: Sequence[nn.Module],
        sizes: Sequence[int],
    ) -> None:
        super().__init__(encoder, decoder, (sum(sizes),))
        self.layers = tuple(sizes)  # units, the top layer first
        self.quantities = tuple(
            Quantity(f"kl_{number}", f"KL of layer {number}", "nats per image", shown="report")
            for number in range(1, len(sizes) + 1)
        )
        # From the features below to those of a layer, the top one last; from these to what they say of the layer, the
        # top one first; and from each layer to the prior of the next one below.
        self.evidence, self.readings = nn.ModuleList(evidence), nn.ModuleList(readings)
        self.priors = nn.ModuleList(priors)

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Layered:
        """Images (B, C, H, W) in [0, 1] to the code's layers, in float32."""
        features = [self.encoder(images)]
        for step in self.evidence:
            features.append(step(features[-1]))
        read = [
            moments(reading(layer)) for reading, layer in zip(self.readings, reversed(features), strict=True)
        ]
        none_above = read[0][0].new_zeros(images.shape[0], 0)
        return Layered(partial(self.posterior, read), self.layers, none_above)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Codes (B, units) to images (B, C, H, W) in [0, 1], always in float32."""
        return super().decode(self.values(z)[-1])

    def values(self, z: Tensor) -> list[Tensor]:
        """The values of each layer of a code (..., B, units), or of those that it has, the top one first."""
        found: list[Tensor] = []
        for u in z.split(self.layers[: self.count(z)], -1):
            if found:
                mean, log_variance = self.prior_of(len(found), found[-1])
                u = mean + torch.exp(0.5 * log_variance) * u
            found.append(u)
        return found

    def count(self, z: Tensor) -> int:
        """How many layers these units are, from the top one on."""
        ends = [sum(self.layers[:count]) for count in range(len(self.layers) + 1)]
        return ends.index(z.shape[-1])

    def prior_of(self, layer: int, above: Tensor) -> Moments:
        """The moments of a layer's prior for values (..., B, units) of the layer above it."""
        # In float32 everywhere, for the KL is that of the values that are decoded.
        with torch.autocast(above.device.type, enabled=False):
            return moments(self.priors[layer - 1](above.float()))

    def posterior(self, read: Sequence[Moments], layer: int, above: Tensor) -> Moments:
        """The moments of a layer of a code: what the image says and the prior, by their precisions.

        Sønderby et al. 2016, equations 16 and 17, which have all layers but the top one so; here it is too.
        """
        mean, log_variance = read[layer]
        if layer:
            prior_mean, prior_log_variance = self.prior_of(layer, self.values(above)[-1])
            deviation = torch.exp(0.5 * prior_log_variance)
            mean, log_variance = (mean - prior_mean) / deviation, log_variance - prior_log_variance
        # In deviations of the prior, whose precision is 1 there.
        log_precision = nn.functional.softplus(-log_variance)
        return mean * torch.exp(-log_variance - log_precision), -log_precision


def moments(output: Tensor) -> Moments:
    """An output (..., 2n) as means and log variances (..., n), in float32."""
    mean, log_variance = output.float().chunk(2, dim=-1)
    return mean, bounded(log_variance)


def ladder_vae(
    image_shape: ImageShape,
    layers: Sequence[Width],
    channels: Maps,
    hidden: Annotated[int, Between(1, 4096)],
) -> LadderVAE:
    """Strided convolutions below two to four layers of so many units, the one next to the image first.

    Raises ValueError for another number of layers.
    """
    if not FEWEST <= len(layers) <= MOST:
        raise ValueError(f"layers={list(layers)} are {len(layers)} layers: give from {FEWEST} to {MOST}")
    sizes = [*reversed(layers)]

    def network(inputs: int, outputs: int) -> nn.Module:
        return perceptron([inputs, hidden, outputs], nn.SiLU())

    return LadderVAE(
        nn.Sequential(strided_encoder(image_shape, channels, hidden), nn.SiLU()),
        strided_decoder(image_shape, channels, hidden, sizes[-1]),
        [nn.Sequential(network(hidden, hidden), nn.SiLU()) for _ in sizes[1:]],
        [nn.Linear(hidden, 2 * size) for size in sizes],
        [network(above, 2 * below) for above, below in pairwise(sizes)],
        sizes,
    )
