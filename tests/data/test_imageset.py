"""Tests of the image set and its splits."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from vaelab.data import SPLITS, ImageSet
from vaelab.data.imageset import hashed_split


def splitmix64(value: int) -> int:
    """The published generator's output function in Python's integers."""
    mask = 2**64 - 1
    value = (value + 0x9E3779B97F4A7C15) & mask
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & mask
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & mask
    return value ^ (value >> 31)


def make(split: list[int]) -> ImageSet:
    images = np.zeros((len(split), 4, 6, 3), np.uint8)
    names = tuple(f"row {row}" for row in range(len(split)))
    return ImageSet("x", images, None, (), names, np.array(split, np.int8), "0" * 16, "embedded")


def test_shape_is_channels_first() -> None:
    assert make([0, 1, 2]).image_shape == (3, 4, 6)


def test_indices_and_sizes_name_every_image_once() -> None:
    images = make([0, 2, 0, 1, 0])
    assert images.indices("train").tolist() == [0, 2, 4]
    assert images.indices("val").tolist() == [3]
    assert images.indices("test").tolist() == [1]
    assert images.indices("test").dtype == np.int64
    assert images.sizes() == {"train": 3, "val": 1, "test": 1}


def test_unknown_split_is_refused() -> None:
    with pytest.raises(KeyError, match="valid"):
        make([0, 1, 2]).indices("valid")


def test_image_set_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        make([0, 1, 2]).name = "y"  # type: ignore[misc]


def test_split_is_the_published_hash() -> None:
    from hashlib import blake2b

    salt = int.from_bytes(blake2b(b"anime", digest_size=8).digest(), "little")
    fractions = [splitmix64(index ^ salt) / 2**64 for index in range(300)]
    expected = [0 if fraction < 0.8 else 1 if fraction < 0.9 else 2 for fraction in fractions]
    assert hashed_split("anime", 300).tolist() == expected


def test_splitmix64_reference_has_the_published_first_output() -> None:
    assert splitmix64(0) == 0xE220A8397B1DCDAF


def test_split_never_changes() -> None:
    assert "".join(map(str, hashed_split("digits", 40))) == "0000000020110000100000010000000210020001"
    assert "".join(map(str, hashed_split("anime", 40))) == "0002000010000000000010000100100022020000"


def test_split_does_not_depend_on_the_number_of_images() -> None:
    assert (hashed_split("anime", 100) == hashed_split("anime", 5000)[:100]).all()


def test_split_is_80_10_10() -> None:
    shares = np.bincount(hashed_split("anime", 100_000)) / 100_000
    np.testing.assert_allclose(shares, [0.8, 0.1, 0.1], atol=0.005)
    assert len(SPLITS) == len(shares)
