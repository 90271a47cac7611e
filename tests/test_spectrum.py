"""What a linear VAE is predicted to do, against closed forms, its own optimum and facts of real images."""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor

from vaelab import UsageError, metrics, models, spectrum
from vaelab.losses.likelihoods import gaussian_nll
from vaelab.names import CONF, swept_weights
from vaelab.spectrum import Prediction, predict

# The six variances of tests/test_linear_vae.py, where σ² is 0.3 and there are three units.
VARIANCES = np.array([1.7124845, 1.1746867, 0.5283570, 0.09, 0.06, 0.041006])
SIGMA, UNITS = math.sqrt(0.3), 3
NOISE = np.random.default_rng(0)


class Pictures(NamedTuple):
    images: Tensor


def pictures(count: int, *shape: int) -> np.ndarray:
    """Images (N, H, W, C) uint8 with a spectrum that falls."""
    values = math.prod(shape)
    drawn = (
        NOISE.normal(size=(count, values)) / np.arange(1, values + 1) @ NOISE.normal(size=(values, values))
    )
    return (128 + 20 * drawn).clip(0, 255).astype(np.uint8).reshape(count, *shape)


def exact(images: np.ndarray) -> np.ndarray:
    """The eigenvalues of numpy's own covariance, in descending order."""
    flat = images.reshape(len(images), -1) / 255
    return np.linalg.eigvalsh(np.cov(flat.T, bias=True))[::-1]


@pytest.mark.parametrize(
    ("kl_weight", "rate", "negative_elbo"), [(1, 1.836441, 5.55650), (2, 0.860299, 5.96095)]
)
def test_the_figures_that_were_checked_elsewhere(kl_weight: float, rate: float, negative_elbo: float) -> None:
    found = predict(VARIANCES, kl_weight, SIGMA, UNITS)
    assert found.rate == pytest.approx(rate, abs=1e-5)
    assert found.negative_elbo == pytest.approx(negative_elbo, abs=1e-4)


@pytest.mark.parametrize("kl_weight", [0.3, 1, 2.5, 4])
def test_the_curve_falls_by_lambda(kl_weight: float) -> None:
    less, more = (predict(VARIANCES, kl_weight * factor, SIGMA, UNITS) for factor in (1 - 1e-5, 1 + 1e-5))
    slope = (more.distortion - less.distortion) / (more.rate - less.rate)
    assert slope == pytest.approx(-kl_weight, rel=1e-5)


def test_at_lambda_1_the_elbo_is_the_likelihood_of_probabilistic_pca() -> None:
    """-log N(x; μ, WW' + σ²I) in the mean over the images, of which all covariances are diagonal here."""
    model = np.where(np.arange(6) < UNITS, np.maximum(VARIANCES, SIGMA**2), SIGMA**2)
    nll = 0.5 * (np.log(2 * math.pi * model) + VARIANCES / model).sum()
    assert predict(VARIANCES, 1, SIGMA, UNITS).negative_elbo == pytest.approx(nll, abs=1e-12)


def test_the_ends_of_lambda() -> None:
    free, collapsed = (predict(VARIANCES, weight, SIGMA, UNITS) for weight in (0, 100))
    constant = 3 * math.log(2 * math.pi * SIGMA**2)
    left_out, all_of_it = VARIANCES[UNITS:].sum(), VARIANCES.sum()
    assert free == Prediction(0, math.inf, pytest.approx(left_out / 0.6 + constant), UNITS)
    assert collapsed == Prediction(100, 0, pytest.approx(all_of_it / 0.6 + constant), 0)
    assert spectrum.collapse(VARIANCES, SIGMA) == VARIANCES[0] / SIGMA**2
    edge = spectrum.collapse(VARIANCES, SIGMA)
    assert predict(VARIANCES, edge, SIGMA, UNITS).rate == pytest.approx(0, abs=1e-12)
    assert predict(VARIANCES, 0.999 * edge, SIGMA, UNITS).rate > 0


def test_a_unit_whose_mean_hardly_varies_is_not_active() -> None:
    edge = VARIANCES[0] / SIGMA**2
    assert predict(VARIANCES, 0.98 * edge, SIGMA, UNITS).active_units == 1
    assert predict(VARIANCES, 0.995 * edge, SIGMA, UNITS).active_units == 0


@pytest.mark.parametrize("kl_weight", [0.3, 2, 20])
def test_the_networks_own_optimum_does_as_predicted(kl_weight: float) -> None:
    images = pictures(300, 4, 4, 1)
    sigma, units = 0.1, 5
    model = models.linear_vae((1, 4, 4), latent_dim=units, init="pca")
    batch = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    model.initialise([Pictures(batch)], kl_weight * sigma**2)
    with torch.no_grad():
        code = model.encode(batch)
        # What is squared in z has its exact mean at mean ± sqrt(units) · sigma of each unit in turn.
        steps = (math.sqrt(units) * code.variance.sqrt()).unsqueeze(1) * torch.eye(units)
        points = torch.cat((code.mean.unsqueeze(1) + steps, code.mean.unsqueeze(1) - steps), dim=1)
        decoded = model.decode(points.flatten(0, 1)).unflatten(0, points.shape[:2])
        nll = gaussian_nll(batch.unsqueeze(1), decoded, sigma).mean()
    found = predict(spectrum.eigenvalues(images, np.arange(300)), kl_weight, sigma, units)
    assert found.rate == pytest.approx(float(code.kl().sum(1).mean()), abs=1e-4)
    assert found.distortion == pytest.approx(float(nll), abs=1e-3)
    assert found.active_units == int((code.mean.var(0, correction=0) > metrics.ACTIVE).sum())


def test_units_beyond_the_values_of_an_image_stay_unused() -> None:
    assert predict(VARIANCES, 0.01, SIGMA, 50).active_units == 6
    assert spectrum.kl_per_unit(VARIANCES, 0.01, SIGMA, 50).shape == (50,)
    assert np.count_nonzero(spectrum.kl_per_unit(VARIANCES, 0.01, SIGMA, 50)) == 6


@pytest.mark.parametrize("shape", [(4, 5, 1), (3, 4, 3)])
@pytest.mark.parametrize("at_once", [1, 100, 2**23])
def test_pieces_and_both_matrices_have_the_eigenvalues_of_the_covariance(
    shape: tuple[int, ...], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spectrum, "VALUES_AT_ONCE", at_once)
    images = pictures(50, *shape)
    rows = np.flatnonzero(np.arange(50) % 3)
    truth = exact(images[rows])
    np.testing.assert_allclose(spectrum.eigenvalues(images, rows), truth, rtol=0, atol=1e-12)
    flat = images.reshape(50, -1)
    found = np.linalg.eigvalsh(spectrum.gram(flat, rows, np.ones_like))[::-1][:20]
    np.testing.assert_allclose(found, truth[:20], rtol=0, atol=1e-12)


@pytest.mark.parametrize("count", [12, 200])
def test_fewer_images_than_values_leave_zeros_and_noise_is_a_unit_of_its_own(count: int) -> None:
    images, rows = pictures(count, 4, 6, 1), np.arange(count)
    images[:, 0, 0] = 0  # a pixel without noise
    found = spectrum.eigenvalues(images, rows)
    assert found.shape == (24,)
    np.testing.assert_allclose(found, exact(images).clip(0), rtol=0, atol=1e-12)
    flat = images.reshape(count, -1) / 255
    mean = flat.mean(0)
    scaled = np.divide(
        flat - mean, np.sqrt(mean * (1 - mean)), out=np.zeros_like(flat), where=mean * (1 - mean) > 0
    )
    truth = np.linalg.eigvalsh(scaled.T @ scaled / count)[::-1]
    found = spectrum.eigenvalues(images, rows, spectrum.bernoulli_variance)
    np.testing.assert_allclose(found, truth, rtol=0, atol=1e-10)


def test_bernoulli_pixels_collapse_where_their_loss_has_no_slope_any_more() -> None:
    """The loss D + λR of a decoder of logits, at small weights along its best direction, falls below e₁ only."""
    images, rows = pictures(400, 3, 3, 1), np.arange(400)
    edge = spectrum.collapse(spectrum.eigenvalues(images, rows, spectrum.bernoulli_variance), 1)
    x = torch.from_numpy(images.reshape(400, 9) / 255)
    mean = x.mean(0)
    noise = (mean * (1 - mean)).sqrt()
    _, axes = torch.linalg.eigh(((x - mean) / noise).T.cov(correction=0))
    direction, nodes = axes[:, -1], torch.tensor([-math.sqrt(3), 0, math.sqrt(3)], dtype=torch.float64)
    shares = torch.tensor([1, 4, 1], dtype=torch.float64) / 6  # Gauss and Hermite's rule of three points

    def loss(size: float, kl_weight: float) -> float:
        """With decoder weights of this size, and the encoder and its variance at their best for these."""
        variance = kl_weight / (kl_weight + size**2)
        code = (x - mean) / noise @ direction * size / (kl_weight + size**2)
        z = code.unsqueeze(1) + math.sqrt(variance) * nodes
        logits = torch.logit(mean) + size * (direction / noise) * z.unsqueeze(2)
        nll = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, x.unsqueeze(1).expand_as(logits), reduction="none"
        )
        rate = 0.5 * (code**2 + variance - math.log(variance) - 1)
        return float((nll.sum(2) @ shares).mean() + kl_weight * rate.mean())

    assert loss(0.02, 0.9 * edge) < loss(0, 0.9 * edge)
    assert loss(0.02, 1.1 * edge) > loss(0, 1.1 * edge)


def test_a_grid_goes_from_nearly_free_to_collapsed_in_two_digits() -> None:
    found = spectrum.grid(VARIANCES, SIGMA, UNITS, 7)
    assert found == sorted(set(found))
    assert len(found) == 7
    assert all(value == float(f"{value:.2g}") for value in found)
    assert predict(VARIANCES, found[-1], SIGMA, UNITS).rate == 0
    assert found[-1] <= 1.1 * spectrum.collapse(VARIANCES, SIGMA)
    assert predict(VARIANCES, found[-2], SIGMA, UNITS).rate > 0
    assert np.diff(np.log(found)) == pytest.approx(math.log(found[-1] / found[0]) / 6, abs=0.1)
    least = spectrum.nearly_free(VARIANCES, SIGMA, UNITS)
    added = (
        predict(VARIANCES, least, SIGMA, UNITS).distortion - predict(VARIANCES, 0, SIGMA, UNITS).distortion
    )
    assert added * 2 * SIGMA**2 == pytest.approx(0.01 * VARIANCES[:UNITS].sum())


@pytest.mark.parametrize("value", [1.0, 9.4, 9.41, 100.0, 0.0123, 12345.0])
def test_the_last_lambda_is_rounded_up(value: float) -> None:
    (*_, last) = spectrum.grid(np.array([value, value / 2]), 1, 2, 2)
    assert value <= last < 1.1 * value


def test_what_has_no_spectrum_is_refused() -> None:
    same = np.full((5, 2, 2, 1), 7, np.uint8)
    with pytest.raises(UsageError, match="no training image"):
        spectrum.eigenvalues(same, np.arange(0))
    with pytest.raises(UsageError, match="are the same"):
        spectrum.grid(spectrum.eigenvalues(same, np.arange(5)), 1, 2, 7)


def test_a_matrix_that_fits_no_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectrum, "MOST_SIDE", 10)
    with pytest.raises(UsageError, match=r"images of 16 values is too large: use dataset\.size"):
        spectrum.eigenvalues(pictures(20, 4, 4, 1), np.arange(20))


def real(folder: Path, name: str) -> np.ndarray:
    """The spectrum of all images of a real data set, as the facts below were computed."""
    if name == "tibetan_mnist":
        with np.load(folder / "tibetan_mnist" / "TibetanMNIST.npz", allow_pickle=False) as arrays:
            images = arrays["image"].reshape(-1, 28, 28, 1)
    else:
        images = np.load(folder / "eyes" / "data.npy", allow_pickle=False)
    assert images.dtype == np.uint8
    return spectrum.eigenvalues(images, np.arange(len(images)))


@pytest.mark.parametrize(
    # Of eyes the tenth eigenvalue is 4.7: another choice of its images had 10 active units at λ = 5.
    ("name", "edge", "active"),
    [("tibetan_mnist", 11.6, [32, 20, 3, 0]), ("eyes", 109, [32, 27, 9, 1])],
)
def test_real_images_collapse_where_it_was_said(
    name: str, edge: float, active: list[int], shared_data: Path
) -> None:
    eigenvalues = real(shared_data, name)
    assert spectrum.collapse(eigenvalues, 1) == pytest.approx(edge, rel=0.02)
    assert [predict(eigenvalues, weight, 1, 32).active_units for weight in (0.1, 1, 5, 100)] == active


def test_the_table_says_what_a_sweep_without_a_list_would_do() -> None:
    assert swept_weights() == [0, 0.1, 1, 5, 100]
    assert OmegaConf.load(CONF / "data.yaml").latent_dim == OmegaConf.load(CONF / "train.yaml").latent_dim
    lines = spectrum.table([predict(VARIANCES, weight, SIGMA, UNITS) for weight in (0, 1)]).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["0", "∞", "2.22", "∞", "3"],
        ["1", "1.84", "3.72", "5.56", "3"],
    ]
