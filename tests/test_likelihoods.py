"""Likelihoods against torch.distributions, direct sums and integrals."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Independent, Normal
from torch.distributions import ContinuousBernoulli as TorchContinuousBernoulli
from torch.distributions import Laplace as TorchLaplace

from tests.tape import TapeLane
from vaelab.losses import densities, likelihoods
from vaelab.losses.likelihoods import DiscretizedLogistic, Likelihood
from vaelab.training.capture import Repeated

SHAPE = (3, 8, 10)
PIXELS = math.prod(SHAPE)
ALL: dict[str, Callable[[], Likelihood]] = {
    "bernoulli": likelihoods.Bernoulli,
    "continuous_bernoulli": likelihoods.ContinuousBernoulli,
    "gaussian": lambda: likelihoods.Gaussian(0.3),
    "gaussian_learned": likelihoods.GaussianLearned,
    "laplace": lambda: likelihoods.Laplace(0.2),
    "discretized_logistic": DiscretizedLogistic,
}
LEARNED = ("gaussian_learned", "discretized_logistic")


@pytest.fixture
def pictures() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randint(256, (5, *SHAPE)) / 255, torch.rand(5, *SHAPE)


def one_pixel(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).view(-1, 1, 1, 1)


def with_scale(scale: float) -> DiscretizedLogistic:
    likelihood = DiscretizedLogistic().eval()
    likelihood.log_scale.fill_(math.log(scale))
    return likelihood


def test_a_bernoulli_is_that_of_torch_on_binary_images(pictures: tuple[Tensor, Tensor]) -> None:
    images, means = pictures[0].round(), pictures[1]
    expected = -Independent(Bernoulli(means), 3).log_prob(images)
    torch.testing.assert_close(likelihoods.Bernoulli().nll(images, means), expected)


def test_gaussian_and_laplace_are_those_of_torch(pictures: tuple[Tensor, Tensor]) -> None:
    x, mean = pictures
    gaussian = -Independent(Normal(mean, 0.3), 3).log_prob(x)
    torch.testing.assert_close(likelihoods.Gaussian(0.3).nll(x, mean), gaussian)
    laplace = -Independent(TorchLaplace(mean, 0.3), 3).log_prob(x)
    torch.testing.assert_close(likelihoods.Laplace(0.3).nll(x, mean), laplace)


def test_a_continuous_bernoulli_is_that_of_torch(pictures: tuple[Tensor, Tensor]) -> None:
    x, parameter = (picture.double() for picture in pictures)
    expected = -Independent(TorchContinuousBernoulli(parameter), 3).log_prob(x)
    torch.testing.assert_close(likelihoods.ContinuousBernoulli().nll(x, parameter), expected)


@pytest.mark.parametrize("parameter", [1e-12, 0.01, 0.3, 0.374, 0.376, 0.4999, 0.5, 0.51, 0.9, 0.9999])
def test_a_continuous_bernoulli_integrates_to_one(parameter: float) -> None:
    places = 200_000
    x = (torch.arange(places, dtype=torch.float64) + 0.5).view(-1, 1, 1, 1) / places
    nll = likelihoods.ContinuousBernoulli().nll(x, one_pixel(parameter))
    assert float(torch.exp(-nll).mean()) == pytest.approx(1, abs=1e-7)


def test_the_normaliser_of_a_continuous_bernoulli_and_its_slope_are_smooth_at_one_half() -> None:
    y = torch.tensor([-0.9, -0.2501, -0.2499, -1e-3, 1e-12, 0.0, 1e-5, 0.2499, 0.2501, 0.9]).double()
    parameter = ((1 - y) / 2).requires_grad_()
    log_c = densities.log_normaliser(parameter)
    (slope,) = torch.autograd.grad(log_c.sum(), parameter)
    y = (1 - 2 * parameter).detach()
    small = y.abs() < 1e-2
    safe = torch.where(small, 0.5, y)
    expected = torch.where(small, 2 * (1 + y**2 / 3 + y**4 / 5), 2 * torch.atanh(safe) / safe).log()
    torch.testing.assert_close(log_c.detach(), expected, rtol=1e-8, atol=1e-8)
    of_y = torch.where(small, 2 * y / 3 + 26 * y**3 / 45, 1 / ((1 - safe**2) * torch.atanh(safe)) - 1 / safe)
    torch.testing.assert_close(slope, -2 * of_y, rtol=1e-6, atol=1e-6)
    in_float32 = densities.log_normaliser(parameter.detach().float())
    torch.testing.assert_close(in_float32.double(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-4, 1e-3, 0.01, 0.1, 1.0, 100.0])
@pytest.mark.parametrize("mean", [0.0, 1e-6, 0.3, 0.5, 0.9999, 1.0])
def test_a_discretized_logistic_sums_to_one_over_the_levels(mean: float, scale: float) -> None:
    # In float32 the place of a bin's end is known to 3e-8, which is 3e-4 of the smallest scale.
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 3e-4)):
        levels = (torch.arange(256, dtype=dtype) / 255).view(-1, 1, 1, 1)
        nll = with_scale(scale).to(dtype).nll(levels, torch.full((1, 1, 1, 1), mean, dtype=dtype))
        assert nll.isfinite().all()
        assert (nll > -1e-6).all()
        assert float(torch.exp(-nll.double()).sum()) == pytest.approx(1, abs=tolerance)


def test_a_discretized_logistic_is_the_difference_of_sigmoids() -> None:
    levels, mean, scale = torch.arange(256).double(), 0.4, 0.05
    upper = torch.sigmoid(((levels + 0.5) / 255 - mean) / scale)
    lower = torch.sigmoid(((levels - 0.5) / 255 - mean) / scale)
    upper[-1], lower[0] = 1, 0
    found = with_scale(scale).nll((levels / 255).view(-1, 1, 1, 1), one_pixel(mean))
    torch.testing.assert_close(found, -torch.log(upper - lower), rtol=1e-6, atol=1e-6)


def test_far_out_a_discretized_logistic_falls_by_the_distance_over_the_scale() -> None:
    near, far = with_scale(1e-3).nll(torch.tensor([0.4, 0.8]).view(2, 1, 1, 1), torch.zeros(1, 1, 1, 1))
    assert float(far - near) == pytest.approx(400, rel=1e-5)


def test_a_uniform_pixel_has_eight_bits_and_no_logistic_codes_it_in_fewer() -> None:
    assert densities.bits_per_dim(PIXELS * math.log(256), PIXELS) == pytest.approx(8)
    levels = (torch.arange(256) / 255).view(-1, 1, 1, 1)
    bits = [
        densities.bits_per_dim(float(with_scale(scale).nll(levels, torch.full((1, 1, 1, 1), mean)).mean()), 1)
        for mean in (0.2, 0.5, 0.8)
        for scale in (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
    ]
    assert 8 < min(bits) < 8.3


def test_a_learned_scale_is_the_one_of_the_errors_and_is_kept_for_held_out_images() -> None:
    torch.manual_seed(0)
    likelihood, means = DiscretizedLogistic().train(), torch.full((64, 1, 16, 16), 0.5)

    def images(scale: float) -> Tensor:
        uniform = torch.rand(means.shape).clamp(1e-6, 1 - 1e-6)
        return ((means + scale * torch.logit(uniform)) * 255).round().clamp(0, 255) / 255

    for scale in (0.05, 0.01, 0.1):
        for _ in range(80):
            likelihood.nll(images(scale), means)
        assert math.exp(float(likelihood.log_scale)) == pytest.approx(scale, rel=0.03)
    assert likelihood.variance("sum", 256) == pytest.approx(math.pi**2 / 3 * 0.1**2, rel=0.06)
    likelihood.eval()
    before, held_out = likelihood.log_scale.clone(), images(0.1)
    found = likelihood.nll(held_out, means)
    assert torch.equal(likelihood.log_scale, before)
    around = [with_scale(0.1 * factor).nll(held_out, means).mean() for factor in (0.8, 1.25)]
    assert all(found.mean() < other for other in around)


def test_a_learned_scale_begins_with_that_of_the_first_errors_and_keeps_to_its_range() -> None:
    perfect = torch.rand(4, *SHAPE).mul(255).round() / 255
    likelihood = DiscretizedLogistic().train()
    for _ in range(300):
        nll = likelihood.nll(perfect, perfect).detach()
    assert math.exp(float(likelihood.log_scale)) == pytest.approx(1e-4)
    assert float(nll.abs().max()) < 1e-3  # a pixel that is met exactly costs nothing
    assert DiscretizedLogistic().eval().nll(perfect, perfect).isnan().all()


def test_a_learned_sigma_is_the_best_one_and_is_kept_for_held_out_images(
    pictures: tuple[Tensor, Tensor],
) -> None:
    x, mean = pictures
    likelihood = likelihoods.GaussianLearned().train()
    best = likelihood.nll(x, mean).mean()
    assert all(best <= likelihoods.Gaussian(s).nll(x, mean).mean() for s in (0.3, 0.4, 0.5))
    likelihood.nll(x, mean.sqrt())
    kept = likelihood.eval().variance("sum", PIXELS)
    expected = likelihoods.Gaussian(kept**0.5).nll(x, mean)
    torch.testing.assert_close(likelihood.nll(x, mean), expected)
    assert likelihood.variance("sum", PIXELS) == kept


@pytest.mark.parametrize("name", ALL)
def test_values_and_slopes_are_finite_at_the_edges(name: str) -> None:
    for target in (0.0, 128 / 255, 1.0):
        logits = torch.tensor([-200.0, -60.0, 0.0, 60.0, 200.0]).view(5, 1, 1, 1).requires_grad_()
        means = torch.sigmoid(logits)
        nll = ALL[name]().train().nll(torch.full_like(logits, target), means)
        (slope,) = torch.autograd.grad(nll.sum(), logits)
        assert nll.isfinite().all()
        assert slope.isfinite().all()


@pytest.mark.parametrize("name", ALL)
def test_what_is_not_a_number_stays_so(name: str) -> None:
    means = torch.full((1, 1, 1, 1), torch.nan)
    assert ALL[name]().train().nll(torch.zeros(1, 1, 1, 1), means).isnan().all()


@pytest.mark.parametrize("name", ALL)
def test_a_leading_axis_passes_through(name: str, pictures: tuple[Tensor, Tensor]) -> None:
    x, p = pictures
    draws = torch.stack([p, p.flip(0), p.sqrt()])
    likelihood = ALL[name]().train()
    likelihood.nll(x, p)
    likelihood.eval()
    torch.testing.assert_close(
        likelihood.nll(x, draws), torch.stack([likelihood.nll(x, draw) for draw in draws])
    )


def test_the_mean_convention_averages_each_error_over_the_pixels(pictures: tuple[Tensor, Tensor]) -> None:
    x, mean = pictures
    expected = {
        "bernoulli": torch.nn.functional.binary_cross_entropy(mean, x),
        "gaussian": torch.nn.functional.mse_loss(mean, x),
        "laplace": torch.nn.functional.l1_loss(mean, x),
    }
    for name, error in expected.items():
        torch.testing.assert_close(ALL[name]().mean_error(x, mean).mean(), error)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("name", ["bernoulli", "continuous_bernoulli", "gaussian", "laplace"])
def test_the_variance_makes_both_conventions_one_objective(
    name: str, reduction: likelihoods.Reduction, pictures: tuple[Tensor, Tensor]
) -> None:
    x, mean = pictures[0], pictures[1].requires_grad_()
    likelihood = ALL[name]()
    of_unit = {"gaussian": likelihoods.Gaussian(1.0), "laplace": likelihoods.Laplace(1.0)}
    loss = likelihood.nll(x, mean) if reduction == "sum" else likelihood.mean_error(x, mean)
    # A Laplace in nats of a unit-variance Gaussian has its variance, 2 · scale², in common with it, not its shape.
    shape = {"laplace": 2 * (0.2 if reduction == "sum" else 1.0)}.get(name, 1.0)
    reference = of_unit.get(name, likelihood).nll(x, mean) * shape
    found, expected = (
        torch.autograd.grad(objective.sum(), mean)[0]
        for objective in (loss * likelihood.variance(reduction, PIXELS), reference)
    )
    torch.testing.assert_close(found, expected)


def test_the_variance_of_a_pixel_is_that_of_torch() -> None:
    assert likelihoods.Laplace(0.2).variance("sum", 9) == pytest.approx(
        float(TorchLaplace(0.0, 0.2).variance)
    )
    assert likelihoods.Gaussian(0.2).variance("mean_signed", 800) == 100


def test_nonsense_is_refused() -> None:
    x = torch.zeros(1, 1, 1, 1)
    for name in LEARNED:
        with pytest.raises(ValueError, match="reduction=mean"):
            ALL[name]().mean_error(x, x)
        with pytest.raises(ValueError, match="reduction=mean"):
            ALL[name]().variance("mean", 1)
    for name in ("bernoulli", "continuous_bernoulli", "laplace"):
        with pytest.raises(ValueError, match="take likelihood=gaussian"):
            ALL[name]().variance("mean_signed", 1)
    with pytest.raises(ValueError, match="sigma=0"):
        likelihoods.Gaussian(0.0)
    with pytest.raises(ValueError, match="scale=-1"):
        likelihoods.Laplace(-1.0)


def test_all_are_buildable_and_say_what_they_are() -> None:
    made = [make() for make in ALL.values()]
    assert {type(likelihood) for likelihood in made} == set(likelihoods.BUILDABLE)
    assert len({likelihood.words for likelihood in made}) == len(made)
    assert [likelihood.words for likelihood in made if likelihood.discrete] == ["discretized logistic"]


@pytest.mark.parametrize("name", LEARNED)
def test_replayed_steps_equal_called_ones(name: str) -> None:
    def run(repeat: Callable[[Callable[[], None]], Callable[[], None]]) -> tuple[list[Tensor], Tensor]:
        noise = torch.Generator().manual_seed(0)
        likelihood, images, logits = ALL[name]().train(), torch.zeros(4, *SHAPE), torch.zeros(1, *SHAPE)
        logits.requires_grad_()
        loss = torch.zeros(())

        def step() -> None:
            nll = likelihood.nll(images, torch.sigmoid(logits).expand_as(images)).mean()
            (slope,) = torch.autograd.grad(nll, logits)
            loss.copy_(nll.detach())
            logits.detach().sub_(0.01 * slope)

        repeated, seen = repeat(step), []
        for _ in range(8):
            images.copy_(torch.rand(images.shape, generator=noise))
            repeated()
            seen.append(loss.clone())
        return [*seen, *likelihood.state_dict().values()], logits.detach()

    lane = TapeLane()
    called, replayed = run(lambda step: step), run(lambda step: Repeated(step, lane))
    assert lane.replays == 4
    for a, b in zip((*called[0], called[1]), (*replayed[0], replayed[1]), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("name", LEARNED)
def test_a_state_continues_bit_for_bit(name: str, pictures: tuple[Tensor, Tensor]) -> None:
    x, mean = pictures
    one, other = ALL[name]().train(), ALL[name]().train()
    for _ in range(3):
        one.nll(x, mean)
    other.load_state_dict(one.state_dict())
    for _ in range(3):
        assert torch.equal(one.nll(x, mean.square()), other.nll(x, mean.square()))
