"""Codes against torch.distributions and direct computations: layers, codebooks, classes."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from vaelab import models
from vaelab.codes import perplexity
from vaelab.losses import ELBO, likelihoods
from vaelab.losses.regularisers import KL, Commitment
from vaelab.models.quantisers import Codebook, Grid

SHAPE = (1, 8, 8)


class Batch(NamedTuple):
    images: Tensor
    labels: Tensor | None = None


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ladder(*layers: int) -> models.LadderVAE:
    torch.manual_seed(0)
    return models.ladder_vae(SHAPE, layers=list(layers), channels=4, hidden=16)


def kl(free_bits: float | None = None) -> KL:
    return KL(
        kl_weight=2.0, schedule="constant", schedule_epochs=1.0, free_bits=free_bits, capacity=None,
        capacity_epochs=1.0, target=None,
    )  # fmt: skip


# Layers


def in_values(
    model: models.LadderVAE, images: Tensor, z: Tensor
) -> tuple[list[Normal], list[Normal], list[Tensor]]:
    """Posterior and prior of each layer in its own values, as Sønderby et al. 2016 have them, the top layer first."""
    features = [model.encoder(images)]
    for step in model.evidence:
        features.append(step(features[-1]))
    values, posteriors, priors = model.values(z), [], []
    for layer, (reading, feature) in enumerate(zip(model.readings, reversed(features), strict=True)):
        mean, log_variance = reading(feature).chunk(2, 1)
        prior_mean, prior_variance = torch.zeros_like(mean), torch.ones_like(mean)
        if layer:
            prior_mean, prior_log_variance = model.priors[layer - 1](values[layer - 1]).chunk(2, 1)
            prior_variance = prior_log_variance.exp()
        precision = torch.exp(-log_variance) + 1 / prior_variance
        merged = (mean * torch.exp(-log_variance) + prior_mean / prior_variance) / precision
        posteriors.append(Normal(merged, precision**-0.5))
        priors.append(Normal(prior_mean, prior_variance**0.5))
    return posteriors, priors, values


@pytest.mark.parametrize("layers", [(5, 3), (6, 4, 2), (4, 3, 2, 2)])
def test_layers_are_those_of_the_ladder_vae_in_deviations_of_the_prior(layers: Sequence[int]) -> None:
    model, images = ladder(*layers), torch.rand(7, *SHAPE)
    code = model.encode(images)
    z = code.sample(seeded())
    posteriors, priors, values = in_values(model, images, z)
    expected = torch.cat([kl_divergence(q, p) for q, p in zip(posteriors, priors, strict=True)], 1)
    torch.testing.assert_close(code.kl(z), expected, rtol=1e-4, atol=1e-5)
    # Log densities of the values under their posteriors are those of the code's units, but for the change of scale.
    mean, log_variance = code.moments(z.clone())
    of_units = Normal(mean, torch.exp(0.5 * log_variance)).log_prob(z)
    of_values = torch.cat(
        [q.log_prob(v) + p.scale.log() for q, p, v in zip(posteriors, priors, values, strict=True)], 1
    )
    torch.testing.assert_close(of_units, of_values, rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_log_densities_of_layers_are_those_of_torch() -> None:
    model, images = ladder(5, 3), torch.rand(4, *SHAPE)
    code = model.encode(images)
    z = code.samples(6, seeded())
    assert z.shape == (6, 4, 8)
    torch.testing.assert_close(code.log_prior(z), Normal(0.0, 1.0).log_prob(z).sum(2))
    torch.testing.assert_close(code.log_prob(z.clone()), code.log_prob(z))
    torch.testing.assert_close(code.samples(1, seeded())[0], code.sample(seeded()))
    for draw, found in zip(z, code.log_prob(z), strict=True):
        posteriors, priors, values = in_values(model, images, draw)
        expected = sum(
            (q.log_prob(v) + p.scale.log()).sum(1) for q, p, v in zip(posteriors, priors, values, strict=True)
        )
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4)])
def test_log_densities_of_a_gaussian_are_those_of_torch(shape: Sequence[int]) -> None:
    torch.manual_seed(0)
    code = models.Gaussian(torch.randn(5, *shape), torch.randn(5, *shape))
    z = code.samples(20_000, seeded())
    posterior, axes = Normal(code.mean, code.variance.sqrt()), tuple(range(2, z.dim()))
    torch.testing.assert_close(code.log_prob(z), posterior.log_prob(z).sum(axes))
    torch.testing.assert_close(code.log_prob(z[0]), posterior.log_prob(z[0]).flatten(1).sum(1))
    torch.testing.assert_close(code.log_prior(z), Normal(0.0, 1.0).log_prob(z).sum(axes))
    torch.testing.assert_close(code.samples(1, seeded())[0], code.sample(seeded()))
    deviation = code.variance.sqrt()
    assert (((z.mean(0) - code.mean) / deviation).abs() < 5 / 20_000**0.5).all()
    torch.testing.assert_close(z.std(0), deviation, rtol=0.03, atol=0)


@torch.no_grad()
def test_the_kl_of_layers_sums_to_the_kl_and_its_mean_over_draws_is_the_code_s() -> None:
    model, images = ladder(5, 3), torch.rand(4, *SHAPE)
    code = model.encode(images)
    z = code.sample(seeded())
    terms = code.terms(z)
    assert list(terms) == ["kl_1", "kl_2"]
    torch.testing.assert_close(sum(terms.values()), code.kl(z).sum(1).mean())
    torch.testing.assert_close(terms["kl_2"], code.kl(z)[:, :3].sum(1).mean())
    # log q(z|x) - log p(z) over draws has the same mean.
    draws, ratios = [], []
    for seed in range(400):
        z = code.sample(seeded(seed))
        mean, log_variance = code.moments(z)
        own = Normal(mean, torch.exp(0.5 * log_variance)).log_prob(z)
        ratios.append((own - Normal(0.0, 1.0).log_prob(z)).sum(1).mean())
        draws.append(code.kl(z).sum(1).mean())
    error = float(torch.stack(ratios).std()) / 20
    assert float(torch.stack(ratios).mean()) == pytest.approx(float(torch.stack(draws).mean()), abs=4 * error)


def test_a_draw_s_kl_is_the_same_when_it_is_asked_for_again_later() -> None:
    model, images = ladder(5, 3), torch.rand(4, *SHAPE)
    code = model.encode(images)
    z = code.sample(seeded())
    soon = code.kl(z)
    code.sample(seeded(1))
    torch.testing.assert_close(code.kl(z.clone()), soon)
    with pytest.raises(ValueError, match=r"give kl\(z\)"):
        code.kl()


@torch.no_grad()
def test_free_bits_of_layers_count_by_layer() -> None:
    code = ladder(5, 3).encode(torch.rand(4, *SHAPE))
    z = code.sample(seeded())
    by_layer = [float(part.sum(1).mean()) for part in code.kl(z).split((3, 5), 1)]
    between = sum(by_layer) / 2
    found = kl(free_bits=between)(code, z, torch.zeros(()), seeded())
    assert float(found["penalty"]) == pytest.approx(2 * sum(max(between, x) for x in by_layer), rel=1e-5)


def test_a_ladder_s_samples_follow_the_layers_above() -> None:
    model = ladder(5, 3)
    z = model.draw(2, seeded())
    torch.testing.assert_close(z, torch.randn(2, 8, generator=seeded()))
    top, bottom = model.values(z)
    assert torch.equal(top, z[:, :3])
    mean, log_variance = model.priors[0](top).chunk(2, 1)
    torch.testing.assert_close(bottom, mean + torch.exp(0.5 * log_variance) * z[:, 3:])
    moved = z.clone()
    moved[:, 0] += 1
    assert not torch.allclose(model.decode(moved), model.decode(z))


@pytest.mark.parametrize("layers", [[4], [5, 4, 3, 2, 1]])
def test_a_ladder_of_too_few_or_many_layers_is_refused(layers: list[int]) -> None:
    with pytest.raises(ValueError, match="give from 2 to 4"):
        models.ladder_vae(SHAPE, layers=layers, channels=4, hidden=8)


# Codebooks


def small_vq(**changes: Any) -> models.VQVAE:
    settings = {
        "latent_dim": 2,
        "layout": "spatial",
        "quantiser": "vq",
        "codes": 5,
        "code_dim": 3,
        "levels": [],
    }
    return models.vq_vae(SHAPE, **(settings | {"channels": 4, "blocks": 1, "hidden": 8} | changes))


def test_a_codebook_finds_the_nearest_vectors_and_gradients_go_straight_through() -> None:
    torch.manual_seed(0)
    quantiser, output = Codebook(places=3, size=6, dim=2), torch.randn(5, 3, 2, requires_grad=True)
    code = quantiser(output)
    assert torch.equal(code.index, torch.cdist(output, quantiser.codes.expand(5, 6, 2)).argmin(2))
    assert torch.equal(code.mean, quantiser.codes[code.index])
    (slope,) = torch.autograd.grad((code.mean * torch.arange(2)).sum(), output, retain_graph=True)
    assert torch.equal(slope, torch.arange(2.0).expand(5, 3, 2))
    torch.testing.assert_close(code.commitment(), (output - code.mean).square().sum((1, 2)))
    (slope,) = torch.autograd.grad(code.commitment().sum(), output)
    torch.testing.assert_close(slope, 2 * (output - code.mean).detach())


def test_the_vectors_come_to_the_means_of_what_is_encoded_to_them() -> None:
    torch.manual_seed(0)
    centres = torch.tensor([[4.0, 4], [-4, 4], [0, -4]])
    quantiser, noise = Codebook(places=1, size=3, dim=2), seeded()
    for _ in range(600):
        output = centres[torch.randint(3, (64,))] + 0.1 * torch.randn(64, 2)
        quantiser.after_step(quantiser(output[:, None]), noise)
    assert torch.cdist(centres, quantiser.codes).min(1).values.max() < 0.05
    torch.testing.assert_close(quantiser.frequency, torch.full((1, 3), 1 / 3), rtol=0, atol=0.03)


def test_the_first_step_takes_the_vectors_from_the_batch_and_unused_ones_are_replaced() -> None:
    torch.manual_seed(0)
    quantiser, noise = Codebook(places=1, size=4, dim=2), seeded()
    output = torch.randn(32, 1, 2)
    quantiser.after_step(quantiser(output), noise)
    assert all((output.flatten(0, 1) == vector).all(1).any() for vector in quantiser.codes)
    quantiser.codes[0] = 1e3  # where nothing is encoded to
    for _ in range(500):
        quantiser.after_step(quantiser(torch.randn(32, 1, 2)), noise)
    assert quantiser.codes.abs().max() < 10


def test_a_batch_that_is_not_finite_leaves_no_trace_in_the_vectors() -> None:
    torch.manual_seed(0)
    quantiser, noise = Codebook(places=1, size=4, dim=2), seeded()
    for step in range(10):
        output = torch.randn(32, 1, 2)
        output[0, 0, 0] = torch.nan if step == 5 else 0
        quantiser.after_step(quantiser(output), noise)
    assert all(values.isfinite().all() for values in quantiser.state_dict().values())


@pytest.mark.parametrize("levels", [[], [256] * 4, [256, 256, 256, 256, 256, 256, 256, 256]])
def test_a_grid_of_too_few_or_many_vectors_is_refused(levels: list[int]) -> None:
    with pytest.raises(ValueError, match="from 2 to 65,536"):
        small_vq(layout="vector", quantiser="fsq", levels=levels)


def test_the_same_noise_gives_the_same_codebook_bit_for_bit() -> None:
    def learn() -> dict[str, Tensor]:
        torch.manual_seed(0)
        quantiser, noise = Codebook(places=2, size=4, dim=3), seeded(5)
        for _ in range(20):
            quantiser.after_step(quantiser(torch.randn(8, 2, 3)), noise)
        return quantiser.state_dict()

    one, other = learn(), learn()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert set(one) == {"codes", "uses", "sums", "frequency"}


def test_uniform_use_has_the_perplexity_of_all_vectors() -> None:
    assert float(perplexity(torch.full((64,), 3.0))) == pytest.approx(64, rel=1e-5)
    assert float(perplexity(torch.tensor([5.0, 0, 0]))) == pytest.approx(1)
    share = torch.tensor([0.5, 0.25, 0.25])
    assert float(perplexity(100 * share)) == pytest.approx(2**1.5, rel=1e-5)


@pytest.mark.parametrize("quantiser", [Codebook(2, 8, 3), Grid(2, [4, 2])], ids=["vq", "fsq"])
def test_the_kl_of_a_discrete_code_is_its_length_under_the_prior(quantiser: Codebook | Grid) -> None:
    torch.manual_seed(0)
    code = quantiser(torch.randn(5, 2, quantiser.dim))
    torch.testing.assert_close(code.kl(), torch.full((5, 2), math.log(8)))  # of a prior that has seen nothing
    assert code.bits == 2 * 3
    frequency = torch.distributions.Dirichlet(torch.ones(8)).sample((2,))
    quantiser.frequency.copy_(frequency)
    mixed = 0.99 * frequency + 0.01 / 8
    code = quantiser(torch.randn(5, 2, quantiser.dim))
    expected = torch.stack([-mixed[place].log()[code.index[:, place]] for place in range(2)], 1)
    torch.testing.assert_close(code.kl(), expected)
    assert float(code.prior.sum(1).max()) == pytest.approx(1)


def test_a_grid_s_numbers_and_vectors_are_one_to_one() -> None:
    grid = Grid(places=1, levels=[8, 6, 5])
    every = torch.arange(240)
    vectors = grid.vectors(every)
    assert len(vectors.unique(dim=0)) == 240
    assert torch.equal(grid.nearest(vectors), every)
    assert vectors.abs().max() == 1
    nearest = torch.cdist(torch.rand(50, 3, generator=seeded()) * 2 - 1, vectors).argmin(1)
    assert torch.equal(grid.nearest(torch.rand(50, 3, generator=seeded()) * 2 - 1), nearest)


def test_whatever_is_decoded_is_of_the_codebook() -> None:
    torch.manual_seed(0)
    model = small_vq().eval()
    z = torch.randn(4, *model.code_shape)
    snapped = model.quantiser.snapped(z)
    assert all((model.quantiser.codes == vector).all(1).any() for vector in snapped.flatten(0, 1))
    assert torch.equal(model.decode(z), model.decode(snapped))
    assert torch.equal(model.quantiser.snapped(snapped), snapped)


def test_samples_of_a_discrete_prior_have_its_frequencies() -> None:
    model = small_vq(latent_dim=3, layout="vector", quantiser="fsq", levels=[4])
    model.quantiser.frequency.copy_(torch.tensor([[0.7, 0.3, 0, 0], [0, 0, 0.5, 0.5], [0.25] * 4]))
    index = model.quantiser.nearest(model.draw(20_000, seeded()))
    shares = torch.stack([(index == number).float().mean(0) for number in range(4)], 1)
    torch.testing.assert_close(shares, model.quantiser.prior, rtol=0, atol=0.015)


def test_a_codebook_s_loss_is_a_bound_with_its_commitment_beside_it() -> None:
    torch.manual_seed(0)
    model = small_vq(codes=4, code_dim=2)
    loss = ELBO(likelihoods.Bernoulli(), Commitment(weight=0.5), "sum").eval()
    images = torch.rand(6, *SHAPE)
    ((_, terms),) = loss(model, Batch(images), seeded())
    code = model.encode(images)
    nll = loss.likelihood.nll(images, model.decode(code.mean)).mean()
    torch.testing.assert_close(terms["elbo"], -(nll + len(code.index[0]) * math.log(4)))
    torch.testing.assert_close(terms["loss"], nll + 0.5 * code.commitment().mean())
    assert loss.beta_eff(64) is None
    assert {"batch_perplexity", "batch_codebook_use"} <= terms.keys()
    assert "kl_weight" not in terms


# Classes


def test_a_conditional_vae_wants_labels_and_uses_them() -> None:
    torch.manual_seed(0)
    model = models.conditional_vae(SHAPE, classes=3, latent_dim=2, channels=4, hidden=8)
    images, labels = torch.rand(3, *SHAPE), torch.arange(3)
    code = model.encode(images, labels)
    assert not torch.equal(code.mean, model.encode(images, labels.flip(0)).mean)
    z = model.draw(3, seeded())
    assert not torch.equal(model.decode(z, labels), model.decode(z, labels.flip(0)))
    with pytest.raises(ValueError, match=r"encode\(images, labels\) takes labels 0 to 2"):
        model.encode(images)
    with pytest.raises(ValueError, match=r"decode\(z, labels\) takes labels 0 to 2"):
        model.decode(z)
    with pytest.raises(ValueError, match="conditional_vae needs labelled images of two or more classes"):
        models.conditional_vae(SHAPE, classes=0, latent_dim=2, channels=4, hidden=8)
