"""Tests of the batches: every image once, exact values, the same order from memory and from disk."""

import threading
from typing import Any

import numpy as np
import pytest
import torch
from data_samples import noise

from vaelab import UsageError
from vaelab.data import Batch, ImageSet, Loader
from vaelab.data.imageset import hashed_split

CPU = torch.device("cpu")
DEVICES = [
    CPU,
    pytest.param(
        torch.device("cuda"), marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    ),
]


@pytest.fixture(params=[1, 3])
def images(request: pytest.FixtureRequest) -> ImageSet:
    return make(request.param)


def make(channels: int = 3, labelled: bool = True) -> ImageSet:
    pixels = noise(200, 7, 5, channels)
    pixels[:, 0, 0, 0] = np.arange(200)
    pixels.flags.writeable = False
    labels = np.arange(200) % 4 if labelled else None
    classes = tuple("abcd") if labelled else ()
    names = tuple(f"row {row}" for row in range(200))
    return ImageSet(
        "x", pixels, labels, classes, names, hashed_split("x", 200), f"{channels} {labelled}", "embedded"
    )


def loader(images: ImageSet, split: str = "train", **overrides: Any) -> Loader:
    arguments: dict[str, Any] = {
        "batch_size": 16,
        "device": CPU,
        "shuffle": True,
        "drop_last": False,
    } | overrides
    return Loader(images, split, **arguments)


def epoch(loader: Loader, seed: int = 0) -> list[Batch]:
    torch.manual_seed(seed)
    return list(loader)


def indices(batches: list[Batch]) -> list[int]:
    return torch.cat([batch.index for batch in batches]).tolist()


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("resident", [True, False])
def test_values_are_images_over_255(images: ImageSet, device: torch.device, resident: bool) -> None:
    for batch in epoch(loader(images, device=device, resident=resident)):
        assert batch.images.device.type == batch.index.device.type == device.type
        assert batch.images.dtype == torch.float32
        layout = torch.contiguous_format if device.type == "cpu" else torch.channels_last
        assert batch.images.is_contiguous(memory_format=layout)
        rows = batch.index.cpu().numpy()
        expected = images.images[rows].transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
        np.testing.assert_array_equal(batch.images.cpu().numpy(), expected)
        assert images.labels is not None
        assert batch.labels is not None
        assert batch.labels.dtype == batch.index.dtype == torch.int64
        np.testing.assert_array_equal(batch.labels.cpu().numpy(), images.labels[rows])


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("shuffle", [True, False])
def test_resident_equals_streamed(images: ImageSet, device: torch.device, shuffle: bool) -> None:
    both = [loader(images, device=device, shuffle=shuffle, resident=resident) for resident in (True, False)]
    for one, other in zip(epoch(both[0]), epoch(both[1]), strict=True):
        for tensor, same in zip(one, other, strict=True):
            assert tensor is not None
            assert same is not None
            assert torch.equal(tensor, same)
            assert tensor.stride() == same.stride()


@pytest.mark.parametrize("device", DEVICES, ids=str)
@pytest.mark.parametrize("resident", [True, False])
def test_images_at_places_are_those_of_the_passes(
    images: ImageSet, device: torch.device, resident: bool
) -> None:
    made = loader(images, device=device, shuffle=False, resident=resident)
    every = [torch.cat(parts) for parts in zip(*made, strict=True)]
    places = torch.tensor([0, 3, 16, 17, made.size - 1])
    for found, expected in zip(made.at(places), every, strict=True):
        assert torch.equal(found, expected[places.to(expected.device)])
    assert len(made.at(places[:0]).images) == 0


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("shuffle", [True, False])
def test_every_image_once_per_epoch(images: ImageSet, split: str, shuffle: bool) -> None:
    batches = loader(images, split, shuffle=shuffle)
    seen = indices(epoch(batches))
    assert sorted(seen) == images.indices(split).tolist()
    assert (seen == images.indices(split).tolist()) != shuffle
    assert batches.size == len(seen)
    assert batches.batch_size == 16
    assert len(batches) == len(epoch(batches)) == -(-len(seen) // 16)


def test_drop_last_leaves_out_the_partial_batch(images: ImageSet) -> None:
    for resident in (True, False):
        batches = loader(images, drop_last=True, resident=resident)
        assert batches.size % 16 != 0
        assert len(batches) == batches.size // 16
        assert [len(batch.images) for batch in epoch(batches)] == [16] * len(batches)


def test_order_comes_from_the_global_generator(images: ImageSet) -> None:
    batches = loader(images)
    first = indices(epoch(batches, seed=3))
    assert indices(epoch(batches, seed=3)) == first
    assert indices(epoch(batches, seed=4)) != first
    assert indices(list(batches)) != first
    torch.manual_seed(3)
    order = torch.randperm(batches.size)
    assert images.indices("train")[order.numpy()].tolist() == first


def test_permutation_is_drawn_before_the_first_batch(images: ImageSet) -> None:
    torch.manual_seed(0)
    started = iter(loader(images))
    torch.manual_seed(1)  # whatever the loop draws next does not change the epoch
    assert indices(list(started)) == indices(epoch(loader(images), seed=0))


def test_without_labels() -> None:
    for resident in (True, False):
        assert all(batch.labels is None for batch in epoch(loader(make(labelled=False), resident=resident)))


def test_batch_larger_than_the_split(images: ImageSet) -> None:
    size = images.sizes()["train"]
    with pytest.raises(UsageError, match=f"batch_size=500 .* {size} images of the train split"):
        loader(images, batch_size=500, drop_last=True)
    (batch,) = epoch(loader(images, batch_size=500))
    assert len(batch.images) == size


def test_stopping_early_leaves_no_thread(images: ImageSet) -> None:
    before = threading.active_count()
    for _ in loader(images, batch_size=4, resident=False):
        assert threading.active_count() == before + 1
        break
    assert threading.active_count() == before


def test_errors_of_the_thread_reach_the_consumer(images: ImageSet) -> None:
    batches = loader(images, resident=False)
    object.__setattr__(images, "images", images.images[:3])
    with pytest.raises(IndexError):
        list(batches)


def test_data_larger_than_the_memory_are_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    from vaelab.data import loader as module

    images = make()
    nbytes = images.sizes()["train"] * 7 * 5 * 3
    for free, threads in ((2 * nbytes, 0), (2 * nbytes - 2, 1)):
        monkeypatch.setattr(module, "_free_bytes", lambda device, free=free: free)
        before = threading.active_count()
        for _ in loader(images, batch_size=4):
            assert threading.active_count() == before + threads
            break


def test_free_memory_is_that_of_this_machine() -> None:
    from vaelab.data.loader import _free_bytes

    assert 2**20 < _free_bytes(CPU) < 2**50


def test_runs_that_learn_from_different_numbers_of_images_share_none_of_them(images: ImageSet) -> None:
    """Beside each other in one process, as in a sweep over train_images."""
    few, more, again = (
        loader(images.with_training_images(count), resident=True, drop_last=False) for count in (40, 90, 40)
    )
    for one, count in ((few, 40), (more, 90), (again, 40)):
        batches = epoch(one)
        assert sorted(indices(batches)) == images.with_training_images(count).indices("train").tolist()
        for batch in batches:
            assert (batch.images[:, 0, 0, 0] * 255).round().tolist() == batch.index.tolist()
    assert few.split is again.split
