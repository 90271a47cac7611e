"""The linear VAE against the closed form of its optimum: rate, distortion, -ELBO, likelihood and active units."""

import math
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from vaelab import UsageError, metrics, models
from vaelab.losses.likelihoods import gaussian_nll
from vaelab.models import LinearVAE
from vaelab.models.linear import principal_axes

SHAPE, UNITS, NOISE = (1, 2, 3), 3, 0.3  # NOISE is σ²
VARIANCES = torch.tensor([1.7124845, 1.1746867, 0.5283570, 0.09, 0.06, 0.041006], dtype=torch.float64)


class Pictures(NamedTuple):
    images: Tensor


class Measured(NamedTuple):
    rate: float
    distortion: float

    @property
    def negative_elbo(self) -> float:
        return self.rate + self.distortion


@pytest.fixture(scope="module")
def images() -> Tensor:
    """Images whose covariance has exactly these variances along random axes, and a mean that is not 0."""
    noise = torch.Generator().manual_seed(0)
    drawn = torch.randn(400, 6, generator=noise, dtype=torch.float64)
    drawn = torch.linalg.qr(drawn - drawn.mean(0)).Q * math.sqrt(400)  # of covariance I
    axes = torch.linalg.qr(torch.randn(6, 6, generator=noise, dtype=torch.float64)).Q
    centre = torch.rand(6, generator=noise, dtype=torch.float64)
    return (centre + drawn * VARIANCES.sqrt() @ axes.T).float().unflatten(1, SHAPE)


@pytest.fixture(scope="module")
def trained(images: Tensor) -> Callable[[float], LinearVAE]:
    """Networks trained from random weights, by their λ."""
    known: dict[float, LinearVAE] = {}

    def at(kl_weight: float) -> LinearVAE:
        if kl_weight not in known:
            known[kl_weight] = train(network("random"), images, kl_weight)
        return known[kl_weight]

    return at


def network(init: str) -> LinearVAE:
    torch.manual_seed(0)
    return models.linear_vae(SHAPE, latent_dim=UNITS, init=init)  # type: ignore[arg-type]


def train(model: LinearVAE, images: Tensor, kl_weight: float) -> LinearVAE:
    """Minimises D + λ R of all images, without noise of any batch or sample."""
    optimizer = torch.optim.LBFGS(
        model.parameters(),
        max_iter=1000,
        tolerance_grad=1e-7,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        rate, distortion = terms(model, images)
        loss = distortion + kl_weight * rate
        loss.backward()
        return loss

    optimizer.step(closure)
    return model


def terms(model: LinearVAE, images: Tensor) -> tuple[Tensor, Tensor]:
    """Rate and distortion in nats per image.

    What is squared in z has its exact mean under q(z|x) at mean ± sqrt(units) · sigma of each unit in turn.
    """
    code = model.encode(images)
    steps = (math.sqrt(UNITS) * code.variance.sqrt()).unsqueeze(1) * torch.eye(UNITS)
    points = torch.cat((code.mean.unsqueeze(1) + steps, code.mean.unsqueeze(1) - steps), dim=1)
    decoded = model.decode(points.flatten(0, 1)).unflatten(0, points.shape[:2])
    nll = gaussian_nll(images.unsqueeze(1), decoded, math.sqrt(NOISE))
    return code.kl().sum(1).mean(), nll.mean()


@torch.no_grad()
def measured(model: LinearVAE, images: Tensor) -> Measured:
    return Measured(*(float(term) for term in terms(model, images)))


def optimum(kl_weight: float) -> Measured:
    """Rate and distortion by reverse water-filling up to θ = λσ²."""
    level = kl_weight * NOISE
    kept = VARIANCES[:UNITS]
    rate = 0.5 * (kept / level).log().clamp(min=0).sum()
    error = kept.clamp(max=level).sum() + VARIANCES[UNITS:].sum()
    return Measured(float(rate), float(error / (2 * NOISE) + 3 * math.log(2 * math.pi * NOISE)))


@torch.no_grad()
def exact_nll(model: LinearVAE, images: Tensor) -> float:
    """-log N(x; mu, WW' + σ² I), averaged over the images."""
    linear = model.decoder[0]
    covariance = linear.weight @ linear.weight.T + NOISE * torch.eye(6)  # type: ignore[operator,union-attr]
    density = torch.distributions.MultivariateNormal(linear.bias, covariance)  # type: ignore[arg-type]
    return -float(density.log_prob(images.flatten(1)).mean())


def active_units(model: LinearVAE, images: Tensor) -> int:
    return int((model.encode(images).mean.var(0) > metrics.ACTIVE).sum())


def test_the_closed_form_has_the_figures_that_were_checked_elsewhere() -> None:
    assert optimum(1).rate == pytest.approx(1.836441, abs=1e-5)
    assert optimum(1).negative_elbo == pytest.approx(5.55650, abs=1e-4)
    assert optimum(2).rate == pytest.approx(0.860299, abs=1e-5)
    assert optimum(2).negative_elbo == pytest.approx(5.96095, abs=1e-4)


@pytest.mark.parametrize("kl_weight", [0.5, 1, 2, 5])
def test_training_reaches_the_closed_form(
    kl_weight: float, trained: Callable[[float], LinearVAE], images: Tensor
) -> None:
    model, truth = trained(kl_weight), optimum(kl_weight)
    found = measured(model, images)
    assert found.rate == pytest.approx(truth.rate, abs=1e-3)
    assert found.distortion == pytest.approx(truth.distortion, abs=1e-3)
    assert found.negative_elbo == pytest.approx(truth.negative_elbo, abs=1e-3)
    assert active_units(model, images) == int((1 - kl_weight * NOISE / VARIANCES[:UNITS] > 0.01).sum())


@pytest.mark.parametrize("kl_weight", [0.5, 1, 2, 5])
def test_the_curve_of_trained_networks_falls_by_lambda(
    kl_weight: float, trained: Callable[[float], LinearVAE], images: Tensor
) -> None:
    """The tangent, by networks of a λ that is a little smaller and a little larger."""
    less, more = (measured(trained(kl_weight * factor), images) for factor in (0.95, 1.05))
    slope = (more.distortion - less.distortion) / (more.rate - less.rate)
    assert slope == pytest.approx(-kl_weight, rel=3e-3)


@pytest.mark.parametrize(("kl_weight", "nll"), [(1, 5.55650), (2, 5.68804)])
def test_the_likelihood_is_the_elbo_where_lambda_is_1(
    kl_weight: float, nll: float, trained: Callable[[float], LinearVAE], images: Tensor
) -> None:
    model = trained(kl_weight)
    assert exact_nll(model, images) == pytest.approx(nll, abs=1e-3)
    gap = measured(model, images).negative_elbo - exact_nll(model, images)
    assert gap == pytest.approx(5.96095 - 5.68804 if kl_weight == 2 else 0, abs=1e-3)


@pytest.mark.parametrize("kl_weight", [0.5, 1, 2, 5, 20])
def test_pca_is_the_optimum_before_any_step(kl_weight: float, images: Tensor) -> None:
    model, truth = network("pca"), optimum(kl_weight)
    model.initialise([Pictures(part) for part in images.split(150)], kl_weight * NOISE)
    found = measured(model, images)
    assert found.rate == pytest.approx(truth.rate, abs=1e-5)
    assert found.distortion == pytest.approx(truth.distortion, abs=1e-5)
    rate, distortion = terms(model, images)
    (distortion + kl_weight * rate).backward()
    assert all(p.grad is not None and p.grad.abs().max() < 1e-5 for p in model.parameters())


def test_the_codes_of_all_images_follow_the_prior(images: Tensor) -> None:
    model = network("pca")
    model.initialise([Pictures(images)], NOISE)
    with torch.no_grad():
        code = model.encode(images)
    torch.testing.assert_close(code.mean.mean(0), torch.zeros(UNITS), rtol=0, atol=1e-5)
    covariance = code.mean.T.cov(correction=0) + code.variance[0].diag()
    torch.testing.assert_close(covariance, torch.eye(UNITS), rtol=0, atol=1e-5)


def test_samples_cost_what_the_exact_mean_says(images: Tensor) -> None:
    model = network("pca")
    model.initialise([Pictures(images)], NOISE)
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        code = model.encode(images.repeat(500, 1, 1, 1))
        nll = gaussian_nll(images.repeat(500, 1, 1, 1), model.decode(code.sample(noise)), math.sqrt(NOISE))
    assert float(nll.mean()) == pytest.approx(optimum(1).distortion, abs=0.02)


def test_lambda_0_makes_an_autoencoder_and_more_units_than_pixels_stay_unused(images: Tensor) -> None:
    model = models.linear_vae(SHAPE, latent_dim=8, init="pca")
    model.initialise([Pictures(images)], 0.0)
    code = model.encode(images)
    torch.testing.assert_close(model.decode(code.mean), images, rtol=0, atol=1e-4)
    assert code.kl().isfinite().all()
    assert (code.mean.var(0) > metrics.ACTIVE).tolist() == [True] * 6 + [False] * 2


def test_images_come_back_as_they_are_beyond_0_and_1() -> None:
    model = network("random")
    decoded = model.decode(10 * torch.randn(64, UNITS, generator=torch.Generator().manual_seed(0)))
    assert decoded.shape == (64, *SHAPE)
    assert decoded.dtype == torch.float32
    assert decoded.min() < 0
    assert decoded.max() > 1


def test_random_weights_ask_for_no_images(images: Tensor) -> None:
    model = network("random")
    before = [p.clone() for p in model.parameters()]
    model.initialise([], None)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize("beta_eff", [None, math.nan])
def test_pca_needs_noise_that_is_known(beta_eff: float | None, images: Tensor) -> None:
    with pytest.raises(UsageError, match="likelihood=gaussian"):
        network("pca").initialise([Pictures(images)], beta_eff)


def test_the_axes_of_large_images_are_those_of_their_covariance() -> None:
    """More pixels than the subspace is wide, with a spectrum that falls as 1 / i²."""
    noise = torch.Generator().manual_seed(0)
    images = torch.randn(500, 200, generator=noise) / torch.arange(1, 201) + torch.rand(200, generator=noise)
    batches = [Pictures(part.unflatten(1, (2, 10, 10))) for part in images.split(128)]
    mean, variances, axes = principal_axes(batches, 10)
    exact = torch.linalg.eigh(images.double().T.cov(correction=0))
    torch.testing.assert_close(mean, images.double().mean(0))
    torch.testing.assert_close(variances, exact.eigenvalues.flip(0)[:10], rtol=1e-8, atol=0)
    overlap = (axes.T @ exact.eigenvectors.flip(1)[:, :10]).abs()
    torch.testing.assert_close(overlap, torch.eye(10, dtype=torch.float64), rtol=0, atol=1e-4)
    again = principal_axes(batches, 10)
    assert torch.equal(axes, again[2])
