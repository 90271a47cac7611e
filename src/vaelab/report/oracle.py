"""What the best linear VAE would reach on the same images, where vae-data spectrum has computed it."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vaelab import spectrum
from vaelab.names import choice_of
from vaelab.report import arrays
from vaelab.report.arrays import Array
from vaelab.report.record import Record

AXES = {"eigenvalues": "d", "sigma": "", "fingerprint": "c"}
POINTS = 100  # of a predicted curve
RANKS = 10  # units of a cascade


@dataclass(frozen=True)
class Oracle:
    """Variances (D,) of the training images, in descending order, and the σ that was asked for."""

    eigenvalues: Array
    sigma: float

    def fits(self, convention: Sequence[object]) -> bool:
        """Whether nats of this likelihood are those of the prediction."""
        return tuple(convention) == ("gaussian", self.sigma)

    def weight(self, record: Record) -> float | None:
        """λ of a run in nats, whatever it was given in; None where it weighs something else than the KL, or nothing."""
        regulariser = record.config.get("regulariser")
        target = regulariser.get("_target_") if isinstance(regulariser, dict) else None
        if choice_of("regulariser", str(target)) != "kl" or not self.fits(record.convention):
            return None
        return record.beta_eff / self.sigma**2 if record.beta_eff and record.beta_eff > 0 else None

    def at(self, kl_weight: float, units: float) -> spectrum.Prediction:
        """The optimum at one λ for a code of so many units."""
        return spectrum.predict(self.eigenvalues, kl_weight, self.sigma, self.units(units))

    def units(self, code_size: float) -> int:
        """Units that can carry something, of a code of so many values; all where that is not known."""
        most = len(self.eigenvalues)
        return int(min(max(0.0, code_size), most)) if math.isfinite(code_size) else most

    def along(self, least: float, units: float) -> list[spectrum.Prediction]:
        """The optima from one λ to the collapse."""
        weights = np.geomspace(min(least, 0.5 * self.collapse), self.collapse, POINTS)
        return [self.at(float(weight), units) for weight in weights]

    def kl(self, weights: Array, units: int) -> Array:
        """KL in nats of each of the first units at each λ, (len(weights), units)."""
        own = (spectrum.kl_per_unit(self.eigenvalues, weight, self.sigma, units) for weight in weights)
        return np.array(list(own))

    @property
    def collapse(self) -> float:
        """The λ from which on no unit is active."""
        return spectrum.collapse(self.eigenvalues, self.sigma)

    def sentences(self, label: str, records: Sequence[Record]) -> list[str]:
        """How much better than linear the run of the best ELBO is, and where a linear VAE collapses."""
        runs = [(r, w) for r in records if (w := self.weight(r)) and math.isfinite(r.metric("elbo"))]
        if not runs:
            return []
        best, weight = max(runs, key=lambda pair: pair[0].metric("elbo"))
        linear, own = self.at(weight, best.code_size).negative_elbo, -best.metric("elbo")
        apart = f"{abs(linear - own):.2f} nats {'better' if own < linear else 'worse'}"
        return [
            f"The best linear VAE has −ELBO {linear:.2f} at λ = {weight:.3g}, from the variances of the training"
            f" images alone; {label} has {own:.2f}, {apart}. A linear one collapses from λ = {self.collapse:.3g} on."
        ]


def read(folder: Path, dataset: str, fingerprint: str) -> Oracle | None:
    """What vae-data spectrum has left of these images below a folder; None where it is of others, or damaged."""
    file = folder / dataset / "spectrum.npz"
    if not re.fullmatch(r"\w[\w.-]{0,99}", dataset):
        return None
    try:
        if not file.is_file():
            return None
        arrays.refuse(file)
        found = arrays.read(file, AXES, tuple(AXES))
        values, sigma = found["eigenvalues"].astype(np.float64), float(found["sigma"])
        of_these = bytes(found["fingerprint"].astype(np.uint8)).decode() == fingerprint
    except Exception:  # what others wrote may be wrong in any way; without it the report lacks a curve
        return None
    usable = (
        of_these
        and sigma > 0
        and np.isfinite(values).all()
        and (np.diff(values) <= 0).all()
        and values[0] > 0
    )
    return Oracle(values, sigma) if usable else None
