"""The importance-weighted bound against its definition, its doubly reparameterised gradient against the standard."""

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from vaelab import UsageError, losses, models
from vaelab.losses.iwae import log_mean_exp, log_weights
from vaelab.losses.likelihoods import Bernoulli, DiscretizedLogistic, Gaussian, GaussianLearned
from vaelab.losses.regularisers import KL

SHAPE = (1, 4, 4)


class Batch(NamedTuple):
    images: Tensor
    labels: Tensor | None = None


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def network(kind: str) -> Any:
    torch.manual_seed(0)
    made = {
        "fc": lambda: models.fc_vae(SHAPE, latent_dim=2, hidden=[6], activation="relu"),
        "spatial": lambda: models.spatial_vae((1, 8, 8), code_channels=2, channels=4),
        "layers": lambda: models.ladder_vae((1, 8, 8), layers=[3, 2], channels=2, hidden=6),
        "conditional": lambda: models.conditional_vae(
            (1, 8, 8), classes=3, latent_dim=2, channels=2, hidden=6
        ),
    }
    model = made[kind]()
    with torch.no_grad():
        for parameter in model.parameters():  # so that posteriors are far from the prior, and from each other
            parameter.mul_(1.5)
        for parameter in getattr(
            model, "priors", model.encoder[:0]
        ).parameters():  # layers tell the ones below
            parameter.mul_(3)
    return model


def pictures(model: Any, count: int) -> Batch:
    shape = SHAPE if model.code_shape == (2,) and not hasattr(model, "classes") else (1, 8, 8)
    return Batch(torch.rand(count, *shape, generator=seeded(5)), torch.arange(count) % 3)


def terms(loss: losses.Loss, model: Any, batch: Batch, noise: torch.Generator) -> losses.Terms:
    ((player, named),) = loss(model, batch, noise)
    assert player == "model"
    return named


ALL = ["fc", "spatial", "layers", "conditional"]


@pytest.mark.parametrize("estimator", ["standard", "dreg"])
@pytest.mark.parametrize("kind", ALL)
@torch.no_grad()
def test_of_one_draw_it_is_the_elbo(kind: str, estimator: Any) -> None:
    model = network(kind)
    batch = pictures(model, 300)
    found = terms(losses.IWAE(Bernoulli(), 1, estimator), model, batch, seeded())
    assert float(found["loss"]) == -float(found["elbo"]) == -float(found["iwae"])
    torch.testing.assert_close(found["elbo"], -(found["reconstruction"] + found["kl"]))
    elbo = losses.ELBO(Bernoulli(), KL(1.0, "constant", 1.0, None, None, 1.0, None), "sum")
    expected = terms(elbo, model, batch, seeded())
    torch.testing.assert_close(found["reconstruction"], expected["reconstruction"])  # of the same draw
    # Its KL is that of the draws, whose mean over draws is the KL.
    kl = torch.stack(
        [terms(losses.IWAE(Bernoulli(), 50, estimator), model, batch, seeded(s))["kl"] for s in range(9)]
    )
    exact = torch.stack([terms(elbo, model, batch, seeded(s))["kl"] for s in range(100, 150)])
    error = float(kl.std()) / 3 + float(exact.std()) / 7
    assert float(kl.mean()) == pytest.approx(float(exact.mean()), abs=4 * error + 1e-5)


@pytest.mark.parametrize("kind", ALL)
@torch.no_grad()
def test_more_of_the_same_draws_never_lower_it(kind: str) -> None:
    """The mean bound of halves is not above the bound of the whole, by Jensen; and the ELBO is below all."""
    model = network(kind)
    batch = pictures(model, 20)
    code = model.encode(batch.images, batch.labels)
    z = code.samples(64, seeded())
    decoded = model.decode(z.flatten(0, 1), batch.labels.repeat(64)).unflatten(0, (64, 20))  # type: ignore[union-attr]
    weights = log_weights(code, z, Bernoulli().nll(batch.images, decoded)).double()
    bounds = [
        float(torch.stack([log_mean_exp(part) for part in weights.split(k)]).mean())
        for k in (1, 2, 4, 8, 16, 32, 64)
    ]
    assert bounds == sorted(bounds)
    assert bounds[-1] > bounds[0]
    found = terms(losses.IWAE(Bernoulli(), 64, "standard"), model, batch, seeded())
    assert float(found["iwae"]) == pytest.approx(bounds[-1], rel=1e-5)
    assert float(found["elbo"]) == pytest.approx(bounds[0], rel=1e-5)


@pytest.mark.parametrize("likelihood", [GaussianLearned, DiscretizedLogistic])
def test_a_likelihood_that_learns_does_so_from_all_draws(likelihood: Any) -> None:
    model = network("fc")
    batch = pictures(model, 5)
    loss = losses.IWAE(likelihood(), 4, "standard").train()
    found = terms(loss, model, batch, seeded())
    code = model.encode(batch.images)
    decoded = model.decode(code.samples(4, seeded()).flatten(0, 1))
    other = likelihood().train()
    torch.testing.assert_close(
        found["reconstruction"], other.nll(batch.images.repeat(4, 1, 1, 1), decoded).mean()
    )
    assert loss.state_dict().keys() - {"epoch"} == {f"likelihood.{name}" for name in other.state_dict()}
    for name, value in other.state_dict().items():
        torch.testing.assert_close(loss.likelihood.state_dict()[name], value)


def slopes(model: Any, batch: Batch, estimator: Any, noise: torch.Generator) -> dict[str, Tensor]:
    found = terms(losses.IWAE(Gaussian(0.4), 5, estimator), model, batch, noise)
    parameters = dict(model.named_parameters())
    return dict(zip(parameters, torch.autograd.grad(found["loss"], list(parameters.values())), strict=True))


@pytest.mark.parametrize("kind", ["fc", "layers"])
def test_the_doubly_reparameterised_gradient_has_the_mean_of_the_standard_one(kind: str) -> None:
    """Over 200 times 250 draws of the gradient of one image, within five standard errors of their difference."""
    model = network(kind)
    image = pictures(model, 1).images
    batch = Batch(image.expand(250, -1, -1, -1))
    found = {
        estimator: [
            slopes(model, batch, estimator, seeded(2 * s + (estimator == "dreg"))) for s in range(200)
        ]
        for estimator in ("standard", "dreg")
    }
    for name in found["dreg"][0]:
        standard, dreg = (torch.stack([one[name] for one in found[e]]).double() for e in ("standard", "dreg"))
        error = ((standard.var(0) + dreg.var(0)) / 200).sqrt()
        distance = (standard.mean(0) - dreg.mean(0)).abs()
        assert (distance <= 5 * error + 1e-6).all(), name
        if name.startswith("encoder"):
            assert dreg.var(0).sum() < standard.var(0).sum()


@pytest.mark.parametrize("kind", ALL)
def test_only_the_posterior_s_gradient_is_another_one_and_is_that_of_the_paper(kind: str) -> None:
    """Tucker et al. 2018, equation 8: of each draw its squared share times the slope in it times its own slope."""
    model = network(kind)
    batch = pictures(model, 7)
    standard, dreg = (slopes(model, batch, estimator, seeded()) for estimator in ("standard", "dreg"))
    code = model.encode(batch.images, batch.labels)
    z = code.samples(5, seeded())
    draws = z.detach().requires_grad_()
    labels = None if batch.labels is None else batch.labels.repeat(5)
    decoded = model.decode(draws.flatten(0, 1), labels).unflatten(0, (5, 7))
    weights = log_weights(code, draws, Gaussian(0.4).nll(batch.images, decoded))
    (in_draws,) = torch.autograd.grad(weights.sum(), draws, retain_graph=True)
    shares = weights.detach().softmax(0).view(5, 7, *[1] * (z.dim() - 2))
    of_posterior = {n: p for n, p in model.named_parameters() if not n.startswith(("decoder", "priors"))}
    expected = torch.autograd.grad(z, list(of_posterior.values()), -shares.square() * in_draws / 7)
    for name, slope in zip(of_posterior, expected, strict=True):
        torch.testing.assert_close(dreg[name], slope, rtol=1e-3, atol=1e-4)
        assert not torch.allclose(standard[name], slope, rtol=1e-2, atol=1e-3)
    for name in standard.keys() - of_posterior.keys():
        if name.startswith("decoder"):
            torch.testing.assert_close(dreg[name], standard[name])


def test_a_code_without_densities_is_refused_in_words() -> None:
    point = models.Point(torch.zeros(2, 3))
    assert point.log_prob(point.mean) is None
    assert torch.equal(point.samples(4, seeded()), torch.zeros(4, 2, 3))
    with pytest.raises(UsageError, match=r"Point has no density: give it log_prob\(z\) and log_prior\(z\)"):
        log_weights(point, point.mean, torch.zeros(2))
