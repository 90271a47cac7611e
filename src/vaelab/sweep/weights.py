"""kl_weight=auto: the λ of a sweep, from the spectrum of the images that its runs learn from."""

import math
import sys
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from omegaconf import DictConfig

from vaelab import UsageError, build, plugins, spectrum
from vaelab.config import has_kl_weight
from vaelab.data import ImageSet
from vaelab.names import choice_of
from vaelab.runs.identity import AUTO
from vaelab.runs.request import Request
from vaelab.words import printable

# The variance of the noise of each value, by the mean image, and what is said of it, by the likelihood.
NOISE: dict[str, tuple[Callable[[np.ndarray], np.ndarray], str]] = {
    "gaussian": (np.ones_like, "Gaussian noise of σ = {sigma:.4g}"),
    "bernoulli": (
        spectrum.bernoulli_variance,
        "Bernoulli pixels, near its collapse Gaussian noise of variance μ(1 − μ) around the mean image μ,",
    ),
}


class Weights:
    """Gives each job of kl_weight=auto so many values of λ, from nearly free to just collapsed."""

    def __init__(self, ask: Callable[[Sequence[str]], Request], count: int) -> None:
        self._ask, self._count = ask, count
        self._spectra: dict[str, tuple[ImageSet, np.ndarray]] = {}  # by data set and likelihood
        self._said: set[str] = set()

    def expand(self, grid: Sequence[Sequence[str]]) -> list[list[str]]:
        """The jobs of a grid, where those of kl_weight=auto are one for each λ; a model without a KL term stays one.

        Raises UsageError for a mistake before any data are read, and for noise of which no λ is known.
        """
        return [job for overrides in grid for job in self._jobs(overrides)]

    def _jobs(self, overrides: Sequence[str]) -> Iterator[list[str]]:
        others = [override for override in overrides if override != AUTO]
        cfg = self._ask(others).cfg if len(others) < len(overrides) else None
        if cfg is None or not has_kl_weight(cfg):
            yield others
            return
        plugins.allow(cfg.plugins)
        build.check(cfg)
        build.rehearse(cfg)
        yield from ([*others, f"kl_weight={weight:g}"] for weight in self._weights(cfg))

    def _weights(self, cfg: DictConfig) -> list[float]:
        likelihood = choice_of("likelihood", str((cfg.get("likelihood") or {}).get("_target_")))
        if likelihood not in NOISE:
            raise UsageError(f"{AUTO} needs likelihood=gaussian or bernoulli: give a list of λ")
        if cfg.kl_weight_unit != "nats":
            raise UsageError(f"{AUTO} counts in nats: leave kl_weight_unit={cfg.kl_weight_unit} out")
        variance, told = NOISE[likelihood]
        images, eigenvalues = self._spectrum(cfg, f"{likelihood} {cfg.dataset}", variance)
        noise = build.part_of(cfg.likelihood, "likelihood", 0)
        sigma = math.sqrt(noise.variance(cfg.loss.get("reduction", "sum"), len(eigenvalues)))
        collapse = spectrum.collapse(eigenvalues, sigma)
        model = f"a linear VAE with {told.format(sigma=sigma)}"
        self._say(f"{AUTO}: on {images.name} {model} collapses from λ = {collapse:.3g} on")
        return spectrum.grid(eigenvalues, sigma, cfg.latent_dim, self._count)

    def _spectrum(
        self, cfg: DictConfig, key: str, variance: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[ImageSet, np.ndarray]:
        if key not in self._spectra:
            images = build.dataset(cfg)
            self._spectra[key] = (
                images,
                spectrum.eigenvalues(images.images, images.indices("train"), variance),
            )
        return self._spectra[key]

    def _say(self, line: str) -> None:
        """Says on what the values rest, once."""
        if line not in self._said:
            self._said.add(line)
            print(printable(line), file=sys.stderr)
