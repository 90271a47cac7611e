"""Weights of the KL from other tools: λ makes the same gradients as that tool's own loss, up to one factor."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from vaelab.losses.units import FACTORS, Unit, in_nats

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
    weight = in_nats(WEIGHT, unit, VALUES, UNITS)
    own = ((x - y) ** 2).sum() / 2 / B + weight * kl_of(mean, log_variance).sum(1).mean()
    ours = torch.autograd.grad(own, parts)
    factors = torch.cat([(a / b).flatten() for a, b in zip(ours, theirs, strict=True)])
    torch.testing.assert_close(factors, factors[:1].expand_as(factors))
