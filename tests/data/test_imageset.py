"""Tests of the image set and its splits."""

from dataclasses import FrozenInstanceError
from itertools import pairwise

import numpy as np
import pytest

from vaelab import UsageError
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


def test_fewer_training_images_are_among_those_of_more_and_leave_the_other_splits() -> None:
    images = make([0, 2, 0, 1, 0, 0, 2, 0, 1, 0])
    sets = [images.with_training_images(count) for count in (1, 2, 4, 6, None)]
    rows = [set(part.indices("train").tolist()) for part in sets]
    assert [len(part) for part in rows] == [1, 2, 4, 6, 6]
    assert all(fewer <= more for fewer, more in pairwise(rows))
    assert rows == [
        set(images.with_training_images(count).indices("train").tolist()) for count in (1, 2, 4, 6, 6)
    ]
    for split in ("val", "test"):
        assert all(part.indices(split).tolist() == images.indices(split).tolist() for part in sets)
    assert sets[1].sizes() == {"train": 2, "val": 2, "test": 2}


def test_training_images_are_drawn_from_all_over_the_split() -> None:
    drawn = make([0] * 4000).with_training_images(1000).indices("train")
    counts = np.histogram(drawn, bins=4, range=(0, 4000))[0]
    # Of a hypergeometric distribution: 250 expected, a standard deviation of 11.9.
    assert np.abs(counts - 250).max() < 5 * 11.9


def test_more_training_images_than_there_are_are_refused() -> None:
    with pytest.raises(UsageError, match="train_images=4: x has 3 training images"):
        make([0, 0, 1, 2, 0]).with_training_images(4)
