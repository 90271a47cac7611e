"""The units of a code: which tell most of an image, which are active, how far they go; and how long the code is."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vaelab import UsageError, files
from vaelab.evaluations.base import Batch, Context
from vaelab.evaluations.codes import moments
from vaelab.runs.folder import Run

STORED = "arrays/kl_per_dimension.npz"
MOST_STORED = 1 << 26  # bytes
REACH = 3.0  # standard deviations that a slider goes to
DRAWS = 32  # that the length of a code of layers is a mean over


@dataclass(frozen=True)
class Units:
    """Of the flattened code: each unit's information and range, and which are active, in the order of the code.

    `measure` says what the information is: "kl" in nats, the "variance" of an autoencoder's code, or None, where it is
    not known.
    """

    measure: str | None
    information: np.ndarray  # (d,)
    active: np.ndarray  # (d,) bool
    low: np.ndarray  # (d,)
    high: np.ndarray  # (d,)

    @property
    def order(self) -> np.ndarray:
        """Units, the most informative first."""
        return np.argsort(-self.information, kind="stable")

    @property
    def centre(self) -> np.ndarray:
        """(d,)."""
        return (self.low + self.high) / 2


def measured(network: nn.Module, batches: Sequence[Batch]) -> Units:
    """The units as the codes of these images tell them."""
    with torch.inference_mode():
        found = moments(Context(network, nn.Identity(), lambda _: batches, (), [], ""))
    mean, spread = _array(found.mean), REACH * np.sqrt(_array(found.aggregate_variance))
    low, high = mean - spread, mean + spread
    if found.kl is not None:  # the prior's values as well as those of the data
        low, high = np.minimum(low, -REACH), np.maximum(high, REACH)
    flat = high - low < 1e-6  # an autoencoder's unit that says nothing
    return Units(
        "variance" if found.kl is None else "kl",
        _array(found.information),
        _array(found.active).astype(bool),
        low - flat,
        high + flat,
    )


def stored(run: Run, dimensions: int) -> Units:
    """The units as the run's own evaluation has left them, or all of them alike where it has not."""
    file = run.folder / STORED
    limit = np.full(dimensions, REACH)
    everything = Units(None, np.zeros(dimensions), np.ones(dimensions, bool), -limit, limit)
    if not file.is_file():
        return everything
    run.refuse_changed(STORED)
    try:
        arrays = files.small_arrays(file, MOST_STORED)
        kl, active = arrays["kl"].astype(np.float64), arrays["active"].astype(bool)
    except (OSError, ValueError, KeyError):
        raise UsageError(f"{file} is damaged: vae-evaluate run='{run.folder}' writes it again") from None
    if kl.shape != (dimensions,) or active.shape != (dimensions,):
        return everything
    return Units("kl", kl, active, -limit, limit)


def of_noise(network: Any) -> Units:
    """The units of a GAN's noise, all alike."""
    low, high = (0.0, 1.0) if network.noise == "uniform" else (-REACH, REACH)
    count = network.latent_dim
    alike = np.zeros(count), np.ones(count, bool)
    return Units(None, *alike, np.full(count, low), np.full(count, high))


def bits(code: Any, noise: torch.Generator) -> float | None:
    """The length of one image's code in bits: that of a discrete one, else KL / ln 2; None where there is no prior."""
    if code.bits is not None:
        return float(code.bits)
    draws = DRAWS if code.layers is not None else 1  # without layers the KL is no mean over draws
    nats = [code.kl(code.sample(noise)) for _ in range(draws)]
    if nats[0] is None:
        return None
    return float(torch.stack([kl.sum() for kl in nats]).mean()) / math.log(2)


def _array(values: Tensor) -> np.ndarray:
    return values.double().cpu().numpy()
