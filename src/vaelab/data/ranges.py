"""Which values of an image are black and white: as given, or as its numbers allow to assume."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from vaelab import UsageError

FILL = 0.25  # of a range that the brightest value reaches at least; a darker set was made for another range
OVERSHOOT = 0.1  # of a range, beyond both ends; bicubic and Lanczos resizing overshoot an edge by 7 to 11 %
MOST_CLIPPED = 0.25  # of all values; more than this is no overshoot
CHUNK_BYTES = 1 << 25


class Range(NamedTuple):
    """The values of black and of white."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"[{self.low:.7g},{self.high:.7g}]"


UNIT, SYMMETRIC, BYTES, WORDS = Range(0, 1), Range(-1, 1), Range(0, 255), Range(0, 65535)


def given_range(values: Sequence[float]) -> Range:
    """The range that dataset.range gives; UsageError where it is none."""
    if len(values) != 2 or not -math.inf < values[0] < values[1] < math.inf:
        raise UsageError(
            f"dataset.range={list(values)} must be [black, white], two numbers of which the second is larger, or null"
        )
    return Range(*map(float, values))


def range_of(where: str, images: np.ndarray, given: Range | None) -> Range:
    """The range of an array (N, ...): the given one, else the only one that its values can mean.

    Integers mean 0 to 1 or 0 to 255, floats also -1 to 1, with a small overshoot. Raises UsageError for what is
    ambiguous, not finite, or no number.
    """
    if images.dtype.kind not in "buif":
        raise UsageError(
            f"{where}: images of type {images.dtype} are not numbers: save them as uint8 or float"
        )
    low, high = _extremes(images)
    if not (math.isfinite(low) and math.isfinite(high)):
        rows = (start for start, chunk in _chunks(images, rows=1) if not np.isfinite(chunk).all())
        raise UsageError(f"{where}: row {next(rows)} holds NaN or infinite values: repair it or leave it out")
    if given is not None:
        return given
    found = _of_floats(low, high) if images.dtype.kind == "f" else _of_integers(low, high, images.dtype)
    if found is None or _share_outside(images, found, low, high) > MOST_CLIPPED:
        raise ambiguous(where, low, high)
    return found


def ambiguous(where: str, low: float, high: float) -> UsageError:
    """The error for values whose range has to be given."""
    return UsageError(
        f"{where}: values from {low:.7g} to {high:.7g} do not say which is black and which is white: give both, "
        f"e.g. dataset.range={_likely(low, high)}; what lies outside is clipped"
    )


def scaled(values: np.ndarray, span: Range) -> tuple[np.ndarray, int]:
    """The values as uint8, 0 for black and 255 for white, and how many of them were clipped."""
    if values.dtype == np.uint8 and span == BYTES:
        return values, 0
    wide = values.astype(np.promote_types(values.dtype, np.float32))
    clipped = int(np.count_nonzero((wide < span.low) | (wide > span.high)))
    np.clip(wide, span.low, span.high, out=wide)
    wide -= span.low
    wide *= 255 / (span.high - span.low)
    return np.rint(wide, out=wide).astype(np.uint8), clipped


def _of_integers(low: float, high: float, dtype: np.dtype) -> Range | None:
    if low < 0:
        return None
    if high <= 1:
        return UNIT
    eight_bits = dtype.itemsize > 1 or dtype.kind == "u"  # int8 ends at 127
    return BYTES if eight_bits and FILL * BYTES.high <= high <= BYTES.high else None


def _of_floats(low: float, high: float) -> Range | None:
    for span in (UNIT, SYMMETRIC, BYTES):
        width = span.high - span.low
        darkest, brightest = (low - span.low) / width, (high - span.low) / width
        # -0.5 to 0.5 is not -1 to 1: where black is negative, something has to be nearly black
        reached = span != SYMMETRIC or darkest <= FILL / 2
        if darkest >= -OVERSHOOT and FILL <= brightest <= 1 + OVERSHOOT and reached:
            return span
    return None


def _likely(low: float, high: float) -> Range:
    """An example of a range for values that could mean several."""
    if low >= 0 and high >= 128:
        return Range(0, 2 ** math.ceil(math.log2(high + 1)) - 1)
    if low >= -2 * OVERSHOOT and FILL <= high <= 2:
        return UNIT
    return Range(min(low, 0), high if high > min(low, 0) else 1)


def _share_outside(images: np.ndarray, span: Range, low: float, high: float) -> float:
    """The share of values that lie outside of a range by more than they are rounded by."""
    slack = (span.high - span.low) / 510
    darkest, brightest = span.low - slack, span.high + slack
    if low >= darkest and high <= brightest:
        return 0
    outside = sum(np.count_nonzero((chunk < darkest) | (chunk > brightest)) for _, chunk in _chunks(images))
    return outside / images.size


def _extremes(images: np.ndarray) -> tuple[float, float]:
    lows, highs = zip(*((chunk.min(), chunk.max()) for _, chunk in _chunks(images)), strict=True)
    return np.min(lows).item(), np.max(highs).item()  # both pass NaN on


def _chunks(images: np.ndarray, rows: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """First row and rows, few at a time, so that an array on the disk is never in memory as a whole."""
    rows = rows or max(1, CHUNK_BYTES * len(images) // max(1, images.nbytes))
    for start in range(0, len(images), rows):
        yield start, images[start : start + rows]
