"""Evaluations say the same of a model whatever the batches, and of training images what they say of test images."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.evaluations.conftest import Make

from vaelab import losses, models
from vaelab.data import Batch
from vaelab.evaluations import (
    Codebook,
    Context,
    Diversity,
    Information,
    KLPerDimension,
    KLPerLayer,
    NearestNeighbours,
    Probe,
    Sharpness,
    TestMetrics,
)
from vaelab.evaluations.base import Images, in_chunks
from vaelab.losses.regularisers import MMD, TC

METRICS = TestMetrics(examples=2, seed=0, splits=["test", "train"], verify=False)
OF_ALL = [
    METRICS,
    Sharpness(count=20, seed=0),
    Diversity(pairs=5, seed=0),
    NearestNeighbours(count=5, shown=2, neighbours=2, seed=0),
    Probe(images=60, seed=0),
]
OF_VAES = [*OF_ALL, KLPerDimension(), Information(images=None, draws=1, seed=0)]
WEIGHTED = {"kl_weight": 2.0, "schedule": "constant", "schedule_epochs": 1.0, "target": None}
PARTS = [
    TC(mi_weight=1.0, tc_weight=2.0, dimension_weight=1.0, data_size=60, **WEIGHTED),
    MMD(weight=1.0, kernel="imq", kl_share=0.5, free_bits=None, capacity=None, capacity_epochs=1.0, **WEIGHTED),
]  # fmt: skip


def name(part: Any) -> str:
    return type(part).__name__


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that there are some of them, the last one smaller."""
    monkeypatch.setattr("vaelab.evaluations.base.AT_ONCE", 10)


def assert_same(evaluation: Any, context: Callable[[int], Context]) -> None:
    whole = evaluation(context(60)).metrics
    assert whole
    for batch_size in (1, 7):
        assert evaluation(context(batch_size)).metrics == pytest.approx(whole, rel=1e-6), batch_size


@pytest.mark.parametrize("evaluation", OF_VAES, ids=name)
@pytest.mark.parametrize("kl_weight", [0.0, 1.0])
def test_the_numbers_of_a_vae(evaluation: Any, kl_weight: float, make: Make) -> None:
    assert_same(evaluation, lambda batch_size: make(kl_weight=kl_weight, batch_size=batch_size))


@pytest.mark.parametrize("evaluation", OF_ALL, ids=name)
def test_the_numbers_of_an_autoencoder(evaluation: Any, make: Make) -> None:
    assert_same(evaluation, lambda batch_size: make("ae", batch_size=batch_size))


@pytest.mark.parametrize("regulariser", PARTS, ids=name)
def test_terms_that_are_estimates_of_a_batch(regulariser: Any, make: Make) -> None:
    loss = losses.ELBO(losses.likelihoods.Bernoulli(), regulariser, "sum").eval()
    assert_same(METRICS, lambda size: dataclasses.replace(make(batch_size=size), loss=loss))


@pytest.mark.parametrize("evaluation", [METRICS, KLPerDimension(), KLPerLayer()], ids=name)
def test_the_numbers_of_layers(evaluation: Any, make: Make) -> None:
    torch.manual_seed(0)
    model = models.ladder_vae((1, 12, 12), layers=[5, 3], channels=4, hidden=16).eval()
    assert_same(evaluation, lambda size: dataclasses.replace(make(batch_size=size), model=model))


@pytest.mark.parametrize("evaluation", [METRICS, Codebook()], ids=name)
def test_the_numbers_of_a_codebook(evaluation: Any, make: Make) -> None:
    torch.manual_seed(0)
    model = models.vq_vae(
        (1, 12, 12),
        latent_dim=4,
        layout="spatial",
        quantiser="vq",
        codes=8,
        code_dim=4,
        levels=[3, 3],
        channels=4,
        blocks=1,
        hidden=8,
    ).eval()
    loss = losses.ELBO(
        losses.likelihoods.Bernoulli(), losses.regularisers.Commitment(weight=0.25), "sum"
    ).eval()
    assert_same(evaluation, lambda size: dataclasses.replace(make(batch_size=size), model=model, loss=loss))


@pytest.mark.parametrize("batch_size", [1, 7, 10, 64])
def test_chunks_are_of_one_size_and_hold_all_images_in_order(batch_size: int) -> None:
    images, index = torch.rand(43, 1, 2, 2), torch.arange(43)
    batches = [Batch(images[rows], index[rows] % 3, index[rows]) for rows in index.split(batch_size)]
    chunks = [*in_chunks(batches)]
    assert [len(chunk.images) for chunk in chunks] == [10, 10, 10, 10, 3]
    for part, whole in (("images", images), ("labels", index % 3), ("index", index)):
        assert torch.equal(torch.cat([getattr(chunk, part) for chunk in chunks]), whole)
    assert [*in_chunks([])] == []
    unlabelled = next(in_chunks([Images(images[:2], None, index[:2])] * 6))
    assert unlabelled.labels is None


def test_the_numbers_of_the_training_images_are_those_of_a_test_split_that_they_are(make: Make) -> None:
    context = make()
    swapped = dataclasses.replace(context, batches=lambda _: context.batches("train"))
    alone = TestMetrics(examples=2, seed=0, splits=["test"], verify=False)
    both, of_train = METRICS(context), alone(swapped)
    expected = {f"train_{key}": value for key, value in of_train.metrics.items() if key != "kl_weight"}
    assert both.metrics == alone(make()).metrics | expected
    assert both.arrays["train_index"].tolist() == list(range(60))
    assert set(both.arrays) == {f"{split}{key}" for split in ("", "train_") for key in of_train.arrays}
    declared = {one.name: one for one in METRICS.quantities}
    assert {"train_psnr", "train_ssim", "train_elbo", "train_kl", "train_loss", "train_mse"} <= set(declared)
    assert declared["train_elbo"].heading == "−ELBO, training images (nats per image)"
    assert declared["train_psnr"].shown == "report"


def test_the_test_split_is_not_left_out() -> None:
    with pytest.raises(ValueError, match="splits has no test"):
        TestMetrics(examples=2, seed=0, splits=["train"], verify=False)
