"""What an encoder knows of a batch: a code owns its mathematics, and nothing tests for its kind."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor
from torch.distributions import Distribution, Normal

from vaelab.gaussians import Moments, drawn, joined, log_normal, log_standard_normal, standard_kl


class Code:
    """What is known of the codes of B images; losses, metrics and evaluations ask it.

    A kind of code has a mean, and of the rest what it does not say as this class does.
    """

    mean: Tensor  # (B, ...): what is decoded where there is to be no noise

    @property
    def variance(self) -> Tensor | None:
        """(B, ...), or None where a code has no noise."""
        return None

    @property
    def distribution(self) -> Distribution | None:
        """q(z|x) by torch.distributions, of independent values (B, ...) in float64; None where it has none."""
        return None

    @property
    def bits(self) -> float | None:
        """Bits that the code of an image is written in, or None where it is not discrete."""
        return None

    @property
    def layers(self) -> tuple[int, ...] | None:
        """Units of each layer, the top one first, or None where there is but one."""
        return None

    def sample(self, noise: torch.Generator) -> Tensor:
        """(B, ...): one draw for each image, from a generator on the code's device."""
        return self.mean

    def samples(self, count: int, noise: torch.Generator) -> Tensor:
        """(count, B, ...): so many draws for each image."""
        return torch.stack([self.sample(noise) for _ in range(count)])

    def log_prob(self, z: Tensor) -> Tensor | None:
        """log q(z|x) in nats of draws (..., B, ...), (..., B), or None where there is no density."""
        return None

    def log_prior(self, z: Tensor) -> Tensor | None:
        """log p(z) in nats of draws (..., B, ...), (..., B), or None where there is no density."""
        return None

    def kl(self, z: Tensor | None = None) -> Tensor | None:
        """KL to the prior in nats of each unit, (B, units), or None where there is no prior.

        `z` is a draw of sample(), which codes of several layers need: a layer's KL is that given the layers above.
        """
        return None

    def moments(self, z: Tensor) -> Moments | None:
        """Of each unit given a draw's units above it, (B, units) each, or None where a code is not Gaussian."""
        return None

    def double(self) -> "Code":
        """The same code, drawn and measured in float64 where it has noise."""
        return self

    def terms(self, z: Tensor) -> dict[str, Tensor]:
        """What is told of a draw beside the KL, each a mean over the batch of no dimension."""
        return {}


@dataclass(frozen=True, eq=False)
class Point(Code):
    """One point for each image, as an autoencoder has it, (B, ...)."""

    mean: Tensor


@dataclass(frozen=True, eq=False)
class Gaussian(Code):
    """A diagonal Gaussian q(z|x) for each image, beside the prior N(0, I): mean and log variance, both (B, ...)."""

    mean: Tensor
    log_variance: Tensor

    @property
    def variance(self) -> Tensor:
        """(B, ...)."""
        return self.log_variance.exp()

    @property
    def distribution(self) -> Distribution:
        """Independent values (B, ...) in float64."""
        return Normal(self.mean.double(), torch.exp(0.5 * self.log_variance.double()), validate_args=False)

    def sample(self, noise: torch.Generator) -> Tensor:
        """One draw z = mean + sigma * epsilon for each image (Kingma & Welling 2014, equation 10)."""
        return drawn((self.mean, self.log_variance), noise)

    def samples(self, count: int, noise: torch.Generator) -> Tensor:
        """(count, B, ...): so many draws for each image."""
        shape = (count, *self.mean.shape)
        return drawn((self.mean.expand(shape), self.log_variance.expand(shape)), noise)

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z|x) in nats of draws (..., B, ...), (..., B)."""
        return self._summed(log_normal(z, self.mean, self.log_variance))

    def log_prior(self, z: Tensor) -> Tensor:
        """log N(z; 0, I) in nats of draws (..., B, ...), (..., B)."""
        return self._summed(log_standard_normal(z))

    def kl(self, z: Tensor | None = None) -> Tensor:
        """KL(q(z|x) ‖ N(0, I)) in nats of each unit, (B, units) (Kingma & Welling 2014, appendix B)."""
        return standard_kl(self.moments(self.mean))

    def moments(self, z: Tensor) -> Moments:
        """Those of the posterior, (B, units) each, whatever the draw."""
        return self.mean.flatten(1), self.log_variance.flatten(1)

    def double(self) -> "Gaussian":
        """The same code in float64, whose draws keep the digits of a small variance."""
        return Gaussian(self.mean.double(), self.log_variance.double())

    def _summed(self, values: Tensor) -> Tensor:
        """Sums over the units: (..., B, ...) to (..., B)."""
        return values.flatten(1 - self.mean.dim()).sum(-1)


@dataclass(frozen=True, eq=False)
class Layered(Code):
    """Gaussians in layers, each given the layers above, beside the prior N(0, I) of all units.

    Units are counted from the top layer down. `posterior(layer, above)` gives the moments of a layer for values
    (..., B, n) of all n units above it, (..., B, units) each, or (B, units) where they are the same for all of these.
    """

    posterior: Callable[[int, Tensor], Moments]
    sizes: tuple[int, ...]  # units of each layer
    none_above: Tensor  # (B, 0)
    # The last draw and its moments, for a draw is soon asked for its KL.
    last: list[tuple[Tensor, Moments]] = field(default_factory=list, init=False, repr=False)

    @property
    def layers(self) -> tuple[int, ...]:
        """Units of each layer, the top one first."""
        return self.sizes

    @property
    def mean(self) -> Tensor:  # type: ignore[override]
        """(B, units): the mean of each layer where all above it are at theirs."""
        return self._down(lambda moments: moments[0], self.none_above)

    @property
    def variance(self) -> Tensor:
        """(B, units): that of each layer where all above it are at their means."""
        return self.moments(self.mean)[1].exp()

    def sample(self, noise: torch.Generator) -> Tensor:
        """(B, units): one draw for each image, layer by layer."""
        return self._down(lambda moments: drawn(moments, noise), self.none_above)

    def samples(self, count: int, noise: torch.Generator) -> Tensor:
        """(count, B, units): so many draws for each image, layer by layer."""
        return self._down(lambda moments: drawn(moments, noise), self.none_above.expand(count, -1, -1))

    def log_prob(self, z: Tensor) -> Tensor:
        """log q(z|x) in nats of draws (..., B, units), (..., B): of each layer given those above it."""
        return log_normal(z, *self.moments(z)).sum(-1)

    def log_prior(self, z: Tensor) -> Tensor:
        """log N(z; 0, I) in nats of draws (..., B, units), (..., B)."""
        return log_standard_normal(z).sum(-1)

    def kl(self, z: Tensor | None = None) -> Tensor:
        """KL of each unit given the draw's layers above, (B, units); its mean over draws is the KL of the code.

        Raises ValueError without a draw: at the mean it would be no bound.
        """
        if z is None:
            raise ValueError(
                "the KL of a code of layers is that of a draw: give kl(z) with z = sample(noise)"
            )
        return standard_kl(self.moments(z))

    def terms(self, z: Tensor) -> dict[str, Tensor]:
        """kl_1, kl_2, ...: the KL of each layer in nats, the one next to the image first."""
        of_layers = [part.sum(1).mean() for part in self.kl(z).split(self.sizes, 1)]
        return {f"kl_{number}": kl for number, kl in enumerate(reversed(of_layers), 1)}

    def moments(self, z: Tensor) -> Moments:
        """The moments of all units, (..., B, units) each, where those above each layer are at z."""
        for draw, moments in self.last:
            if draw is z:
                return moments
        ends = [sum(self.sizes[:layer]) for layer in range(len(self.sizes))]
        return joined([self._moments(layer, z[..., :end]) for layer, end in enumerate(ends)])

    def double(self) -> "Layered":
        """The same code with draws in float64; the networks between the layers stay as they are."""
        return Layered(partial(_in_double, self.posterior), self.sizes, self.none_above.double())

    def _down(self, choose: Callable[[Moments], Tensor], z: Tensor) -> Tensor:
        found = []
        for layer in range(len(self.sizes)):
            found.append(self._moments(layer, z))
            z = torch.cat((z, choose(found[-1])), -1)
        self.last[:] = [(z, joined(found))]
        return z

    def _moments(self, layer: int, above: Tensor) -> Moments:
        """The moments of a layer, (..., B, units) each, for all values (..., B, n) above it."""
        mean, log_variance = self.posterior(layer, above)
        shape = (*above.shape[:-1], self.sizes[layer])
        return mean.expand(shape), log_variance.expand(shape)


@dataclass(frozen=True, eq=False)
class Quantised(Code):
    """One of K vectors at each of P places, and how often each is the one there: the prior, which is learned.

    `mean` (B, P, D) are the vectors, `encoded` (B, P, D) what the encoder gave, `index` (B, P) which vectors they are,
    `prior` (P, K) the probabilities.
    """

    mean: Tensor
    encoded: Tensor
    index: Tensor
    prior: Tensor

    @property
    def bits(self) -> float:
        """P log2 K."""
        places, vectors = self.prior.shape
        return places * math.log2(vectors)

    def kl(self, z: Tensor | None = None) -> Tensor:
        """-log p of the vector at each place in nats, (B, P): the posterior is certain of it."""
        return -self.prior.log().expand(len(self.index), -1, -1).gather(2, self.index.unsqueeze(2)).squeeze(2)

    def terms(self, z: Tensor) -> dict[str, Tensor]:
        """batch_perplexity and batch_codebook_use: of a batch, which has fewer places than a split."""
        counts = counted(self.index, self.prior.shape[1]).sum(0)
        used = (counts > 0).float().mean()
        return {"batch_perplexity": perplexity(counts), "batch_codebook_use": used}

    def commitment(self) -> Tensor:
        """Squared distances (B,) of what was encoded from the vectors (van den Oord et al. 2017, equation 3)."""
        return (self.encoded - self.mean.detach()).square().flatten(1).sum(1)


def _in_double(posterior: Callable[[int, Tensor], Moments], layer: int, above: Tensor) -> Moments:
    """The moments of a layer in float64, from a posterior that is given float32."""
    mean, log_variance = posterior(layer, above.float())
    return mean.double(), log_variance.double()


def counted(index: Tensor, size: int) -> Tensor:
    """How often each of `size` numbers stands at each place: (B, P) int64 to (P, size) float32."""
    # Not bincount or one_hot, which read the largest number back.
    counts = torch.zeros(index.shape[1], size, device=index.device)
    return counts.scatter_add_(1, index.T, torch.ones(index.T.shape, device=index.device))


def perplexity(counts: Tensor) -> Tensor:
    """exp of the entropy of counts (K,): K where all are used alike, 1 where one is."""
    share = counts / counts.sum()
    return torch.exp(-torch.special.xlogy(share, share).sum())
