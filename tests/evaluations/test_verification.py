"""The check of every run's numbers by other libraries: it agrees where all is well, and finds what is wrong."""

import time
from dataclasses import replace
from typing import Any

import pytest
import torch
from tests.evaluations.conftest import Make
from torch import Tensor, nn

from vaelab import losses, metrics, models
from vaelab.data import Batch
from vaelab.evaluations import Context, Result, TestMetrics
from vaelab.evaluations.verification import Verification, by_scikit_image
from vaelab.losses import likelihoods

LIKELIHOODS: dict[str, likelihoods.Likelihood] = {
    "bernoulli": likelihoods.Bernoulli(),
    "continuous_bernoulli": likelihoods.ContinuousBernoulli(),
    "gaussian": likelihoods.Gaussian(sigma=0.1),
    "gaussian_learned": likelihoods.GaussianLearned(),
    "laplace": likelihoods.Laplace(scale=0.2),
}
LIKELIHOODS["gaussian_learned"].running_variance.fill_(0.04)
CHECKED = TestMetrics(examples=3, seed=0, splits=["test"], verify=True)


def measured(context: Context) -> Result:
    for part in (context.model, context.loss):
        part.eval()
    return CHECKED(context)


def with_likelihood(context: Context, likelihood: likelihoods.Likelihood) -> Context:
    regulariser = losses.regularisers.KL(1.0, "constant", 1.0, None, None, 1.0, None)
    return replace(context, loss=losses.ELBO(likelihood, regulariser, "sum"))


def largest(result: Result) -> dict[str, float]:
    return result.facts["verified"]["largest_difference"]


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_other_libraries_agree(name: str, make: Make) -> None:
    result = measured(with_likelihood(make(channels=3), LIKELIHOODS[name]))
    found = largest(result)
    assert found.keys() == {"psnr", "ssim", "kl", "reconstruction"}
    assert all(0 <= difference < 2e-5 for difference in found.values()), found
    assert result.facts["verified"]["by"].startswith("scikit-image 0.")
    assert result.facts["verified"]["images"] == 43
    assert result.findings == ()


@pytest.mark.parametrize("value", [0.0, 1e-20, 1.0])
@pytest.mark.parametrize("name", ["bernoulli", "continuous_bernoulli"])
def test_means_that_round_to_black_or_white_are_no_difference(name: str, value: float, make: Make) -> None:
    context = with_likelihood(make(), LIKELIHOODS[name])
    check = Verification(context)
    for batch in context.batches("test"):
        code = context.model.encode(batch.images, None)  # type: ignore[operator]
        decoded = torch.full_like(batch.images, value)
        of_images = {"psnr": metrics.psnr(batch.images, decoded)}
        check.add(batch, code, decoded, of_images)
    assert check.findings() == ()


def test_what_others_have_no_word_for_is_left_out(make: Make) -> None:
    logistic = likelihoods.DiscretizedLogistic()
    logistic.log_scale.fill_(-2.0)
    assert largest(measured(with_likelihood(make(), logistic))).keys() == {"psnr", "ssim", "kl"}
    assert largest(measured(make("ae"))).keys() == {"psnr", "ssim", "reconstruction"}
    assert largest(measured(make(side=8))).keys() == {"psnr", "kl", "reconstruction"}


@pytest.mark.parametrize("name", ["psnr", "ssim"])
def test_a_wrong_measure_is_found(name: str, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    right = getattr(metrics, name)
    monkeypatch.setattr(metrics, name, lambda x, y: right(x, y) + 0.002)
    result = measured(make())
    assert largest(result)[name] == pytest.approx(0.002, rel=0.02)
    (finding,) = result.findings
    assert finding == (
        f"{name.upper()} is not to be trusted: scikit-image has another value for some test image,"
        " which differs by 0.002"
    )


def test_a_wrong_term_is_found(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(likelihoods.Gaussian):
        def nll(self, images: Tensor, mean: Tensor) -> Tensor:
            return 1.01 * super().nll(images, mean)

    assert largest(measured(with_likelihood(make(), Wrong(0.1))))["reconstruction"] == pytest.approx(
        0.01, rel=0.01
    )
    kl = "vaelab.codes.standard_kl"
    monkeypatch.setattr(kl, lambda moments: 0.5 * (moments[0] ** 2 + moments[1].exp() - moments[1]))
    result = measured(make())
    assert largest(result)["kl"] > 0.01
    assert "KL is not to be trusted: torch.distributions has another value" in result.findings[0]


def test_metrics_and_arrays_are_those_without_the_check(make: Make) -> None:
    with_check, without = measured(make()), replace(CHECKED, verify=False)(make())
    assert with_check.metrics == without.metrics
    assert without.facts == {}
    for name, array in without.arrays.items():
        assert (array == with_check.arrays[name]).all()


def test_at_most_128_images_are_looked_at_and_images_that_are_equal_have_100_db(make: Make) -> None:
    context = make(tests=300, batch_size=64)
    seen: list[int] = []
    check = Verification(context)
    for batch in context.batches("test"):
        code = context.model.encode(batch.images, None)  # type: ignore[operator]
        check.add(batch, code, batch.images, {"psnr": metrics.psnr(batch.images, batch.images)})
        seen.append(len(batch.images))
    assert check.facts()["images"] == min(128, sum(seen))
    assert check.facts()["largest_difference"]["psnr"] == 0


def test_it_takes_less_than_a_second_for_colour_images_of_64_pixels() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(128, 3, 64, 64, generator=generator)
    model: Any = models.fc_vae((3, 64, 64), latent_dim=8, hidden=[8], activation="relu")
    batch = Batch(images, None, torch.arange(128))
    context = with_likelihood(
        Context(model, nn.Identity(), lambda split: [batch], (), [], "check"), LIKELIHOODS["bernoulli"]
    )
    with torch.inference_mode():
        code = model.encode(images, None)
        decoded = model.decode(code.mean, None)
        of_images = {"psnr": metrics.psnr(images, decoded), "ssim": metrics.ssim(images, decoded)}
        by_scikit_image(images[:1], decoded[:1], of_images)  # imports
        begun = time.process_time()
        check = Verification(context)
        check.add(batch, code, decoded, of_images)
        assert check.findings() == ()
    seconds = time.process_time() - begun
    assert seconds < 1
