"""Metrics against scikit-image, torch.distributions and closed forms."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from scipy.signal import convolve2d
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from vaelab import metrics


def reference(x: Tensor, y: Tensor) -> tuple[list[float], list[float]]:
    """PSNR and SSIM of each image (C, H, W) by scikit-image, as the project defines them."""
    pairs = [
        (a.movedim(0, -1).double().numpy(), b.movedim(0, -1).double().numpy())
        for a, b in zip(x, y, strict=True)
    ]
    psnr = [peak_signal_noise_ratio(a, b, data_range=1) for a, b in pairs]
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    return psnr, [structural_similarity(a, b, channel_axis=-1, **options) for a, b in pairs]


def noisy(images: Tensor, amount: float) -> Tensor:
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    return (images + amount * noise).clamp(0, 1)


def assert_agrees(x: Tensor, y: Tensor) -> None:
    psnr, ssim = reference(x, y)
    torch.testing.assert_close(metrics.psnr(x, y), torch.tensor(psnr, dtype=torch.float32), atol=1e-4, rtol=0)
    torch.testing.assert_close(metrics.ssim(x, y), torch.tensor(ssim, dtype=torch.float32), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "shape", [(5, 1, 28, 28), (3, 3, 64, 64), (2, 3, 11, 17), (1, 1, 200, 180), (40, 3, 50, 50)]
)
@pytest.mark.parametrize("amount", [0.02, 0.3])
def test_agrees_with_scikit_image_on_random_images(shape: tuple[int, ...], amount: float) -> None:
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    assert_agrees(x, noisy(x, amount))
    assert_agrees(x.contiguous(memory_format=torch.channels_last), noisy(x, amount))


def test_agrees_with_scikit_image_on_real_gray_images(shared_data: Path) -> None:
    with np.load(shared_data / "tibetan_mnist" / "TibetanMNIST.npz", allow_pickle=False) as arrays:
        x = torch.from_numpy(arrays["image"][::1000]).float()[:, None] / 255
    assert_agrees(x, noisy(x, 0.1))
    assert_agrees(x, torch.nn.functional.avg_pool2d(x, 3, stride=1, padding=1))


def test_agrees_with_scikit_image_on_real_colour_images(shared_data: Path) -> None:
    with zipfile.ZipFile(shared_data / "anime" / "anime_tagged_6k.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")][:6]
        pictures = [np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB")) for name in names]
    x = torch.from_numpy(np.stack(pictures)).movedim(-1, 1).float() / 255
    assert_agrees(x, noisy(x, 0.1))
    assert_agrees(x, torch.nn.functional.avg_pool2d(x, 3, stride=1, padding=1))


def test_pieces_do_not_change_the_values(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.rand(7, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    y = noisy(x, 0.1)
    whole = metrics.ssim(x, y), metrics.mse(x, y)
    monkeypatch.setattr(metrics, "PIXELS_AT_ONCE", 1)
    torch.testing.assert_close((metrics.ssim(x, y), metrics.mse(x, y)), whole)


def test_leading_axes_pass_through() -> None:
    x = torch.rand(2, 5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    y = noisy(x, 0.1)
    for metric in (metrics.mse, metrics.psnr, metrics.ssim):
        assert metric(x, y).shape == (2, 5)
        torch.testing.assert_close(metric(x, y)[1], metric(x[1], y[1]))


def test_closed_forms() -> None:
    x = torch.full((2, 1, 12, 12), 0.5)
    y = x + torch.tensor([0.1, 0.0]).view(2, 1, 1, 1)
    torch.testing.assert_close(metrics.mse(x, y), torch.tensor([0.01, 0.0]))
    # Identical images have an infinite PSNR, which the ceiling keeps out of means.
    torch.testing.assert_close(metrics.psnr(x, y), torch.tensor([20.0, 100.0]), atol=1e-4, rtol=0)
    luminance = (2 * 0.5 * 0.6 + 1e-4) / (0.5**2 + 0.6**2 + 1e-4)
    torch.testing.assert_close(metrics.ssim(x, y), torch.tensor([luminance, 1.0]), atol=1e-4, rtol=0)


def test_ssim_refuses_images_smaller_than_its_window() -> None:
    x = torch.zeros(1, 1, 10, 32)
    with pytest.raises(ValueError, match="11×11 or more, these are 10×32"):
        metrics.ssim(x, x)


@pytest.mark.parametrize("channels", [1, 3])
def test_ms_ssim_agrees_with_torchmetrics(channels: int) -> None:
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as reference

    torch.manual_seed(0)
    x = F.avg_pool2d(torch.rand(3, channels, 192, 192), 5, 1, 2)
    y = (x + 0.1 * torch.rand_like(x)).clamp(0, 1)
    expected = reference(y, x, data_range=1.0, reduction="none", normalize="relu")
    torch.testing.assert_close(metrics.ms_ssim(x, y), expected, rtol=0, atol=1e-4)


def plain_ms_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """MS-SSIM of two images (C, H, W), window by window in float64, with one window that shrinks with the image."""
    result = 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        window = min(11, *x.shape[1:])
        at = np.arange(window) - (window - 1) / 2
        gauss = np.exp(-(at[:, None] ** 2 + at**2) / (2 * (1.5 * window / 11) ** 2))
        gauss /= gauss.sum()

        def mean(planes: np.ndarray, gauss: np.ndarray = gauss) -> np.ndarray:
            return np.stack([convolve2d(plane, gauss, mode="valid") for plane in planes])

        variances = mean(x * x) - mean(x) ** 2 + mean(y * y) - mean(y) ** 2
        term = (2 * (mean(x * y) - mean(x) * mean(y)) + 0.03**2) / (variances + 0.03**2)
        if scale == 4:
            term = term * (2 * mean(x) * mean(y) + 0.01**2) / (mean(x) ** 2 + mean(y) ** 2 + 0.01**2)
        result *= max(0, term.mean()) ** weight
        x, y = (zoomed_out(planes) for planes in (x, y))
    return result


def zoomed_out(planes: np.ndarray) -> np.ndarray:
    """Means of 2×2 pixels; a last odd row or column is taken twice."""
    even = np.pad(planes, [(0, 0), *((0, side % 2) for side in planes.shape[1:])], mode="edge")
    return (even[:, ::2, ::2] + even[:, 1::2, ::2] + even[:, ::2, 1::2] + even[:, 1::2, 1::2]) / 4


@pytest.mark.parametrize(
    "shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 50, 50), (3, 64, 31), (1, 96, 130)]
)
def test_ms_ssim_agrees_with_a_plain_implementation(shape: tuple[int, ...]) -> None:
    x = F.avg_pool2d(torch.rand(3, *shape, generator=torch.Generator().manual_seed(0)), 3, 1, 1)
    y = noisy(x, 0.2)
    expected = [plain_ms_ssim(a.double().numpy(), b.double().numpy()) for a, b in zip(x, y, strict=True)]
    assert 0 < max(expected) < 1
    torch.testing.assert_close(metrics.ms_ssim(x, y), torch.tensor(expected).float(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (50, 50), (64, 31)])
def test_ms_ssim_takes_small_images(size: tuple[int, int]) -> None:
    x = torch.rand(4, 3, *size)
    torch.testing.assert_close(metrics.ms_ssim(x, x), torch.ones(4))
    assert (metrics.ms_ssim(x, 1 - x) == 0).all()  # structure against its negative


def test_ms_ssim_of_flat_images_is_their_luminance() -> None:
    a, b = torch.full((1, 1, 64, 64), 0.3), torch.full((1, 1, 64, 64), 0.6)
    luminance = (2 * 0.3 * 0.6 + 1e-4) / (0.3**2 + 0.6**2 + 1e-4)
    assert metrics.ms_ssim(a, b).item() == pytest.approx(luminance**0.1333, rel=1e-4)


def test_sharpness_agrees_with_scipy_and_falls_with_blur() -> None:
    from scipy.ndimage import gaussian_filter, laplace

    image = np.random.default_rng(0).random((20, 24))
    expected = laplace(image)[1:-1, 1:-1].var()
    assert metrics.sharpness(torch.from_numpy(image)[None]).item() == pytest.approx(expected, rel=1e-4)
    blurred = torch.from_numpy(gaussian_filter(image, 1))[None]
    assert metrics.sharpness(blurred).item() < 0.1 * expected
    colour = torch.from_numpy(image).expand(3, -1, -1)  # gray in three channels
    assert metrics.sharpness(colour).item() == pytest.approx(expected, rel=1e-3)
    red = torch.stack((torch.from_numpy(image), *torch.zeros(2, 20, 24)))  # 0.299 of the luminance
    assert metrics.sharpness(red).item() == pytest.approx(0.299**2 * expected, rel=1e-4)
    assert metrics.sharpness(torch.rand(2, 5, 3, 9, 9)).shape == (2, 5)
    slope = torch.linspace(0, 1, 64).view(8, 1, 8) ** 2  # the Laplacian of a parabola is the same everywhere
    assert metrics.sharpness(slope[:1].expand(1, 9, 8)).item() == pytest.approx(0, abs=1e-12)
