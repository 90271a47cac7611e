"""What a linear VAE makes of images for each λ, in closed form from the eigenvalues of their covariance."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vaelab import UsageError

Array = np.ndarray

ACTIVE = 0.01  # of a unit's variance that its mean must have (Burda et al. 2016, section 5.2)
NEARLY_FREE = 0.01  # of the variance that a code can keep, which the least λ of a grid costs
VALUES_AT_ONCE = 2**23  # of images in float64, 64 MB
LEAST_VARIANCE = 1e-9  # of images that differ; rounding leaves less
LINE = 200  # values of λ along the curves of a figure
KEYS = ("kl_weight", "rate", "distortion", "negative_elbo", "active_units")
MOST_SIDE = 12_288  # of the matrix whose eigenvalues are computed, 1.2 GB: images of 64×64×3


@dataclass(frozen=True)
class Prediction:
    """The optimum of a linear VAE at one λ, in nats per image."""

    kl_weight: float
    rate: float
    distortion: float
    active_units: int

    @property
    def negative_elbo(self) -> float:
        """Rate and distortion together, unweighted."""
        return self.rate + self.distortion


def predict(eigenvalues: Array, kl_weight: float, sigma: float, latent_dim: int) -> Prediction:
    """The optimum for Gaussian pixels of noise σ and variances (D,) of images, D values each, in descending order.

    Units are kept where e > θ = λσ²; the rate is ½ Σ ln e/θ, the squared error Σ min(θ, e) over the units and what they
    leave out (reverse water-filling: Shannon 1959; Lucas et al. 2019, section 4).
    """
    level = kl_weight * sigma**2
    kept, left_out = eigenvalues[:latent_dim], eigenvalues[latent_dim:]
    error = np.minimum(kept, level).sum() + left_out.sum()
    constant = 0.5 * len(eigenvalues) * math.log(2 * math.pi * sigma**2)
    rate = kl_per_unit(eigenvalues, kl_weight, sigma, latent_dim).sum()
    active = int(np.count_nonzero(kept * (1 - ACTIVE) > level))
    return Prediction(kl_weight, float(rate), float(error / (2 * sigma**2) + constant), active)


def kl_per_unit(eigenvalues: Array, kl_weight: float, sigma: float, latent_dim: int) -> Array:
    """max(0, ½ ln e/θ) in nats of each unit (latent_dim,), the largest first; infinite at λ = 0."""
    kept = np.zeros(latent_dim)
    kept[: len(eigenvalues)] = eigenvalues[:latent_dim]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(0.5 * np.log(kept / (kl_weight * sigma**2)), nan=0, posinf=np.inf).clip(0)


def collapse(eigenvalues: Array, sigma: float) -> float:
    """The λ from which on no unit is kept: e₁/σ²."""
    return float(eigenvalues[0] / sigma**2)


def nearly_free(eigenvalues: Array, sigma: float, latent_dim: int) -> float:
    """The λ at which the KL term adds an error of NEARLY_FREE of the variance that the code can keep.

    Raises UsageError where there is no variance.
    """
    rising = np.concatenate(([0.0], eigenvalues[:latent_dim][::-1]))
    errors = [np.minimum(rising, level).sum() for level in rising]  # linear in between
    if errors[-1] < LEAST_VARIANCE:
        raise UsageError("all training images are the same: there is nothing for a code to keep")
    return float(np.interp(NEARLY_FREE * errors[-1], errors, rising) / sigma**2)


def grid(eigenvalues: Array, sigma: float, latent_dim: int, count: int) -> list[float]:
    """At most `count` λ at equal ratios, in two digits, from a nearly free one to one that collapses all units."""
    least, most = nearly_free(eigenvalues, sigma, latent_dim), _rounded_up(collapse(eigenvalues, sigma))
    values = [float(f"{value:.2g}") for value in np.geomspace(least, most, count)[:-1]]
    return list(dict.fromkeys((*values, most)))


def arrays(eigenvalues: Array, weights: Sequence[float], sigma: float, latent_dim: int) -> dict[str, Array]:
    """The numbers behind the figure: at the given λ, and as curve_* at LINE of them to beyond the collapse."""
    given = [predict(eigenvalues, weight, sigma, latent_dim) for weight in weights]
    least = min([nearly_free(eigenvalues, sigma, latent_dim), *(weight for weight in weights if weight > 0)])
    along = np.geomspace(least, 2 * collapse(eigenvalues, sigma), LINE)
    line = [predict(eigenvalues, weight, sigma, latent_dim) for weight in along]
    return {
        "eigenvalues": eigenvalues,
        "sigma": np.array(sigma),
        "collapse": np.array(collapse(eigenvalues, sigma)),
        **{key: np.array([getattr(one, key) for one in given]) for key in KEYS},
        **{f"curve_{key}": np.array([getattr(one, key) for one in line]) for key in KEYS},
        "curve_kl": np.array([kl_per_unit(eigenvalues, weight, sigma, latent_dim) for weight in along]),
    }


def eigenvalues(images: Array, rows: Array, variance: Callable[[Array], Array] = np.ones_like) -> Array:
    """Of the covariance of these rows of images (N, H, W, C) uint8 as values in [0, 1], (H·W·C,), in descending order.

    `variance` gives that of the noise of each value for the mean image (D,), in whose units the images are measured.
    With fewer images than values they are those of the Gram matrix, and zeros. The images are read in pieces; raises
    UsageError where there is none, or the smaller of the two matrices is larger than MOST_SIDE.
    """
    values = math.prod(images.shape[1:])
    if not len(rows):
        raise UsageError("there is no training image: use a data set of more images")
    if min(values, len(rows)) > MOST_SIDE:
        raise UsageError(
            f"the covariance of images of {values:,} values is too large: use dataset.size=64 or less"
        )
    flat = images.reshape(len(images), values)
    matrix = (covariance if values <= len(rows) else gram)(flat, rows, variance)
    found = np.linalg.eigvalsh(matrix)[::-1].clip(0)
    return np.concatenate((found, np.zeros(values - len(found))))


def covariance(flat: Array, rows: Array, variance: Callable[[Array], Array]) -> Array:
    """(D, D) of these rows of images (N, D) uint8, in float64."""
    total, products = np.zeros(flat.shape[1]), np.zeros((flat.shape[1], flat.shape[1]))
    for part in _parts(rows, flat.shape[1]):
        piece = flat[part] / 255
        total += piece.sum(0)
        products += piece.T @ piece
    mean = total / len(rows)
    weight = _weight(mean, variance)
    products /= len(rows)
    products -= np.outer(mean, mean)
    products *= np.outer(weight, weight)
    return products


def gram(flat: Array, rows: Array, variance: Callable[[Array], Array]) -> Array:
    """(N, N), whose eigenvalues other than 0 are those of covariance(), a group of pixels at a time."""
    products = np.zeros((len(rows), len(rows)))
    for part in _parts(np.arange(flat.shape[1]), len(rows)):
        piece = flat[:, part[0] : part[-1] + 1][rows] / 255
        mean = piece.mean(0)
        piece -= mean
        piece *= _weight(mean, variance)
        products += piece @ piece.T
    return products / len(rows)


def bernoulli_variance(mean: Array) -> Array:
    """μ(1 − μ) of pixels around a mean image: near the collapse a Bernoulli likelihood is Gaussian noise of that."""
    return mean * (1 - mean)


def table(predictions: Sequence[Prediction]) -> str:
    """One line for each λ, under headings."""
    rows = [["λ", "rate (nats)", "distortion (nats)", "−ELBO (nats)", "active units"]]
    for one in predictions:
        nats = (one.rate, one.distortion, one.negative_elbo)
        written = ["∞" if math.isinf(value) else f"{value:,.2f}" for value in nats]
        rows.append([f"{one.kl_weight:g}", *written, str(one.active_units)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) for row in rows)


def _rounded_up(value: float) -> float:
    """The next number of two digits."""
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return float(f"{math.ceil(value / step) * step:.2g}")


def _parts(places: Array, other: int) -> Iterator[Array]:
    """Places in groups of which `other` values each may be in memory at once."""
    size = max(1, VALUES_AT_ONCE // other)
    return (places[first : first + size] for first in range(0, len(places), size))


def _weight(mean: Array, variance: Callable[[Array], Array]) -> Array:
    """One over the noise's standard deviation; 0 where there is no noise, for there the images are all alike."""
    noise = variance(mean)
    return np.where(noise > 0, 1 / np.sqrt(np.where(noise > 0, noise, 1)), 0)
