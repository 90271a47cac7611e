"""The rate in parts against direct sums, closed forms and the bounds that they keep to."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from tests.evaluations.conftest import Make
from torch import Tensor
from torch.distributions import Normal

from vaelab import models
from vaelab.codes import Point
from vaelab.data import Batch
from vaelab.evaluations import Context, Information, Result

PARTS = ("mutual_information", "total_correlation", "dimension_wise_kl")
ALL = Information(images=None, draws=1, seed=0)
VARIANCES = torch.tensor([1.7, 1.2, 0.5, 0.09, 0.06, 0.04], dtype=torch.float64)


def around(model: Any, images: Tensor, batch_size: int = 256) -> Context:
    """What evaluations read of a model and test images."""
    index = torch.arange(len(images))
    batches = [
        Batch(part, None, rows)
        for part, rows in zip(images.split(batch_size), index.split(batch_size), strict=True)
    ]
    return Context(model.eval(), torch.nn.Module(), lambda _: batches, (), [], "a model")


def strengthened(context: Context, factor: float = 4.0) -> Context:
    with torch.no_grad():
        for parameter in context.model.encoder.parameters():  # type: ignore[union-attr]
            parameter.mul_(factor)
    return context


def ladder() -> models.LadderVAE:
    torch.manual_seed(0)
    return models.ladder_vae((1, 12, 12), layers=[5, 3], channels=4, hidden=16)


def title(result: Result) -> str:
    assert result.draw is not None
    figure = result.draw()
    figure.canvas.draw()
    return " ".join(figure.get_suptitle().split())


@torch.no_grad()
def test_the_densities_are_those_of_a_direct_double_loop(make: Make) -> None:
    context = strengthened(make(tests=9))
    result = ALL(context)
    (batch,) = context.batches("test")
    code: Any = context.model.encode(batch.images).double()  # type: ignore[operator]
    draws = code.sample(context.noise(0))
    posteriors = [Normal(m, s) for m, s in zip(code.mean, torch.exp(0.5 * code.log_variance), strict=True)]
    prior = Normal(0.0, 1.0)
    for place, z in enumerate(draws):
        each = torch.stack([q.log_prob(z) for q in posteriors])  # (images, units)
        joint = each.sum(1).exp().mean().log()
        units = each.exp().mean(0).log()
        own = posteriors[place].log_prob(z).sum()
        expected = {
            "mutual_information": own - joint,
            "marginal_kl": joint - prior.log_prob(z).sum(),
            "total_correlation": joint - units.sum(),
            "dimension_wise_kl": (units - prior.log_prob(z)).sum(),
        }
        for name, value in expected.items():
            assert result.arrays[name][place] == pytest.approx(float(value), rel=1e-9, abs=1e-9), name


@torch.no_grad()
def test_minibatches_of_all_images_are_exact_and_smaller_ones_as_a_training_has_them(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = strengthened(make(tests=24))
    whole = ALL(context).metrics
    for name in PARTS:
        assert whole[f"minibatch_{name}"] == pytest.approx(whole[name], rel=1e-9)
    monkeypatch.setattr("vaelab.evaluations.information.IN_A_CODE", 8)
    found = ALL(context).metrics
    assert found["mutual_information"] == pytest.approx(whole["mutual_information"], rel=1e-9)
    images = torch.cat([batch.images for batch in context.batches("test")])
    code: Any = context.model.encode(images).double()  # type: ignore[operator]
    draws = code.sample(context.noise(0))
    estimates = []
    for first in (0, 8, 16):
        for place in range(first, first + 8):
            each = torch.stack(
                [
                    Normal(code.mean[other], torch.exp(0.5 * code.log_variance[other])).log_prob(draws[place])
                    for other in range(first, first + 8)
                ]
            ).sum(1)
            # Of 24 images its own counts for one, and the 7 others of the batch stand for the other 23.
            weights = torch.tensor(
                [1 / 24 if other == place else 23 / 24 / 7 for other in range(first, first + 8)]
            )
            estimates.append(each[place - first] - (each + weights.double().log()).logsumexp(0))
    assert found["minibatch_mutual_information"] == pytest.approx(
        float(torch.stack(estimates).mean()), rel=1e-6
    )
    assert sum(found[f"minibatch_{name}"] for name in PARTS) == pytest.approx(
        sum(found[name] for name in PARTS), rel=1e-9
    )


@pytest.mark.parametrize("layered", [False, True])
def test_the_parts_of_the_same_draws_add_up_to_the_rate(layered: bool, make: Make) -> None:
    context = make()
    if layered:
        context = dataclasses.replace(context, model=ladder().eval())
    result = Information(images=None, draws=3, seed=1)(strengthened(context))
    arrays, metrics = result.arrays, result.metrics
    parts = sum(arrays[name] for name in PARTS)
    np.testing.assert_allclose(parts, arrays["mutual_information"] + arrays["marginal_kl"], rtol=1e-9)
    np.testing.assert_allclose(arrays["kl_per_unit"].sum(), metrics["dimension_wise_kl"], rtol=1e-9)
    noise, kl = torch.Generator().manual_seed(5), []
    with torch.no_grad():
        code = context.model.encode(torch.cat([b.images for b in context.batches("test")]))  # type: ignore[operator]
        kl = [float(code.kl(code.sample(noise)).sum(1).mean()) for _ in range(20)]
    error = float(parts.std(ddof=1)) / math.sqrt(len(parts))
    assert sum(metrics[name] for name in PARTS) == pytest.approx(np.mean(kl), abs=4 * error)
    assert metrics["mutual_information"] <= math.log(43) + 1e-9
    assert arrays["index"].tolist() == list(range(80, 123))


@torch.no_grad()
def test_the_densities_of_layers_are_those_of_a_direct_double_loop() -> None:
    model, images = ladder(), torch.rand(6, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    result = ALL(around(model, images))
    code = model.encode(images).double()
    draws = code.sample(torch.Generator().manual_seed(0))
    for place, z in enumerate(draws):
        each = []
        for other in range(6):
            mean, log_variance = model.encode(images[other : other + 1]).moments(z[None].float())
            each.append(Normal(mean.double(), torch.exp(0.5 * log_variance.double())).log_prob(z).sum())
        joint = torch.stack(each).logsumexp(0) - math.log(6)
        found = result.arrays["mutual_information"][place]
        assert found == pytest.approx(float(each[place] - joint), abs=1e-5)


@pytest.mark.parametrize("kl_weight", [1, 2])
def test_at_the_optimum_of_a_linear_vae_all_of_the_rate_is_information(kl_weight: int) -> None:
    count, noise = 4000, torch.Generator().manual_seed(0)
    drawn = torch.randn(count, 6, generator=noise, dtype=torch.float64)
    drawn = torch.linalg.qr(drawn - drawn.mean(0)).Q * math.sqrt(count)
    images = (drawn * VARIANCES.sqrt()).float().unflatten(1, (1, 2, 3))
    model = models.linear_vae((1, 2, 3), latent_dim=3, init="pca")
    context = around(model, images)
    model.initialise(context.batches("test"), kl_weight * 0.3)
    rate = 0.5 * float((VARIANCES[:3] / (kl_weight * 0.3)).log().clamp(min=0).sum())
    result = ALL(context)
    truth = {"mutual_information": rate, "marginal_kl": 0, "total_correlation": 0, "dimension_wise_kl": 0}
    for name, value in truth.items():
        assert result.metrics[name] == pytest.approx(value, abs=4 * result.arrays[f"{name}_error"]), name
        assert result.arrays[f"{name}_error"] < 0.03
    assert not any("bounded" in finding for finding in result.findings)


def test_a_collapsed_posterior_tells_nothing(make: Make) -> None:
    result = ALL(strengthened(make(), 0.0))
    assert result.metrics == pytest.approx(dict.fromkeys(result.metrics, 0.0), abs=1e-9)
    assert result.findings == ()
    assert "rate" in title(result)


@pytest.mark.parametrize("layered", [False, True])
def test_it_does_not_depend_on_the_batches(layered: bool, make: Make) -> None:
    def found(batch_size: int) -> dict[str, float]:
        context = make(batch_size=batch_size)
        if layered:
            context = dataclasses.replace(context, model=ladder().eval())
        return Information(images=20, draws=2, seed=0)(strengthened(context)).metrics

    whole = found(43)
    assert found(1) == pytest.approx(whole, rel=1e-6)
    assert found(7) == pytest.approx(whole, rel=1e-6)


def test_codes_that_tell_images_apart_reach_the_bound_which_is_said(make: Make) -> None:
    context = make()
    torch.nn.init.constant_(context.model.encoder[-1][-1].bias[6:], -25.0)  # type: ignore[index,union-attr]
    result = ALL(context)
    assert result.metrics["mutual_information"] == pytest.approx(math.log(43), rel=1e-6)
    assert result.findings[0].startswith("I(x;z) is bounded by log N = 3.76 nats here (N = 43 images)")
    assert "lower bound" in result.findings[0]


def test_an_estimate_below_0_is_said(make: Make) -> None:
    """With few draws of nearly collapsed codes the noise is larger than what there is."""
    found = [Information(images=None, draws=1, seed=seed)(strengthened(make(), 0.5)) for seed in range(8)]
    for result in found:
        negative = [name for name, value in result.metrics.items() if value < 0]
        assert len([one for one in result.findings if "never below 0" in one]) == len(negative)
    assert any("never below 0" in one for result in found for one in result.findings)


def test_a_part_of_the_images_is_said(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    context = make()
    assert "20 of 43 test images" in title(Information(images=20, draws=1, seed=0)(context))
    assert "of 43 test images" not in title(ALL(context))
    monkeypatch.setattr("vaelab.evaluations.information.MOST_DENSITIES", 15 * 15 * 6)
    result = ALL(context)
    assert len(result.arrays["index"]) == 15
    assert result.findings[0] == "information is that of 15 test images, for codes are too large for 43"


def test_codes_of_no_density_and_single_images_have_no_information(make: Make) -> None:
    assert ALL(make(tests=1)).findings == ("information is not measured: it takes two images",)
    context = make()

    class Points(torch.nn.Module):
        code_shape = (6,)

        def __init__(self) -> None:
            super().__init__()
            self.inner = context.model

        def encode(self, images: Tensor, labels: Tensor | None = None) -> Point:
            return Point(self.inner.encode(images).mean)  # type: ignore[operator]

    result = ALL(dataclasses.replace(context, model=Points()))
    assert result.findings == ("information is not measured: this code has no density",)
    assert (result.metrics, result.draw) == ({}, None)
