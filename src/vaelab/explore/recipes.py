"""What a page asks for: where a code comes from, the class, and how the code is changed; checked, whoever asks."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vaelab import UsageError
from vaelab.evaluations.latent_edit import CHANGES

MOST_CHANGES = 4096  # of one code
MOST_SEED = 2**63 - 1


@dataclass(frozen=True)
class Prior:
    """A draw from the prior, which follows from the seed."""

    seed: int


@dataclass(frozen=True)
class Datum:
    """The code of a test image, by its place in the split."""

    place: int


@dataclass(frozen=True)
class Upload:
    """The code of a picture that was dropped in, by its name here."""

    key: str


@dataclass(frozen=True)
class Recipe:
    """A code: where it comes from, the class that the network is told, and changes (dimension, kind, value) in turn."""

    source: Prior | Datum | Upload
    label: int | None
    changes: tuple[tuple[int, str, float], ...]


@dataclass(frozen=True)
class Between:
    """The code at a place t from 0 to 1 on the straight way between two codes, decoded with the class of the first."""

    a: Recipe
    b: Recipe
    t: float

    @property
    def label(self) -> int | None:
        """The class that the decoder is told."""
        return self.a.label


def recipe(given: Any) -> Recipe | Between:
    """What a page has sent; raises UsageError where it is none."""
    try:
        if "between" in given:
            a, b = map(_recipe, given["between"])
            return Between(a, b, min(1.0, max(0.0, _finite(given["t"]))))
        return _recipe(given)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        raise UsageError("the page has asked for no code: load it again") from None


def _recipe(given: Mapping[str, Any]) -> Recipe:
    label = given.get("label")
    changes = list(given.get("changes", ()))
    if len(changes) > MOST_CHANGES:
        raise ValueError
    return Recipe(
        _source(given["source"]), None if label is None else int(label), tuple(map(_change, changes))
    )


def _source(given: Mapping[str, Any]) -> Prior | Datum | Upload:
    kind = given["kind"]
    if kind == "prior":
        return Prior(int(given["seed"]) % MOST_SEED)
    if kind == "data":
        return Datum(int(given["place"]))
    if kind == "upload":
        return Upload(str(given["key"]))
    raise ValueError


def _change(given: Mapping[str, Any]) -> tuple[int, str, float]:
    (kind,) = (kind for kind in CHANGES if kind in given)
    return int(given["dim"]), kind, _finite(given[kind])


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError
    return number
