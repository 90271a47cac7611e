"""Regularisers against closed forms, direct computations and a model whose optimum is known."""

import copy
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from tests.tape import TapeLane
from vaelab.codes import Gaussian
from vaelab.losses import likelihoods
from vaelab.losses.regularisers import BUILDABLE, DIPI, DIPII, KL, MMD, TC, Controller, Weighted
from vaelab.losses.regularisers.mmd import imq, rbf, squared_mmd
from vaelab.losses.regularisers.schedules import SCHEDULES, ScheduleName
from vaelab.losses.regularisers.tc import decomposition, stratified_log_weights
from vaelab.training.capture import Repeated

UNITS = 5
OFF: dict[str, Any] = {"free_bits": None, "capacity": None, "capacity_epochs": 10.0}
OWN: dict[type, dict[str, Any]] = {
    KL: OFF,
    TC: {"mi_weight": 1.0, "tc_weight": 6.0, "dimension_weight": 2.0, "data_size": 1000},
    DIPI: OFF | {"diagonal_weight": 5.0, "off_diagonal_weight": 10.0},
    DIPII: OFF | {"diagonal_weight": 5.0, "off_diagonal_weight": 10.0},
    MMD: OFF | {"weight": 100.0, "kernel": "rbf", "kl_share": 0.5},
}


KINDS = [kind for kind in BUILDABLE if issubclass(kind, Weighted)]


def made(kind: type[Weighted] = KL, **changes: Any) -> Any:
    common = {"kl_weight": 1.0, "schedule": "constant", "schedule_epochs": 10.0, "target": None}
    return kind(**(common | OWN[kind] | changes))


def some_code(batch: int = 64, units: int = UNITS, dtype: torch.dtype = torch.float32) -> Gaussian:
    torch.manual_seed(0)
    scales = torch.linspace(0.1, 2, units, dtype=dtype)
    return Gaussian(
        torch.randn(batch, units, dtype=dtype) * scales, torch.randn(batch, units, dtype=dtype) - 1
    )


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def terms(regulariser: Weighted, code: Gaussian, epoch: float = 0.0) -> dict[str, Tensor]:
    noise = seeded()
    return regulariser(code, code.sample(noise), torch.tensor(epoch, dtype=torch.float64), noise)


# The KL and its weight


def test_the_kl_is_that_of_torch_and_weighted_by_lambda() -> None:
    code = some_code()
    found = terms(made(kl_weight=3.0), code)
    expected = kl_divergence(Normal(code.mean, code.variance.sqrt()), Normal(0.0, 1.0)).sum(1).mean()
    torch.testing.assert_close(found["kl"], expected)
    torch.testing.assert_close(found["penalty"], 3 * expected)
    assert float(found["kl_weight"]) == 3


def test_schedules() -> None:
    def weights(schedule: ScheduleName, *epochs: float) -> list[float]:
        return [float(SCHEDULES[schedule](torch.tensor(e, dtype=torch.float64), 4)) for e in epochs]

    assert weights("constant", 0, 9) == [1, 1]
    assert weights("linear", 0, 1, 4, 9) == [0, 0.25, 1, 1]
    assert weights("cyclical", 0, 1, 2, 3.9, 4, 5) == [0, 0.5, 1, 1, 0, 0.5]


@pytest.mark.parametrize("kind", KINDS)
def test_a_schedule_weighs_all_of_a_regulariser(kind: type[Weighted]) -> None:
    full, quarter = (
        terms(made(kind, kl_weight=4.0, schedule=schedule), some_code(), epoch=2.5)
        for schedule in ("constant", "linear")
    )
    torch.testing.assert_close(quarter["penalty"], full["penalty"] / 4)
    torch.testing.assert_close(quarter["kl"], full["kl"])
    assert float(quarter["kl_weight"]) == 1
    assert made(kind, kl_weight=4.0, schedule="linear").kl_weight == 4


def test_free_bits_count_each_units_mean_kl_as_so_many_nats_at_least() -> None:
    code = some_code()
    of_units = code.kl().mean(0)
    assert of_units.min() < 1 < of_units.max()
    found = terms(made(kl_weight=2.0, free_bits=1.0), code)
    torch.testing.assert_close(found["penalty"], 2 * sum(max(x, torch.tensor(1.0)) for x in of_units))
    torch.testing.assert_close(found["kl"], of_units.sum())


def test_units_with_free_bits_left_feel_no_penalty() -> None:
    code = some_code()
    code.mean.requires_grad_()
    (slope,) = torch.autograd.grad(terms(made(free_bits=1.0), code)["penalty"], code.mean)
    free = code.kl().mean(0) < 1
    assert (slope[:, free] == 0).all()
    assert (slope[:, ~free] != 0).all()


@pytest.mark.parametrize(("epoch", "capacity"), [(0.0, 0.0), (2.5, 6.25), (10.0, 25.0), (99.0, 25.0)])
def test_a_capacity_grows_and_the_kl_is_held_at_it(epoch: float, capacity: float) -> None:
    code = some_code()
    found = terms(made(kl_weight=7.0, capacity=25.0), code, epoch)
    torch.testing.assert_close(found["penalty"], 7 * (found["kl"] - capacity).abs())


# A target


EIGENVALUES = torch.tensor([4.0, 2.0, 1.0, 0.5, 0.3, 0.1])
NOISE = 0.3  # variance of the Gaussian likelihood
KEPT = 3  # latents


class Linear(nn.Module):
    """A linear VAE for data with the covariance diag(EIGENVALUES), in six pixels."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder, self.decoder = nn.Linear(6, KEPT), nn.Linear(KEPT, 6)
        self.log_variance = nn.Parameter(torch.zeros(KEPT))

    def encode(self, images: Tensor) -> Gaussian:
        mean = self.encoder(images.flatten(1))
        return Gaussian(mean, self.log_variance.expand_as(mean))

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z).view(-1, 1, 1, 6)


class Training:
    """A linear VAE, its regulariser and what trains them."""

    def __init__(self, regulariser: Weighted) -> None:
        self.regulariser, self.model, self.noise = regulariser.train(), Linear(), seeded()
        self.optimizer = torch.optim.Adam(self.model.parameters(), 0.02, fused=True)
        self.likelihood, self.epoch = likelihoods.Gaussian(NOISE**0.5), torch.zeros((), dtype=torch.float64)
        self.seen: dict[str, Tensor] = {}

    def step(self) -> None:
        self.epoch += 0.01
        data = torch.randn(256, 6, generator=self.noise) * EIGENVALUES.sqrt()
        images = data.view(-1, 1, 1, 6)
        code = self.model.encode(images)
        z = code.sample(self.noise)
        found = self.regulariser(code, z, self.epoch, self.noise)
        nll = self.likelihood.nll(images, self.model.decode(z)).mean()
        loss = nll + found["penalty"]
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        for name, term in (found | {"loss": loss}).items():
            self.seen.setdefault(name, torch.zeros(())).copy_(term.detach())

    def state(self) -> list[Tensor]:
        weights = [*self.model.state_dict().values(), *self.regulariser.state_dict().values()]
        return [value.clone() for value in weights]


def rate(kl_weight: float) -> float:
    """Of the best linear VAE, in nats (Lucas et al. 2019): half the sum of max(0, ln e / λσ²)."""
    return float(0.5 * torch.log(EIGENVALUES[:KEPT] / (kl_weight * NOISE)).clamp(min=0).sum())


@pytest.mark.parametrize(("first", "kl_weight"), [(0.5, 2.0), (5.0, 0.2)])
def test_a_controller_brings_the_kl_of_a_linear_vae_to_its_target(first: float, kl_weight: float) -> None:
    target = rate(kl_weight)
    training = Training(made(kl_weight=first, target=target))
    kls = []
    for _ in range(500):
        training.step()
        kls.append(float(training.seen["kl"]))
    assert sum(kls[-50:]) / 50 == pytest.approx(target, rel=0.02)
    assert training.regulariser.kl_weight == pytest.approx(kl_weight, rel=0.15)


def test_a_capacity_holds_the_kl_of_a_linear_vae_where_lambda_is_large_enough() -> None:
    """At λ = 5 alone 0.63 nats would be best. 2.5 nats are at λ = 1.26, below which they could not be held."""
    training, kls = Training(made(kl_weight=5.0, capacity=2.5, capacity_epochs=1.5)), []
    for _ in range(350):
        training.step()
        kls.append(float(training.seen["kl"]))
    assert sum(kls[-50:]) / 50 == pytest.approx(2.5, abs=0.08)


def test_a_controller_changes_lambda_in_training_alone() -> None:
    regulariser, code = made(kl_weight=2.0, target=1.0), some_code()
    above = terms(regulariser.train(), code)
    assert float(above["kl"]) > 1
    assert float(above["kl_weight"]) > regulariser.kl_weight > 2
    torch.testing.assert_close(above["penalty"], above["kl"] * above["kl_weight"])
    before = regulariser.kl_weight
    held_out = terms(regulariser.eval(), code)
    assert float(held_out["kl_weight"]) == pytest.approx(before)
    assert regulariser.kl_weight == before
    below = made(kl_weight=2.0, target=1e6)
    assert float(terms(below.train(), code)["kl_weight"]) < below.kl_weight < 2


def test_a_controller_of_a_target_out_of_reach_stays_finite_and_comes_back() -> None:
    controller, epoch = Controller(20.0, 1.0), torch.zeros((), dtype=torch.float64)
    for kl in (0.0, 1e6):
        for _ in range(2000):
            weight = controller(epoch, torch.tensor(kl))
        assert weight.isfinite()
        assert weight > 0
    assert controller.full == pytest.approx(1e6, rel=1e-3)
    for _ in range(400):
        weight = controller(epoch, torch.tensor(1.0))
    assert weight < 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_continues_bit_for_bit(kind: type[Weighted]) -> None:
    through = Training(made(kind, target=1.5))
    for _ in range(5):
        through.step()
    continued = Training(made(kind, target=1.5))
    continued.model.load_state_dict(through.model.state_dict())
    continued.regulariser.load_state_dict(through.regulariser.state_dict())
    continued.optimizer.load_state_dict(copy.deepcopy(through.optimizer.state_dict()))
    continued.noise.set_state(through.noise.get_state())
    continued.epoch.copy_(through.epoch)
    for _ in range(5):
        through.step()
        continued.step()
    assert all(torch.equal(a, b) for a, b in zip(through.state(), continued.state(), strict=True))
    assert all(torch.equal(through.seen[name], continued.seen[name]) for name in through.seen)


# β-TCVAE


def test_the_decomposition_of_all_images_is_the_exact_one() -> None:
    """On 200 points, with each density from torch.distributions."""
    code = some_code(batch=200, dtype=torch.float64)
    z = code.sample(seeded())
    found = decomposition(code, z, data_size=200)
    even = Categorical(torch.ones(200, dtype=torch.float64))
    each = Independent(Normal(code.mean, code.variance.sqrt()), 1)
    aggregate = MixtureSameFamily(even, each).log_prob(z)
    marginals = sum(
        MixtureSameFamily(even, Normal(code.mean[:, unit], code.variance[:, unit].sqrt())).log_prob(
            z[:, unit]
        )
        for unit in range(UNITS)
    )
    prior = Normal(0.0, 1.0).log_prob(z).sum(1)
    torch.testing.assert_close(found["mi"], (each.log_prob(z) - aggregate).mean())
    torch.testing.assert_close(found["tc"], (aggregate - marginals).mean())
    torch.testing.assert_close(found["dimension_kl"], (marginals - prior).mean())


def test_the_parts_are_those_of_a_gaussian_of_known_covariance_and_add_up_to_the_kl() -> None:
    torch.manual_seed(0)
    covariance = torch.tensor([[1.5, 0.9, 0.0], [0.9, 1.0, 0.2], [0.0, 0.2, 0.7]], dtype=torch.float64)
    variance, count = 0.2, 1000  # of each posterior; what is left is the covariance of the means
    spread = torch.linalg.cholesky(covariance - variance * torch.eye(3))
    means = torch.randn(count, 3, dtype=torch.float64)
    means = means - means.mean(0)
    means = means @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(means.T))).T @ spread.T
    code = Gaussian(means, torch.full_like(means, math.log(variance)))
    draws = [decomposition(code, code.sample(seeded(seed)), data_size=count) for seed in range(1, 5)]
    found = {name: float(sum(draw[name] for draw in draws)) / 4 for name in draws[0]}
    diagonal, volume = covariance.diagonal(), torch.logdet(covariance)
    assert found["tc"] == pytest.approx(float(0.5 * (diagonal.log().sum() - volume)), abs=0.05)
    assert found["mi"] == pytest.approx(float(0.5 * (volume - 3 * math.log(variance))), abs=0.05)
    assert found["dimension_kl"] == pytest.approx(
        float(0.5 * (diagonal - 1 - diagonal.log()).sum()), abs=0.05
    )
    assert sum(found.values()) == pytest.approx(float(code.kl().sum(1).mean()), rel=0.02)


@pytest.mark.parametrize("batch", [2, 3, 4])
def test_stratified_weights_are_unbiased(batch: int) -> None:
    """Over all batches of five images that hold the one a draw came from, the mean is the aggregate's density."""
    densities = torch.rand(5, generator=seeded(), dtype=torch.float64)
    weights = stratified_log_weights(batch, 5, densities).exp()
    torch.testing.assert_close(weights.sum(1), torch.ones(batch, dtype=torch.float64))
    estimates = [
        (weights[0] * densities[[0, *others]]).sum()
        for others in itertools.combinations(range(1, 5), batch - 1)
    ]
    torch.testing.assert_close(sum(estimates) / len(estimates), densities.mean())


def test_tc_weights_its_parts() -> None:
    found = terms(made(TC, kl_weight=2.0), some_code())
    expected = 2 * (found["mi"] + 6 * found["tc"] + 2 * found["dimension_kl"])
    torch.testing.assert_close(found["penalty"], expected)
    assert list(found) == ["penalty", "kl", "kl_weight", "mi", "tc", "dimension_kl"]


# DIP-VAE


@pytest.mark.parametrize("kind", [DIPI, DIPII])
def test_dip_is_the_distance_of_a_covariance_from_the_identity(kind: type[DIPI]) -> None:
    code = some_code(batch=9)
    covariance = torch.zeros(UNITS, UNITS)
    for i, j in itertools.product(range(UNITS), repeat=2):
        a, b = code.mean[:, i], code.mean[:, j]
        covariance[i, j] = (a * b).mean() - a.mean() * b.mean()
        if kind is DIPII and i == j:
            covariance[i, i] += code.variance[:, i].mean()
    expected = sum(
        5 * (covariance[i, j] - 1) ** 2 if i == j else 10 * covariance[i, j] ** 2
        for i, j in itertools.product(range(UNITS), repeat=2)
    )
    found = terms(made(kind, kl_weight=2.0), code)
    torch.testing.assert_close(found["dip"], expected)
    torch.testing.assert_close(found["penalty"], 2 * (found["kl"] + expected))


def test_dip_ii_of_a_standard_normal_aggregate_is_nothing() -> None:
    means = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]]) * math.sqrt(0.5)
    code = Gaussian(means, torch.full_like(means, math.log(0.5)))
    assert float(terms(made(DIPII), code)["dip"]) == pytest.approx(0, abs=1e-10)
    assert float(terms(made(DIPI), code)["dip"]) == pytest.approx(2 * 5 * 0.5**2)


# MMD


def mean_rbf(units: int, variance: float, shift: float) -> float:
    """E exp(-|d|²/2h²) for d ~ N(shift, variance · I), with h² = units."""
    width = units + variance
    return (units / width) ** (units / 2) * math.exp(-units * shift**2 / (2 * width))


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (0.5, 0.0), (1.5, 0.7)])
def test_mmd_of_two_gaussians_is_the_closed_form_and_unbiased(scale: float, shift: float) -> None:
    units, noise = 4, seeded()
    exact = (
        mean_rbf(units, 2 * scale**2, 0) + mean_rbf(units, 2, 0) - 2 * mean_rbf(units, scale**2 + 1, shift)
    )

    estimates = torch.stack(
        [
            squared_mmd(
                shift + scale * torch.randn(8, units, generator=noise),
                torch.randn(8, units, generator=noise),
                rbf,
            )
            for _ in range(1500)
        ]
    )
    error = float(estimates.std()) / math.sqrt(len(estimates))
    assert float(estimates.mean()) == pytest.approx(exact, abs=3 * error)
    assert error < 0.01
    if not shift and scale == 1:
        assert exact == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("kernel", "of"),
    [(rbf, lambda d2: math.exp(-d2 / 6)), (imq, lambda d2: 6 / (6 + d2))],
)
def test_mmd_is_the_direct_double_sum(kernel: Any, of: Callable[[float], float]) -> None:
    a, b = torch.randn(2, 7, 3, generator=seeded(), dtype=torch.float64)

    def mean(x: Tensor, y: Tensor, pairs: list[tuple[int, int]]) -> float:
        return sum(of(float((x[i] - y[j]).square().sum())) for i, j in pairs) / len(pairs)

    everything = list(itertools.product(range(7), repeat=2))
    others = [(i, j) for i, j in everything if i != j]
    expected = mean(a, a, others) + mean(b, b, others) - 2 * mean(a, b, everything)
    assert float(squared_mmd(a, b, kernel)) == pytest.approx(expected)


def test_mmd_weights_a_share_of_the_kl_and_the_distance() -> None:
    code = some_code()
    found = terms(made(MMD, kl_weight=2.0), code)
    torch.testing.assert_close(found["penalty"], 2 * (0.5 * found["kl"] + 100 * found["mmd"]))
    noise = seeded()
    z, prior = code.sample(noise), torch.randn(64, UNITS, generator=noise)
    torch.testing.assert_close(found["mmd"], squared_mmd(z, prior, rbf))
    alone = terms(made(MMD, kl_share=0.0), code)
    torch.testing.assert_close(alone["penalty"], 100 * alone["mmd"])


# All of them


@pytest.mark.parametrize(
    "settings",
    [
        (KL, {}),
        (KL, {"schedule": "cyclical", "schedule_epochs": 0.04}),
        (KL, {"free_bits": 0.5}),
        (KL, {"capacity": 2.0, "capacity_epochs": 0.05}),
        (KL, {"target": 1.5}),
        (TC, {}),
        (TC, {"target": 1.5}),
        (DIPI, {}),
        (DIPII, {"capacity": 2.0}),
        (MMD, {}),
        (MMD, {"kernel": "imq", "kl_share": 0.0}),
    ],
    ids=str,
)
def test_replayed_steps_equal_called_ones(settings: tuple[type[Weighted], dict[str, Any]]) -> None:
    kind, changes = settings

    def run(repeat: Callable[[Callable[[], None]], Callable[[], None]]) -> list[Tensor]:
        training = Training(made(kind, **changes))
        repeated, seen = repeat(training.step), []
        for _ in range(9):
            repeated()
            seen += [value.clone() for value in training.seen.values()]
        return [*seen, *training.state()]

    lane = TapeLane()
    called, replayed = run(lambda step: step), run(lambda step: Repeated(step, lane))
    assert lane.replays == 5
    for a, b in zip(called, replayed, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch", [1, 2])
def test_codes_at_their_ends_and_small_batches_give_finite_terms_and_slopes(
    kind: type[Weighted], batch: int
) -> None:
    log_variance = torch.tensor([-30.0, 5.0, 0.0]).expand(batch, 3).clone().requires_grad_()
    code = Gaussian(torch.zeros(batch, 3).requires_grad_(), log_variance)
    found = terms(made(kind), code)
    slopes = torch.autograd.grad(found["penalty"], (code.mean, log_variance))
    assert all(value.isfinite().all() for value in (*found.values(), *slopes))
    assert all(term.shape == () for term in found.values())
    assert all(term.dtype == torch.float32 for term in found.values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_code_with_axes_counts_as_its_units(kind: type[Weighted]) -> None:
    code = some_code(batch=8, units=12)
    spatial = Gaussian(code.mean.view(8, 3, 2, 2), code.log_variance.view(8, 3, 2, 2))
    flat, shaped = (terms(made(kind), each) for each in (code, spatial))
    assert list(flat) == list(shaped)
    for name, term in flat.items():
        torch.testing.assert_close(shaped[name], term)


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_is_random_comes_from_the_given_noise(kind: type[Weighted]) -> None:
    before = torch.get_rng_state()
    one, other = (terms(made(kind), some_code()) for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)
    torch.manual_seed(0)
    some_code()
    after = torch.get_rng_state()
    terms(made(kind), some_code())
    assert torch.equal(torch.get_rng_state(), after)
    torch.set_rng_state(before)


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (KL, {"target": 20.0, "schedule": "linear"}, "target=20 .*schedule=linear"),
        (KL, {"target": 20.0, "kl_weight": 0.0}, "target=20 .*kl_weight"),
        (KL, {"target": 20.0, "free_bits": 0.5}, "free_bits=0.5 and target=20 exclude each other"),
        (KL, {"capacity": 25.0, "free_bits": 0.5}, "free_bits=0.5 and capacity=25 exclude each other"),
        (DIPI, {"capacity": 25.0, "target": 20.0}, "capacity=25 and target=20 exclude each other"),
        (MMD, {"target": 20.0, "kl_share": 0.0}, "kl_share=0"),
        (KL, {"kl_weight": -1.0}, "kl_weight=-1.0 is not at least 0"),
        (KL, {"schedule_epochs": 0.0}, "schedule_epochs=0.0 is not above 0"),
        (KL, {"capacity": 5.0, "capacity_epochs": 0.0}, "capacity_epochs=0.0 is not above 0"),
        (KL, {"free_bits": math.nan}, "free_bits=nan"),
        (TC, {"target": 0.0}, "target=0.0"),
        (TC, {"tc_weight": -2.0}, "tc_weight=-2.0"),
        (TC, {"data_size": 0}, "data_size=0"),
        (DIPII, {"off_diagonal_weight": math.inf}, "off_diagonal_weight=inf"),
        (MMD, {"weight": -1.0}, "weight=-1.0"),
    ],
)
def test_nonsense_is_refused_in_one_line(kind: type[Weighted], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        made(kind, **changes)
    assert "\n" not in str(caught.value)
