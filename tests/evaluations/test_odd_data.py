"""Evaluations of codes of one dimension, of few, equal and large data, and of outputs that are not finite."""

import dataclasses
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from tests.evaluations.conftest import Make
from torch import nn

from vaelab import UsageError, build
from vaelab.data import Batch, ImageSet
from vaelab.evaluations import (
    FID,
    Atlas,
    Context,
    Diversity,
    GANTest,
    Information,
    Interpolations,
    KLPerDimension,
    LatentSpace,
    NearestNeighbours,
    PriorSamples,
    Reconstructions,
    Result,
    Samples,
    Sharpness,
    TestMetrics,
    Traversals,
    evaluated,
)
from vaelab.evaluations.gan_test import held

PCA, TSNE = LatentSpace(method="pca", points=1000), LatentSpace(method="tsne", points=1000)
ATLAS = Atlas(steps=5, strip_steps=3, dimensions=4, images=20)
OF_A_VAE = [
    Reconstructions(count=5, at_snapshots=True),
    PriorSamples(count=4, seed=0, beside_real=True),
    Interpolations(pairs=2, steps=3, method="slerp"),
    Traversals(dimensions=4, steps=3, limit=3.0, start="image"),
    ATLAS,
    PCA,
    TSNE,
    KLPerDimension(),
    Information(images=None, draws=2, seed=0),
    TestMetrics(examples=3, seed=0, splits=["test"], verify=True),
    Samples(count=4, seed=0, at_snapshots=False),
    Diversity(pairs=10, seed=0),
    Sharpness(count=10, seed=0),
    NearestNeighbours(count=5, shown=2, neighbours=2, seed=0),
]
GAN_TEST = GANTest(count=10, epochs=1, seed=0)


def drawn(result: Result) -> str:
    """The figure's title, after drawing it; nothing where there is none."""
    if result.draw is None:
        assert result.findings  # what is absent is told
        return ""
    figure = result.draw()
    figure.canvas.draw()
    return " ".join(figure.get_suptitle().split())


def with_images(context: Context, change: Any) -> Context:
    """The context with other images: change(split, batch) of each batch, None to leave it out."""

    def batches(split: str) -> Iterator[Batch]:
        changed = (change(split, batch) for batch in context.batches(split))
        return (batch for batch in changed if batch is not None)

    return dataclasses.replace(context, batches=batches)


def constant(split: str, batch: Any) -> Batch:
    return Batch(torch.full_like(batch.images, 0.25), torch.zeros_like(batch.labels), batch.index)


def first_image(split: str, batch: Any) -> Batch | None:
    starts = {"train": 0, "val": 60, "test": 80}
    if int(batch.index[0]) != starts[split]:
        return None
    return Batch(batch.images[:1], torch.zeros_like(batch.labels[:1]), batch.index[:1])


@pytest.mark.parametrize("kl_weight", [0.0, 1.0])
def test_a_code_of_one_dimension(kl_weight: float, make: Make) -> None:
    context = make("line", kl_weight=kl_weight)
    titles = {type(evaluation).__name__: drawn(evaluation(context)) for evaluation in OF_A_VAE}
    assert all(title.endswith(context.title) for title in titles.values())
    for evaluation in (PCA, TSNE):
        found = evaluation(context)
        assert "(its one dimension)" in drawn(found)
        np.testing.assert_array_equal(found.arrays["embedding"][:, 0], found.arrays["mean"][:, 0])
    atlas = ATLAS(context)
    assert atlas.findings == ("no latent plane: the code has one dimension",)
    assert not any(name.startswith("slice") for name in atlas.arrays)
    active = int(KLPerDimension()(context).metrics["active_units"])
    assert atlas.arrays["strip"].shape == (active, 3, 12, 12, 1)


@pytest.mark.parametrize("change", [constant, first_image])
def test_one_image_and_images_that_are_all_the_same(change: Any, make: Make) -> None:
    context = dataclasses.replace(with_images(make(), change), classes=("only $",))
    for evaluation in OF_A_VAE:
        result = evaluated(evaluation, context)
        drawn(result)
        assert np.isfinite([*result.metrics.values()]).all()
    pytest.importorskip("torchmetrics")
    fid = evaluated(FID(count=10, network="random", weights=None, seed=0), context)
    assert fid.findings
    assert np.isfinite([*fid.metrics.values()]).all()


class Lost(nn.Module):
    """A VAE whose output, and code if asked for, is not finite for dark images."""

    def __init__(self, inner: nn.Module, codes: bool) -> None:
        super().__init__()
        self.inner, self.codes, self.offers = inner, codes, inner.offers
        self.prior, self.draw, self.code_shape = inner.prior, inner.draw, inner.code_shape

    def encode(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
        code = self.inner.encode(images, labels)  # type: ignore[operator]
        if not self.codes:
            return code
        dark = images.flatten(1).mean(1, keepdim=True) < 0.32
        return dataclasses.replace(code, mean=code.mean.masked_fill(dark, torch.nan))

    def decode(self, z: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
        images: torch.Tensor = self.inner.decode(z, labels)  # type: ignore[operator]
        return images if self.codes else images * torch.nan


@pytest.mark.parametrize("codes", [False, True])
def test_outputs_that_are_not_finite_are_told_and_nothing_fails(codes: bool, make: Make) -> None:
    context = make()
    lost = dataclasses.replace(context, model=Lost(context.model, codes).eval())
    findings = []
    for evaluation in OF_A_VAE:
        if isinstance(evaluation, TestMetrics):
            continue  # its loss is asked for as well
        result = evaluated(evaluation, lost)
        drawn(result)
        assert np.isfinite([*result.metrics.values()]).all()
        assert "nan" not in " ".join(result.findings)
        findings += result.findings
    assert any("not finite" in finding for finding in findings)
    if codes:
        kept = PCA(lost).arrays
        assert 0 < len(kept["mean"]) < 43
        assert np.isfinite(kept["embedding"]).all()
        assert {len(array) for array in kept.values()} == {len(kept["mean"])}


def test_metrics_that_are_not_finite_are_named_and_left_out(make: Make) -> None:
    metrics = {"mse": float("nan"), "kl": 2.0, "psnr": float("inf")}
    result = evaluated(lambda context: Result({}, None, metrics, ("seen",)), make())
    assert result.metrics == {"kl": 2.0}
    assert result.findings == ("seen", "not measured, for the model's output is not finite: mse, psnr")


def test_the_latent_map_of_a_large_split_is_an_even_part_with_the_atlass_images(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaelab.evaluations.latent_space.IN_ATLAS", 7)
    context = make()
    found = LatentSpace(method="pca", points=20)(context)
    index = found.arrays["index"]
    assert len(index) == 20
    assert (np.diff(index) >= 1).all()
    assert np.diff(index).max() <= 4  # of 43
    atlas = Atlas(steps=3, strip_steps=3, dimensions=2, images=7)(context)
    assert set(atlas.arrays["index"]) <= set(index)
    whole = PCA(context).arrays
    np.testing.assert_array_equal(found.arrays["mean"], whole["mean"][index - 80])
    np.testing.assert_array_equal(found.arrays["label"], whole["label"][index - 80])


def test_codes_that_are_large_are_fewer(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaelab.evaluations.latent_space.MOST_VALUES", 6 * 15)
    found = PCA(make())
    assert found.arrays["mean"].shape == (15, 6)
    assert "15 of 43 test images" in drawn(found)


def test_the_classifier_learns_from_an_even_part_of_a_large_split(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = make(channels=3)
    whole = [(batch.images * 255).round().byte() for batch in context.batches("train")]
    labels = torch.cat([batch.labels for batch in context.batches("train")])
    images, own = held(context)
    assert torch.equal(images, torch.cat(whole))
    assert torch.equal(own, labels)
    monkeypatch.setattr("vaelab.evaluations.gan_test.MOST_BYTES", 13 * 3 * 12 * 12)
    images, own = held(context)
    places = torch.linspace(0, 59, 13).round().long()
    assert torch.equal(images, torch.cat(whole)[places])
    assert torch.equal(own, labels[places])


def test_an_empty_test_split_is_refused_before_training(make: Make) -> None:
    model: Any = make().model
    pixels, split = np.zeros((6, 12, 12, 1), np.uint8), np.array([0, 0, 0, 0, 1, 1], np.int8)
    images = ImageSet("few", pixels, None, (), ("",) * 6, split, "0" * 16, "embedded")
    cfg = OmegaConf.create(
        {"evaluation": {"kl_per_dimension": {"_target_": "vaelab.evaluations.KLPerDimension"}}}
    )
    with pytest.raises(UsageError, match="none of the 6 images of few is in the test split"):
        build.evaluations(cfg, model, images)
    build.evaluations(cfg, model)


class InMemory:
    """Batches of a split that any image can be had of, as the real loader's."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        self.batches = list(batches)
        self.size = sum(len(batch.images) for batch in self.batches)

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)

    def at(self, places: torch.Tensor) -> Batch:
        images, labels, index = (torch.cat(parts) for parts in zip(*self.batches, strict=True))
        return Batch(images[places], labels[places], index[places])


@pytest.mark.parametrize("evaluation", OF_A_VAE, ids=lambda e: type(e).__name__)
def test_images_that_are_had_one_by_one_change_nothing(make: Make, evaluation: Any) -> None:
    context = make()
    indexed = dataclasses.replace(context, batches=lambda split: InMemory(context.batches(split)))  # type: ignore[arg-type]
    plain, found = evaluation(context), evaluation(indexed)
    assert plain.arrays.keys() == found.arrays.keys()
    for name, array in plain.arrays.items():
        np.testing.assert_array_equal(found.arrays[name], array, err_msg=name)
    assert found.metrics == plain.metrics


@pytest.mark.parametrize("most", [0, 2**24])
def test_codes_that_are_kept_for_the_next_evaluation_change_nothing(
    make: Make, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaelab.evaluations.base.MOST_KEPT", most)
    shared = make()
    for evaluation in (
        PCA,
        KLPerDimension(),
        TestMetrics(examples=3, seed=0, splits=["test"], verify=True),
        ATLAS,
        KLPerDimension(),
    ):
        found, alone = evaluation(shared), evaluation(make())  # type: ignore[operator]
        assert bool(shared.kept) == (most > 0)
        assert found.metrics == alone.metrics
        for name, array in alone.arrays.items():
            np.testing.assert_array_equal(found.arrays[name], array, err_msg=name)


@pytest.mark.parametrize("evaluation", OF_A_VAE, ids=lambda e: type(e).__name__)
def test_what_draws_a_result_goes_to_another_process(make: Make, evaluation: Any) -> None:
    result = evaluation(make())
    there = pickle.loads(pickle.dumps(result.draw))
    assert there().get_suptitle() == result.draw().get_suptitle()
