"""Weights of the KL from other tools: λ makes the same gradients as that tool's own loss, up to one factor."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from torch import Tensor

from vaelab import UsageError, build, config
from vaelab.units import FACTORS, Unit

B, SHAPE, UNITS = 6, (3, 8, 8), 5
VALUES = 3 * 8 * 8
WEIGHT = 0.37


def kl_of(mean: Tensor, log_variance: Tensor) -> Tensor:
    """(B, units)."""
    return -0.5 * (1 + log_variance - mean**2 - log_variance.exp())


# Loss of one batch: images, decoded, KL (B, units), weight.
Loss = Callable[[Tensor, Tensor, Tensor, float], Tensor]


def pythae(x: Tensor, y: Tensor, kl: Tensor, beta: float) -> Tensor:
    error = 0.5 * F.mse_loss(y.flatten(1), x.flatten(1), reduction="none").sum(-1)
    return (error + beta * kl.sum(-1)).mean()


def pytorch_vae(x: Tensor, y: Tensor, kl: Tensor, weight: float) -> Tensor:
    return F.mse_loss(y, x) + weight * kl.sum(1).mean(0)


def bolts(x: Tensor, y: Tensor, kl: Tensor, coefficient: float) -> Tensor:
    return F.mse_loss(y, x, reduction="mean") + coefficient * kl.mean()


def disentangling_vae(x: Tensor, y: Tensor, kl: Tensor, beta: float) -> Tensor:
    error = F.mse_loss(255 * y, 255 * x, reduction="sum") / 255 / len(x)
    return error + beta * kl.mean(0).sum()


def diffusers(x: Tensor, y: Tensor, kl: Tensor, weight: float) -> Tensor:
    return ((x - y) ** 2).sum() / len(x) + weight * kl.sum() / len(x)


def tanh_mse(x: Tensor, y: Tensor, kl: Tensor, weight: float) -> Tensor:
    return F.mse_loss(2 * y - 1, 2 * x - 1) + weight * kl.sum(1).mean()


LOSSES: dict[Unit, Loss] = {
    "nats": pythae,
    "mean_mse": pytorch_vae,
    "tanh_mse": tanh_mse,
    "pythae": pythae,
    "pytorch_vae": pytorch_vae,
    "bolts": bolts,
    "disentangling_vae": disentangling_vae,
    "diffusers": diffusers,
}


@pytest.mark.parametrize("unit", FACTORS)
def test_the_gradients_are_those_of_the_other_tool(unit: Unit) -> None:
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x, y = drawn(B, *SHAPE).sigmoid(), drawn(B, *SHAPE).sigmoid().requires_grad_()
    mean, log_variance = drawn(B, UNITS).requires_grad_(), drawn(B, UNITS).requires_grad_()
    parts = (y, mean, log_variance)
    theirs = torch.autograd.grad(LOSSES[unit](x, y, kl_of(mean, log_variance), WEIGHT), parts)
    weight = WEIGHT * FACTORS[unit](VALUES, UNITS)
    own = ((x - y) ** 2).sum() / 2 / B + weight * kl_of(mean, log_variance).sum(1).mean()
    ours = torch.autograd.grad(own, parts)
    factors = torch.cat([(a / b).flatten() for a, b in zip(ours, theirs, strict=True)])
    torch.testing.assert_close(factors, factors[:1].expand_as(factors))


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        return compose("train", ["model=fc_vae", *overrides])


def test_a_run_is_trained_with_the_weight_in_nats() -> None:
    cfg = composed("likelihood=gaussian", "kl_weight=0.01", "kl_weight_unit=bolts", "latent_dim=5")
    network = build.model(cfg, SHAPE)
    criterion = build.loss(cfg, network, 100, SHAPE)
    assert criterion.kl_weight == pytest.approx(0.01 * VALUES / (2 * 5))
    assert criterion.beta_eff(VALUES) == pytest.approx(0.01 * VALUES / (2 * 5))
    assert cfg.regulariser.kl_weight == 0.01


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["likelihood=bernoulli"], "is a weight beside a squared error: take likelihood=gaussian"),
        (["likelihood=gaussian", "likelihood.sigma=2"], "take likelihood=gaussian, whose sigma is 1"),
        (["likelihood=gaussian", "loss.reduction=mean"], "leave loss.reduction=mean out"),
        (["likelihood=gaussian", "regulariser=tc"], "take a loss with regulariser=kl"),
    ],
)
def test_a_weight_that_would_mean_something_else_is_refused(overrides: list[str], words: str) -> None:
    cfg = composed("kl_weight_unit=pythae", *overrides)
    with pytest.raises(UsageError, match=words):
        build.rehearse(cfg)
    with pytest.raises(UsageError, match="did you mean pythae"):
        config.check(composed("kl_weight_unit=pytae"), config.Train)
