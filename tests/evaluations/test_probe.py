"""Probes: near certain where codes tell classes apart, at chance where they do not, absent where there are none."""

import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from tests.evaluations.conftest import Make
from torch import Tensor, nn

from vaelab.codes import Point
from vaelab.data import Batch
from vaelab.evaluations import Context, Probe, Result
from vaelab.probes import read_off

PROBE = Probe(images=5000, seed=0)
NAMES = ("probe_linear_accuracy", "probe_knn_accuracy", "probe_mlp_accuracy")


class Told(nn.Module):
    """A model whose codes are what is written into the first four pixels."""

    code_shape = (4,)

    def encode(self, images: Tensor, labels: Tensor | None = None) -> Point:
        return Point(images.flatten(1)[:, :4])


def coded(code: Tensor, label: Tensor, tests: int, classes: int = 4) -> Context:
    """Images with these codes (N, 4) and labels (N,), the last ones in the test split."""
    ends = {"train": slice(0, len(code) - tests), "test": slice(len(code) - tests, len(code))}

    def batches(split: str) -> Iterator[Batch]:
        for rows in torch.arange(len(code))[ends[split]].split(50):
            yield Batch(code[rows].view(-1, 1, 2, 2), label[rows], rows)

    names = tuple("abcdefgh"[:classes])
    return Context(Told(), nn.Module(), batches, names, [], "codes")


def blobs(count: int, spread: float) -> tuple[Tensor, Tensor]:
    noise = torch.Generator().manual_seed(0)
    label = torch.randint(4, (count,), generator=noise)
    return torch.eye(4)[label] + spread * torch.randn(count, 4, generator=noise), label


def test_separable_codes_are_read() -> None:
    result = PROBE(coded(*blobs(600, 0.05), 200))
    assert result.metrics == pytest.approx(dict.fromkeys(NAMES, 1.0), abs=0.01)
    assert result.findings == ()
    assert result.arrays["index"].tolist() == list(range(400, 600))
    assert {name: len(result.arrays[name]) for name in ("linear", "knn", "mlp", "label")} == {
        "linear": 200, "knn": 200, "mlp": 200, "label": 200,
    }  # fmt: skip


def test_shuffled_labels_are_guessed() -> None:
    code, label = blobs(2400, 0.05)
    shuffled = label[torch.randperm(len(label), generator=torch.Generator().manual_seed(1))]
    result = PROBE(coded(code, shuffled, 1200))
    chance = 4 * np.sqrt(0.25 * 0.75 / 1200)  # four standard errors
    assert result.metrics == pytest.approx(dict.fromkeys(NAMES, 0.25), abs=chance)


def test_only_the_curved_ones_read_what_no_plane_divides() -> None:
    noise = torch.Generator().manual_seed(0)
    code = torch.randn(1200, 4, generator=noise)
    result = PROBE(coded(code, (code[:, 0] * code[:, 1] > 0).long(), 400, classes=2))
    linear, neighbours, network = (result.metrics[name] for name in NAMES)
    assert linear == pytest.approx(0.5, abs=0.1)
    assert min(neighbours, network) > 0.8


def test_the_same_model_gives_the_same_whatever_the_batches_and_workers(make: Make) -> None:
    first, other = (PROBE(make(batch_size=size)) for size in (7, 43))
    assert first.metrics == other.metrics
    begun: Any = PROBE.begin(make())
    computed = pickle.loads(pickle.dumps(begun.compute))()
    assert begun.complete(computed).metrics == first.metrics


def test_few_training_images_are_spread_evenly(make: Make) -> None:
    result = Probe(images=12, seed=0)(make())
    assert result.arrays["training_index"].tolist() == np.linspace(0, 59, 12).round().tolist()


def test_of_large_codes_there_are_fewer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaelab.evaluations.probe.MOST_VALUES", 4 * 100)
    result = PROBE(coded(*blobs(600, 0.05), 200))
    assert result.findings == ("the probes learn from 100 training images and are asked for 100 test images",)
    assert len(result.arrays["index"]) == 100


def assert_absent(result: Result, why: str) -> None:
    assert (result.arrays, result.draw, result.metrics) == ({}, None, {})
    assert result.findings[0].startswith(f"the probes are not measured: {why}")


def test_without_labels_or_with_one_class_there_are_none(make: Make) -> None:
    assert_absent(PROBE(make(labelled=False)), "the images have no labels")
    code, label = blobs(60, 0.1)
    assert_absent(PROBE(coded(code, 0 * label, 20)), "it takes codes of two classes")
    assert_absent(PROBE(coded(code * torch.nan, label, 20)), "it takes codes of two classes")


def test_codes_that_are_not_finite_are_left_out_and_equal_ones_do_no_harm() -> None:
    code, label = blobs(600, 0.05)
    code[::3] = torch.inf
    result = PROBE(coded(code, label, 200))
    assert result.metrics == pytest.approx(dict.fromkeys(NAMES, 1.0), abs=0.01)
    assert 0 < len(result.arrays["index"]) < 200
    assert "134 test images" in result.findings[0]
    equal = PROBE(coded(0 * blobs(60, 0.1)[0], label[:60], 20))
    assert all(0 <= value <= 1 for value in equal.metrics.values())


def test_a_probe_that_has_not_converged_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaelab.probes.STEPS", 1)
    code, label = blobs(60, 0.5)
    assert not read_off(code.numpy(), label.numpy(), code.numpy(), 0).converged
    assert "has not converged" in PROBE(coded(code, label, 20)).findings[0]


def test_an_autoencoder_has_them_too(make: Make) -> None:
    assert set(PROBE(make("ae")).metrics) == set(NAMES)
