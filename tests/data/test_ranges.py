"""Tests of ranges: when values say what is black and white, what is clipped, and what is refused."""

import numpy as np
import pytest

from vaelab import UsageError
from vaelab.data.ranges import BYTES, SYMMETRIC, UNIT, Range, given_range, range_of, scaled

RAMP = np.tile(np.linspace(0, 1, 16, dtype=np.float32), (40, 16, 1))


def with_value(images: np.ndarray, value: float) -> np.ndarray:
    changed = images.copy()
    changed[3, 4, 5] = value
    return changed


@pytest.mark.parametrize(
    ("images", "span"),
    [
        (RAMP, UNIT),
        (with_value(RAMP, np.nextafter(np.float32(1), np.float32(2))), UNIT),
        (with_value(RAMP, 1.03), UNIT),
        (with_value(with_value(RAMP, 1.01), -0.02), UNIT),
        (RAMP - np.float32(1e-7), UNIT),
        (RAMP * 2 - 1, SYMMETRIC),
        (with_value(RAMP * 2 - 1, 1.0000001), SYMMETRIC),
        (RAMP * 255, BYTES),
        (with_value(RAMP * 255, 255.4), BYTES),
        (with_value(RAMP * 255, -9), BYTES),
        ((RAMP * 255).astype(np.float16), BYTES),
        (RAMP > 0.5, UNIT),
        ((RAMP > 0.5).astype(np.int64), UNIT),
        ((RAMP * 255).astype(np.uint8), BYTES),
        ((RAMP * 255).astype(">i4"), BYTES),
    ],
)
def test_a_range_that_values_say_is_assumed(images: np.ndarray, span: Range) -> None:
    assert range_of("x.npz", images, None) == span


@pytest.mark.parametrize(
    ("images", "seen", "remedy"),
    [
        (RAMP * 1.7, "0 to 1.7", "[0,1]"),
        (RAMP - 0.5, "-0.5 to 0.5", "[-0.5,0.5]"),
        (np.where(RAMP < 0.4, np.float32(-0.05), RAMP), "-0.05 to 1", "[0,1]"),  # so many are no overshoot
        ((RAMP - 0.5) * 3.4, "-1.7 to 1.7", "[-1.7,1.7]"),
        (RAMP * 16, "0 to 16", "[0,16]"),
        (RAMP * 0.06, "0 to 0.06", "[0,0.06]"),
        (RAMP * 4095, "0 to 4095", "[0,4095]"),
        ((RAMP * 4000).astype(np.int32), "0 to 4000", "[0,4095]"),
        ((RAMP * 65535).astype(np.uint16), "0 to 65535", "[0,65535]"),
        ((RAMP * 3).astype(np.uint8), "0 to 3", "[0,3]"),
        ((RAMP * 127).astype(np.int8), "0 to 127", "[0,127]"),
        ((RAMP * 200).astype(np.int16) - 100, "-100 to 100", "[-100,100]"),
    ],
)
def test_an_ambiguous_range_is_refused_with_a_remedy_that_works(
    images: np.ndarray, seen: str, remedy: str
) -> None:
    with pytest.raises(UsageError, match=r"x\.npz") as error:
        range_of("x.npz", images, None)
    assert f"values from {seen}" in str(error.value)
    assert f"dataset.range={remedy}" in str(error.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_with_their_row(value: float) -> None:
    for given in (None, Range(0, 1)):
        with pytest.raises(UsageError, match="row 3 holds NaN or infinite"):
            range_of("x.npz", with_value(RAMP, value), given)


def test_a_given_range_holds_for_any_values() -> None:
    assert range_of("x.npz", RAMP * 1.7, Range(0, 2)) == Range(0, 2)


def test_scaling_is_rounding_to_the_nearest_of_256_levels() -> None:
    levels = np.arange(256)
    for dtype, span in ((np.float32, UNIT), (np.float64, SYMMETRIC), (np.float16, BYTES), (np.int64, BYTES)):
        values = (levels / 255 * (span.high - span.low) + span.low).astype(dtype)
        pixels, clipped = scaled(values, span)
        np.testing.assert_array_equal(pixels, levels)
        assert clipped == 0
    pixels, clipped = scaled(np.array([-5, 0, 2048, 4095, 9999], np.int16), Range(0, 4095))
    assert pixels.tolist() == [0, 0, 128, 255, 255]
    assert clipped == 2


def test_a_small_overshoot_changes_one_value_only() -> None:
    expected, _ = scaled(RAMP, UNIT)
    pixels, clipped = scaled(with_value(RAMP, 1.03), UNIT)
    assert clipped == 1
    np.testing.assert_array_equal(pixels, with_value(expected, 255))


@pytest.mark.parametrize("values", [[0], [1, 0], [0, 0], [0, 1, 2], [0, float("nan")], [0, float("inf")]])
def test_what_is_no_range_is_refused(values: list[float]) -> None:
    with pytest.raises(UsageError, match=r"dataset\.range"):
        given_range(values)
    assert given_range([0, 4095]) == Range(0, 4095)
