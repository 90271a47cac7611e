"""The NLL of test images against the closed form of the linear VAE, and against its own definition."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.test_likelihoods import ALL as LIKELIHOODS
from tests.test_linear_vae import NOISE, Pictures, exact_nll, network
from tests.test_linear_vae import images as images  # the fixture
from torch import Tensor, nn

from vaelab import losses, models
from vaelab.data import Batch
from vaelab.evaluations import NLL, Context, nll, unfinished
from vaelab.losses.iwae import log_mean_exp, log_weights

Make = Callable[..., Context]


def context(model: nn.Module, images: Tensor, likelihood: losses.Likelihood, batch_size: int = 64) -> Context:
    loss = losses.IWAE(likelihood, 1, "standard").eval()
    index, labels = torch.arange(len(images)), torch.arange(len(images)) % 3

    def batches(split: str) -> list[Batch]:
        return [Batch(images[rows], labels[rows], rows) for rows in index.split(batch_size)]

    return Context(model.eval(), loss, batches, ("a", "b", "c"), [], "made")


@pytest.mark.parametrize(("kl_weight", "gap"), [(1, 0.0), (2, 5.96095 - 5.68804), (5, None)])
def test_the_linear_vae_has_its_exact_likelihood(kl_weight: float, gap: float | None, images: Tensor) -> None:
    model = network("pca")
    model.initialise([Pictures(images)], kl_weight * NOISE)
    read = context(model, images, losses.likelihoods.Gaussian(math.sqrt(NOISE)))
    found = NLL(samples=2000, images=None, seed=0)(read)
    exact = np.array([exact_nll(model, image) for image in images.unsqueeze(1)])
    assert np.abs(found.arrays["nll"] - exact).mean() < 0.03
    assert found.metrics["nll"] == pytest.approx(exact.mean(), abs=0.003)
    assert found.metrics["nll_standard_error"] == pytest.approx(exact.std(ddof=1) / 20, rel=0.01)
    if gap is not None:
        assert found.metrics["nll_gap"] == pytest.approx(gap, abs=0.005)
    # Of fewer images it is off by as much as it says.
    part = NLL(samples=500, images=60, seed=0)(read)
    assert abs(part.metrics["nll"] - exact.mean()) < 3 * part.metrics["nll_standard_error"]
    assert part.findings == ("nll is of 60 of 400 test images",)
    assert part.arrays["index"].tolist() == np.linspace(0, 399, 60).round().tolist()


@pytest.mark.parametrize("kind", ["vae", "spatial"])
def test_it_does_not_depend_on_the_batches(kind: str, make: Make) -> None:
    evaluation = NLL(samples=700, images=30, seed=3)  # of 144 pixels: one piece, or several of a spatial code
    one, seven, all_of_them = (evaluation(make(kind, batch_size=size)) for size in (1, 7, 43))
    for other in (seven, all_of_them):
        for name, values in one.arrays.items():
            np.testing.assert_allclose(values, other.arrays[name], rtol=1e-6)
        assert one.metrics == pytest.approx(other.metrics, rel=1e-5)
    assert one.metrics["nll"] != NLL(samples=700, images=30, seed=4)(make(kind)).metrics["nll"]


def test_what_is_decoded_at_once_is_bounded(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    read = make()
    whole = NLL(samples=40, images=5, seed=0)(read)
    monkeypatch.setitem(nll.MOST_VALUES, "cpu", 144 * 16)
    seen: list[int] = []
    read.model.decoder.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))  # type: ignore[union-attr]
    parts = NLL(samples=40, images=5, seed=0)(read)
    assert seen == [16, 16, 8] * 5
    np.testing.assert_allclose(parts.arrays["nll"], whole.arrays["nll"], rtol=0.02)


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("kind", ["layers", "conditional"])
def test_every_likelihood_and_code_gives_the_bound_of_its_draws(likelihood: str, kind: str) -> None:
    torch.manual_seed(0)
    images, made = torch.randint(256, (4, 1, 8, 8)) / 255, LIKELIHOODS[likelihood]()
    model: Any = models.ladder_vae((1, 8, 8), layers=[3, 2], channels=2, hidden=6)
    if kind == "conditional":
        model = models.conditional_vae((1, 8, 8), classes=3, latent_dim=2, channels=2, hidden=6)
    made.train().nll(images, torch.rand(4, 1, 8, 8))  # from which some learn their scale
    read = context(model, images, made.eval())
    found = NLL(samples=30, images=None, seed=0)(read)
    noise, labels = read.noise(0), torch.arange(4) % 3
    with torch.inference_mode():
        for place, image in enumerate(images.split(1)):
            code = model.encode(image, labels[place : place + 1])
            z = code.samples(30, noise)
            decoded = model.decode(z.squeeze(1), labels[place].expand(30))
            weights = log_weights(code, z, made.nll(image.expand(30, -1, -1, -1), decoded)[:, None])
            assert found.arrays["nll"][place] == pytest.approx(-float(log_mean_exp(weights)), rel=1e-5)
            assert found.arrays["negative_elbo"][place] == pytest.approx(-float(weights.mean()), rel=1e-5)
    assert (found.arrays["nll"] <= found.arrays["negative_elbo"]).all()


def test_its_figure_says_what_it_is_of(make: Make) -> None:
    result = NLL(samples=20, images=10, seed=0)(make())
    assert result.draw is not None
    figure = result.draw()
    figure.canvas.draw()
    title = " ".join(figure.get_suptitle().split())
    assert title == "NLL (20 draws) · 10 of 43 test images · digits · vae · epoch 3"
    whole = NLL(samples=20, images=1000, seed=0)(make())
    assert whole.findings == ()
    assert len(whole.arrays["nll"]) == 43


def test_one_image_has_no_standard_error_and_a_loss_without_likelihood_no_nll(make: Make) -> None:
    assert set(NLL(samples=20, images=1, seed=0)(make()).metrics) == {"nll", "nll_gap"}
    read = make()
    del read.loss.likelihood
    assert NLL(samples=20, images=1, seed=0)(read).findings == (
        "nll is not measured: the loss has no likelihood",
    )


class Killed(Exception):
    pass


def test_it_goes_on_where_it_was_killed_with_the_same_numbers(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unfinished, "EVERY", 0)
    evaluation = NLL(samples=50, images=20, seed=0)
    whole = evaluation(make())
    read = replace(make(), unfinished=tmp_path / "unfinished")
    decoded: list[int] = []

    def count(_: nn.Module, given: tuple[Tensor]) -> None:
        if len(decoded) == kill_after:
            raise Killed
        decoded.append(len(given[0]))

    read.model.decoder.register_forward_pre_hook(count)  # type: ignore[union-attr]
    kill_after = 12
    with pytest.raises(Killed):
        evaluation(read)
    decoded, kill_after = [], -1
    resumed = evaluation(read)
    assert len(decoded) == 8
    for name, values in whole.arrays.items():
        np.testing.assert_array_equal(resumed.arrays[name], values)
    assert resumed.metrics == whole.metrics
    # Another number of draws, other weights or a damaged file: all images are measured.
    (file,) = tmp_path.rglob("*.npz")
    decoded = []
    NLL(samples=49, images=20, seed=0)(read)
    assert len(decoded) == 20
    evaluation(read)
    with torch.no_grad():
        next(iter(read.model.parameters())).add_(0.01)
    decoded = []
    evaluation(read)
    assert len(decoded) == 20
    file.write_bytes(file.read_bytes()[:-40])
    decoded = []
    evaluation(read)
    assert len(decoded) == 20
