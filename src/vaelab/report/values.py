"""Values of a file of numbers, whoever wrote them."""

import math
from typing import Any

LARGEST = 1e100  # of a number, so that sums of squares are numbers, too


def number(value: Any) -> float | None:
    """A finite number that can be drawn, or None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if -LARGEST <= value <= LARGEST else None


def or_nan(value: Any) -> float:
    """The same number, NaN for anything else."""
    found = number(value)
    return math.nan if found is None else found
