"""The curve of a network that is told λ: the numbers of test_metrics at each λ, and images of the same codes."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from tests.evaluations.conftest import Make

from vaelab import UsageError
from vaelab.evaluations import Context, KLPerDimension, RateDistortion, TestMetrics
from vaelab.evaluations.rate_distortion import MOST_VALUES, round_weights
from vaelab.models import ConditionedVAE


@pytest.fixture
def context(make: Make) -> Context:
    """A small network whose answer depends on λ."""
    found = make("vae")
    plain: Any = found.model
    model = ConditionedVAE(plain, (1, 12, 12), (0.1, 10.0), 1.0)
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=noise))
    return replace(found, model=model.eval(), title="digits · vae · λ = 1 · epoch 3")


def test_each_weight_has_the_numbers_that_test_metrics_has_there(context: Context) -> None:
    model: Any = context.model
    arrays = RateDistortion(kl_weights=[0.1, 1.0, 7.0], images=4, seed=0)(context).arrays
    rates = []
    for place, weight in enumerate(arrays["kl_weight"].tolist()):
        at = replace(context, model=model.at(weight))
        truth = TestMetrics(examples=1, seed=0, splits=["test"], verify=False)(at).metrics
        assert arrays["rate"][place] == pytest.approx(truth["kl"], rel=1e-6)
        assert arrays["distortion"][place] == pytest.approx(truth["reconstruction"], rel=1e-6)
        assert arrays["negative_elbo"][place] == pytest.approx(-truth["elbo"], rel=1e-6)
        assert arrays["psnr"][place] == pytest.approx(truth["psnr"], rel=1e-6)
        assert arrays["active_units"][place] == KLPerDimension()(at).metrics["active_units"]
        rates.append(truth["kl"])
    assert len({f"{rate:.6f}" for rate in rates}) == 3, "λ changes the rate"


def test_images_are_of_the_same_test_images_and_draws_at_each_weight(context: Context) -> None:
    model: Any = context.model
    result = RateDistortion(kl_weights=None, images=3, seed=5)(context)
    arrays = result.arrays
    assert arrays["kl_weight"].tolist() == [0.1, 0.15, 0.2, 0.3, 0.5, 1, 1.5, 2, 3, 5, 10]
    assert arrays["reconstruction"].shape == arrays["sample"].shape == (11, 3, 12, 12, 1)
    original = torch.from_numpy(arrays["original"]).movedim(-1, 1)
    z = torch.from_numpy(arrays["z"])
    assert torch.equal(z, model.draw(3, torch.Generator().manual_seed(5)))
    for place in (0, 10):
        at = model.at(arrays["kl_weight"][place].item())
        with torch.no_grad():
            decoded, sampled = at.decode(at.encode(original).mean), at.decode(z)
        np.testing.assert_allclose(arrays["reconstruction"][place, ..., 0], decoded[:, 0], atol=1e-6)
        np.testing.assert_allclose(arrays["sample"][place, ..., 0], sampled[:, 0], atol=1e-6)
    assert result.draw is not None
    figure = result.draw()
    assert (
        figure.get_suptitle().replace("\n", " ")
        == "One network for λ from 0.1 to 10 · digits · vae · epoch 3"
    )


def test_large_images_are_fewer(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_VALUES // (21 * 256 * 256 * 3) == 2
    monkeypatch.setattr("vaelab.evaluations.rate_distortion.MOST_VALUES", 2 * 144 * 2)
    arrays = RateDistortion(kl_weights=[1.0, 2.0], images=8, seed=0)(context).arrays
    assert len(arrays["original"]) == 2


def test_a_weight_that_was_not_learned_is_refused(context: Context) -> None:
    with pytest.raises(UsageError, match=r"λ = 20 is none of 0\.1 to 10"):
        RateDistortion(kl_weights=[1.0, 20.0], images=2, seed=0)(context)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (1.0, 1.0, [1.0]),
        (0.7, 2.5, [0.7, 1, 1.5, 2, 2.5]),
        (0.01, 0.05, [0.01, 0.015, 0.02, 0.03, 0.05]),
    ],
)
def test_round_weights_lie_in_the_range_and_have_its_ends(
    low: float, high: float, expected: list[float]
) -> None:
    assert round_weights(low, high) == expected


def test_a_common_range_has_a_fine_grid() -> None:
    found = round_weights(0.01, 100)
    assert len(found) == 21
    assert {0.01, 0.1, 0.5, 1, 2, 5, 20, 100} <= set(found)
    assert all(b / a <= 2 + 1e-9 for a, b in pairwise(found))
