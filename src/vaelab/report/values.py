"""Values of a configuration and of a file of numbers, whoever wrote them."""

import math
from collections.abc import Mapping
from typing import Any

LARGEST = 1e100  # of a number, so that sums of squares are numbers, too


def flatten(values: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """A tree of keys as one level of dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def number(value: Any) -> float | None:
    """A finite number that can be drawn, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -LARGEST <= value <= LARGEST else None


def or_nan(value: Any) -> float:
    """The same number, NaN for anything else."""
    found = number(value)
    return math.nan if found is None else found
