"""The terms against torch.distributions and closed forms; the losses against their definition."""

import math
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from vaelab import losses, models
from vaelab.losses.likelihoods import Bernoulli, Gaussian, GaussianLearned
from vaelab.losses.regularisers import KL, ScheduleName

SHAPE = (3, 8, 10)
PIXELS = math.prod(SHAPE)


class Images(NamedTuple):
    images: Tensor
    labels: Tensor | None = None


@pytest.fixture
def pictures() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.rand(5, *SHAPE), torch.rand(5, *SHAPE)


def terms(loss: losses.Reconstruction, model: torch.nn.Module, images: Tensor) -> losses.Terms:
    torch.manual_seed(1)
    ((player, named),) = loss(model, Images(images), torch.default_generator)
    assert player == "model"
    return named


def elbo(
    kl_weight: float = 1.0,
    likelihood: str = "bernoulli",
    sigma: float = 1.0,
    reduction: losses.Reduction = "sum",
    schedule: ScheduleName = "constant",
    schedule_epochs: float = 10.0,
) -> losses.ELBO:
    made: dict[str, Callable[[], losses.Likelihood]] = {
        "bernoulli": Bernoulli,
        "gaussian": lambda: Gaussian(sigma),
        "gaussian_learned": GaussianLearned,
    }
    regulariser = KL(kl_weight, schedule, schedule_epochs, None, None, 10.0, None)
    return losses.ELBO(made[likelihood](), regulariser, reduction)


@pytest.fixture
def vae() -> models.VAE:
    torch.manual_seed(0)
    return models.conv_vae(SHAPE, latent_dim=4, channels=8, hidden=16)


def test_kl_is_that_of_torch() -> None:
    torch.manual_seed(0)
    mean, log_variance = torch.randn(6, 4), torch.randn(6, 4)
    expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(0.0, 1.0))
    code = models.Gaussian(mean, log_variance)
    torch.testing.assert_close(code.kl(), expected)
    torch.testing.assert_close(code.variance, (0.5 * log_variance).exp().square())
    assert models.Gaussian(torch.zeros(1, 3), torch.zeros(1, 3)).kl().tolist() == [[0, 0, 0]]
    point = models.Point(mean)
    assert (point.kl(), point.variance) == (None, None)
    assert point.sample(torch.default_generator) is mean


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian", "gaussian_learned"])
@pytest.mark.parametrize("kl_weight", [0.0, 1.0, 5.0])
def test_elbo_is_unweighted_and_loss_is_weighted(vae: models.VAE, likelihood: str, kl_weight: float) -> None:
    found = terms(elbo(kl_weight=kl_weight, likelihood=likelihood), vae, torch.rand(5, *SHAPE))
    torch.testing.assert_close(found["elbo"], -(found["reconstruction"] + found["kl"]))
    torch.testing.assert_close(found["loss"], found["reconstruction"] + kl_weight * found["kl"])


def test_elbo_is_a_bound_of_the_likelihood_of_a_linear_gaussian_model() -> None:
    """For x = z + noise, z and noise standard normal, log p(x) is known, and the true posterior reaches it."""

    class TruePosterior(models.VAE):
        def __init__(self) -> None:
            torch.nn.Module.__init__(self)

        def encode(self, x: Tensor, labels: Tensor | None = None) -> models.Gaussian:
            return models.Gaussian(x.flatten(1) / 2, torch.full((len(x), 3), math.log(0.5)))

        def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
            return z.unflatten(1, (3, 1, 1))

    torch.manual_seed(0)
    x = torch.randn(20_000, 3, 1, 1)
    bound = terms(elbo(likelihood="gaussian"), TruePosterior(), x)["elbo"]
    truth = Normal(0.0, math.sqrt(2)).log_prob(x).sum(dim=(1, 2, 3)).mean()
    torch.testing.assert_close(bound, truth, rtol=0, atol=0.02)


def test_mean_convention_is_mean_squared_error_plus_weighted_kl(vae: models.VAE) -> None:
    images = torch.rand(5, *SHAPE)
    found = terms(elbo(kl_weight=1e-2, likelihood="gaussian", reduction="mean"), vae, images)
    torch.manual_seed(1)
    error = torch.nn.functional.mse_loss(
        vae.decode(vae.encode(images).sample(torch.default_generator)), images
    )
    torch.testing.assert_close(found["loss"], error + 1e-2 * found["kl"])


def test_mean_signed_is_the_convention_of_images_in_minus_one_to_one(vae: models.VAE) -> None:
    images = torch.rand(5, *SHAPE)
    found = terms(elbo(kl_weight=1e-4, likelihood="gaussian", reduction="mean_signed"), vae, images)
    torch.manual_seed(1)
    decoded = vae.decode(vae.encode(images).sample(torch.default_generator))
    error = torch.nn.functional.mse_loss(2 * decoded - 1, 2 * images - 1)
    torch.testing.assert_close(found["loss"], error + 1e-4 * found["kl"])
    with pytest.raises(ValueError, match="take likelihood=gaussian"):
        elbo(reduction="mean_signed")


def test_beta_eff_of_the_published_example() -> None:
    loss = elbo(kl_weight=1e-4, likelihood="gaussian", reduction="mean")
    assert loss.beta_eff(64 * 64 * 3) == pytest.approx(0.6144)


@pytest.mark.parametrize(
    ("likelihood", "reduction", "sigma"),
    [
        ("bernoulli", "sum", 1.0),
        ("bernoulli", "mean", 1.0),
        ("gaussian", "sum", 0.2),
        ("gaussian", "mean", 0.2),
        ("gaussian", "mean_signed", 0.2),
    ],
)
def test_beta_eff_makes_every_convention_the_same_objective(
    vae: models.VAE, likelihood: str, reduction: str, sigma: float
) -> None:
    """The gradient of the loss points where that of nll + beta_eff * kl does."""
    images = torch.rand(5, *SHAPE)
    loss = elbo(kl_weight=3.0, likelihood=likelihood, reduction=reduction, sigma=sigma)
    reference = elbo(kl_weight=loss.beta_eff(PIXELS), likelihood=likelihood)

    def direction(criterion: losses.ELBO) -> Tensor:
        gradients = torch.autograd.grad(terms(criterion, vae, images)["loss"], list(vae.parameters()))
        return torch.nn.functional.normalize(torch.cat([g.flatten() for g in gradients]), dim=0)

    torch.testing.assert_close(direction(loss), direction(reference), rtol=1e-4, atol=1e-5)


def test_learned_sigma_is_the_best_one_and_is_kept_for_held_out_images(vae: models.VAE) -> None:
    images = torch.rand(5, *SHAPE)
    loss = elbo(likelihood="gaussian_learned").train()
    trained = terms(loss, vae, images)["reconstruction"]
    around = [
        terms(elbo(likelihood="gaussian", sigma=s), vae, images)["reconstruction"] for s in (0.25, 0.3, 0.4)
    ]
    assert all(trained <= other for other in around)
    for _ in range(3):
        terms(loss, vae, torch.rand(5, *SHAPE))
    loss.eval()
    kept = float(loss.likelihood.running_variance)
    expected = terms(elbo(likelihood="gaussian", sigma=kept**0.5), vae, images)["reconstruction"]
    torch.testing.assert_close(terms(loss, vae, images)["reconstruction"], expected)
    assert float(loss.likelihood.running_variance) == kept
    assert loss.beta_eff(PIXELS) == pytest.approx(kept)


def test_the_schedule_weighs_the_kl(vae: models.VAE) -> None:
    loss = elbo(kl_weight=4.0, schedule="linear", schedule_epochs=10)
    loss.epoch.fill_(2.5)
    found = terms(loss, vae, torch.rand(5, *SHAPE))
    torch.testing.assert_close(found["loss"], found["reconstruction"] + found["kl"])
    assert float(found["kl_weight"]) == 1.0


def test_reconstruction_loss_has_no_kl() -> None:
    model = models.conv_ae(SHAPE, latent_dim=4, channels=8)
    loss = losses.Reconstruction(Bernoulli(), "sum")
    found = terms(loss, model, torch.rand(5, *SHAPE))
    assert set(found) == {"loss", "reconstruction"}
    assert loss.beta_eff(PIXELS) is None


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="sigma=0"):
        elbo(likelihood="gaussian", sigma=0.0)
    with pytest.raises(ValueError, match="no learned sigma"):
        elbo(likelihood="gaussian_learned", reduction="mean")
    with pytest.raises(ValueError, match="schedule_epochs"):
        elbo(schedule_epochs=0.0)
