"""A network that is told λ: one λ or one for each image, its loss against a plain one, and the closed form."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from hydra import compose, initialize_config_dir
from scipy import stats
from torch import Tensor

from tests.test_linear_vae import images as flat_images  # noqa: F401  # the fixture
from tests.test_linear_vae import measured, network, optimum, terms
from tests.test_train import images as images  # the fixture
from tests.test_train import trained
from vaelab import UsageError, build, config
from vaelab.data import ImageSet
from vaelab.losses import ELBO, Conditioned
from vaelab.losses.conditioned import log_uniform
from vaelab.losses.likelihoods import Bernoulli
from vaelab.losses.regularisers import KL
from vaelab.models import ConditionedVAE

MODELS = {
    "fc_vae": ["model.hidden=[12,10]", "latent_dim=4"],
    "conv_vae": ["model.channels=4", "model.hidden=8", "latent_dim=4"],
    "resnet_vae": ["model.channels=4", "model.hidden=8", "model.blocks=1", "latent_dim=4"],
    "spatial_vae": ["model.channels=4", "model.code_channels=3"],
    "linear_vae": ["latent_dim=4"],
}
SHAPE = (1, 12, 12)


class Pictures(NamedTuple):
    images: Tensor
    labels: None = None


def composed(*overrides: str) -> Any:
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        return compose("train", list(overrides))


def told(name: str) -> ConditionedVAE:
    """A small network whose answer depends on λ, which it does not yet when it is built."""
    built: Any = build.model(composed(f"model={name}", "kl_weight=conditioned", *MODELS[name]), SHAPE)
    noise = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=noise))
    return built.eval()


def pictures(count: int) -> Tensor:
    return torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(1))


def loss_of(cls: type[ELBO], kl_weight: float) -> ELBO:
    return cls(Bernoulli(), KL(kl_weight, "constant", 1.0, None, None, 1.0, None), "sum")


@pytest.mark.parametrize("name", MODELS)
def test_one_weight_for_each_image_is_each_image_at_its_weight(name: str) -> None:
    model, x = told(name), pictures(5)
    weights = torch.tensor([0.01, 0.3, 1.0, 20.0, 100.0])
    code = model.at(weights).encode(x)
    decoded = model.at(weights).decode(code.mean)
    for place, weight in enumerate(weights.tolist()):
        alone = model.at(min(weight, 100.0) if place else 0.01)
        own = alone.encode(x[place : place + 1])
        torch.testing.assert_close(code.mean[place], own.mean[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(code.log_variance[place], own.log_variance[0], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(decoded[place], alone.decode(own.mean)[0], rtol=1e-4, atol=1e-5)
        assert torch.equal(own.mean, alone.encode(x[place : place + 1]).mean)
    assert (code.mean[0] - model.at(100.0).encode(x[:1]).mean[0]).abs().max() > 1e-3, "λ changes the code"


@pytest.mark.parametrize("name", MODELS)
def test_it_begins_as_the_network_that_is_told_nothing(name: str) -> None:
    plain: Any = build.model(composed(f"model={name}", *MODELS[name]), SHAPE)
    built: Any = build.model(composed(f"model={name}", "kl_weight=conditioned", *MODELS[name]), SHAPE)
    x = pictures(3)
    for weight in (0.01, 100.0):
        at = built.at(weight)
        assert torch.equal(at.encode(x).mean, plain.encode(x).mean)
        z = plain.encode(x).mean
        assert torch.equal(at.decode(z), plain.decode(z))


def test_another_weight_is_the_same_network_with_the_same_parameters() -> None:
    model = told("fc_vae")
    other = model.at(5)
    assert model.kl_weights == (0.01, 100.0)
    assert (model.kl_weight, other.kl_weight) == (1.0, 5)
    assert [p.data_ptr() for p in model.parameters()] == [p.data_ptr() for p in other.parameters()]
    assert "kl_weights" in other.offers
    assert other.prior == "prior N(0, I)"
    assert other.draw(3).shape == (3, 4)
    for outside in (0, 0.009, 101):
        with pytest.raises(UsageError, match=r"none of 0\.01 to 100"):
            model.at(outside)


@pytest.mark.parametrize("weight", [0.1, 7.0])
def test_a_range_of_one_weight_has_the_gradients_of_that_weight(weight: float) -> None:
    model, batch = told("fc_vae"), Pictures(pictures(8))
    model.kl_weights, model.kl_weight = (weight, weight), weight
    gradients, found = [], []
    for cls in (Conditioned, ELBO):
        noise = torch.Generator().manual_seed(2)
        if cls is ELBO:
            torch.rand(8, generator=noise)  # what the other one draws λ from
        model.zero_grad()
        ((player, own),) = loss_of(cls, weight).train()(model, batch, noise)
        own["loss"].backward()
        assert player == "model"
        found.append({name: float(term.detach()) for name, term in own.items()})
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_each_image_pays_for_its_kl_by_its_own_weight() -> None:
    model, batch = told("conv_vae"), Pictures(pictures(6))
    ((_, own),) = loss_of(Conditioned, 1.0).train()(model, batch, torch.Generator().manual_seed(3))
    noise = torch.Generator().manual_seed(3)
    weights = log_uniform((0.01, 100.0), 6, noise)
    code = model.at(weights).encode(batch.images)
    decoded = model.at(weights).decode(code.sample(noise))
    nll = Bernoulli().nll(batch.images, decoded)
    kl = code.kl().sum(1)
    torch.testing.assert_close(own["loss"], (nll + weights * kl).mean())
    torch.testing.assert_close(own["elbo"], -(nll + kl).mean())
    torch.testing.assert_close(own["kl_weight"], weights.mean())


def test_held_out_images_have_the_one_weight_of_the_network() -> None:
    model, batch = told("fc_vae"), Pictures(pictures(6))
    ((_, own),) = loss_of(Conditioned, 1.0).eval()(model, batch, torch.Generator().manual_seed(3))
    ((_, plain),) = loss_of(ELBO, 1.0).eval()(model.at(1.0), batch, torch.Generator().manual_seed(3))
    assert own == plain


def test_the_weights_are_log_uniform() -> None:
    drawn = log_uniform((0.01, 100.0), 5000, torch.Generator().manual_seed(0))
    assert 0.01 <= float(drawn.min()) < 0.0102
    assert 98 < float(drawn.max()) <= 100
    uniform = stats.uniform(math.log(0.01), math.log(1e4))
    assert stats.kstest(drawn.double().log().numpy(), uniform.cdf).pvalue > 0.05
    skewed = (drawn.double().log() + 0.3).numpy()
    assert stats.kstest(skewed, uniform.cdf).pvalue < 1e-3, "the test would see it"


def test_the_linear_network_reaches_the_closed_form_at_every_weight(flat_images: Tensor) -> None:  # noqa: F811
    """Shannon's reverse water-filling, at λ that the one network was trained on all at once, and between them."""
    model = ConditionedVAE(network("random"), (1, 2, 3), (0.3, 2.4), 1.0)
    weights = [0.3, 0.6, 1.2, 2.4]
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=100, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        total = torch.zeros(())
        for weight in weights:
            rate, distortion = terms(model.at(weight), flat_images)
            total = total + distortion + weight * rate
        total.backward()
        return total

    optimizer.step(closure)
    for weight in (*weights, 1.0):
        found, truth = measured(model.at(weight), flat_images), optimum(weight)
        price = found.distortion - truth.distortion + weight * (found.rate - truth.rate)
        assert -1e-4 < price < 0.01, weight


def test_a_run_is_validated_at_one_weight_and_trained_on_all(images: ImageSet, tmp_path: Path) -> None:
    settings = {"model": "fc_vae", "model.hidden": "[16]", "kl_weight": "conditioned", "kl_weight_at": 2.0}
    run = trained(tmp_path, images, 2, batch_size=16, **settings)
    train, val = run.history[-2:]
    assert val["kl_weight"] == 2.0
    assert val["loss"] == pytest.approx(val["reconstruction"] + 2 * val["kl"], rel=1e-5)
    assert 1 < train["kl_weight"] < 40  # the mean of those drawn, near (100 - 0.01) / log 10,000


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["model=ladder_vae"], "model=ladder_vae takes one λ"),
        (["model=conditional_vae"], "model=conditional_vae takes one λ"),
        (["model=conv_ae"], "take a loss with regulariser=kl"),
        (["model=dcgan"], "take a loss with regulariser=kl"),
        (["loss=iwae"], "take a loss with regulariser=kl"),
        (["regulariser=dip_i"], "take a loss with regulariser=kl"),
        (["model=linear_vae", "model.init=pca"], "model.init=pca is the optimum of one λ"),
        (["regulariser.schedule=linear"], "regulariser.schedule=linear is for one λ"),
        (["regulariser.free_bits=0.5"], "regulariser.free_bits=0.5 is for one λ"),
        (["regulariser.target=5"], "regulariser.target=5 is for one λ"),
        (["kl_weight_unit=pythae"], "leave kl_weight_unit=pythae out"),
        (["regulariser.kl_weight=3"], "regulariser.kl_weight=3 is one λ: leave it out"),
        (["kl_weight_range=[1]"], "kl_weight_range=[1] is no range"),
        (["kl_weight_range=[5,1]"], "kl_weight_range=[5, 1] is no range"),
        (["kl_weight_range=[0,1]"], "kl_weight_range=[0, 1] is not a list, each a number above 0"),
        (["kl_weight_at=200"], "kl_weight_at=200 is outside of kl_weight_range"),
        (
            ["evaluation=[rate_distortion]", "evaluation.rate_distortion.kl_weights=[1,500]"],
            "evaluation.rate_distortion.kl_weights=500 is outside of kl_weight_range=[0.01, 100.0]",
        ),
        (["kl_weight=1", "evaluation=[rate_distortion]"], "needs one network for all λ"),
        (["kl_weight=condition"], "did you mean conditioned?"),
    ],
)
def test_what_cannot_be_told_is_refused_in_one_line(overrides: list[str], words: str) -> None:
    cfg = composed("kl_weight=conditioned", *overrides)
    with pytest.raises(UsageError) as refused:
        refuse(cfg)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def refuse(cfg: Any) -> None:
    config.check(cfg, config.Train)
    build.check(cfg)
    build.rehearse(cfg)
