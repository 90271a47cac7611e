"""Pure functions of tensors that measure images and latents."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from vaelab.quantities import Quantity

MSE = Quantity("mse", "MSE", better="lower", of="images", shown="report")
PSNR = Quantity("psnr", "PSNR", "dB", digits=2, better="higher", of="images", shown="always")
SSIM = Quantity("ssim", "SSIM", digits=3, better="higher", of="images", shown="always")

CEILING = 100.0  # dB that identical images get, so that a mean of PSNRs stays finite
ACTIVE = 0.01  # a unit is active when its posterior mean varies by more (Burda et al. 2016, section 5.2)

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2
MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, section 3.2
LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601
PIXELS_AT_ONCE = 2**16  # what is computed from one piece then stays in the cache


def of_images(x: Tensor, y: Tensor, structure: bool = True) -> dict[str, Tensor]:
    """MSE and PSNR of each image by name, (..., C, H, W) twice to (...), and SSIM where images are large enough."""
    found = {MSE.name: mse(x, y), PSNR.name: psnr(x, y)}
    if structure and min(x.shape[-2:]) >= WINDOW:
        found[SSIM.name] = ssim(x, y)
    return found


@torch.no_grad()
def mse(x: Tensor, y: Tensor) -> Tensor:
    """Mean squared error of each image: (..., C, H, W) twice to (...)."""
    return _by_plane(lambda a, b: (a - b).square_().flatten(-2).mean(-1), x, y)


def psnr(x: Tensor, y: Tensor) -> Tensor:
    """10 log10(1 / MSE) of each image in [0, 1], at most 100 dB: (..., C, H, W) twice to (...) in dB."""
    return -10 * mse(x, y).clamp_min(10 ** (-CEILING / 10)).log10()


@torch.no_grad()
def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity of each image in [0, 1]: (..., C, H, W) twice to (...) (Wang et al. 2004, equation 13).

    Gaussian window of 11×11 with σ = 1.5, population covariance, only windows that lie inside the image, mean over
    the channels; raises ValueError for images with a side under 11 pixels.
    """
    height, width = x.shape[-2:]
    if min(height, width) < WINDOW:
        raise ValueError(f"SSIM needs images of {WINDOW}×{WINDOW} or more, these are {height}×{width}")
    return _by_plane(_ssim, x, y)


@torch.no_grad()
def ms_ssim(x: Tensor, y: Tensor) -> Tensor:
    """Multi-scale structural similarity in [0, 1]: (..., C, H, W) twice to (...) (Wang et al. 2003, equation 7).

    Each scale's term is a mean over windows and channels. Five scales, halved by means of 2×2 pixels. Where a scale is
    smaller than the window, the window shrinks to its shorter side, and its sigma with it, as in the TensorFlow code
    of the time of Odena et al. 2017; an image's term of a scale counts as 0 where it is negative.
    """
    shape = x.shape[:-2]
    a, b = (t.double().reshape(-1, 1, *t.shape[-2:]) for t in (x, y))
    result = a.new_ones(shape[:-1])
    for scale, weight in enumerate(MS_SSIM_WEIGHTS):
        if scale:
            a, b = (F.avg_pool2d(t, 2, ceil_mode=True) for t in (a, b))
        luminance, structure = _luminance_and_structure(a, b)
        last = scale == len(MS_SSIM_WEIGHTS) - 1
        term = (luminance * structure if last else structure).flatten(1).mean(1)
        term = term.reshape(shape).mean(-1)  # the channels
        result = result * term.clamp_min(0) ** weight
    return result.float()


def _luminance_and_structure(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The two factors of SSIM at each window: planes (N, 1, H, W) twice to (N, 1, h, w) twice."""
    window = min(WINDOW, *a.shape[-2:])
    offsets = torch.arange(window, device=a.device, dtype=a.dtype) - (window - 1) / 2
    weights = torch.exp(-0.5 * (offsets / (SIGMA * window / WINDOW)) ** 2)
    column = (weights / weights.sum()).view(1, 1, -1, 1)
    row = column.transpose(-2, -1)

    def mean(t: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(t, column), row)

    mean_a, mean_b = mean(a), mean(b)
    variances = mean(a * a) - mean_a**2 + mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + C1) / (mean_a**2 + mean_b**2 + C1)
    return luminance, (2 * covariance + C2) / (variances + C2)


@torch.no_grad()
def sharpness(x: Tensor) -> Tensor:
    """Variance of the Laplacian of the luminance, inside pixels only: (..., C, H, W) in [0, 1] to (...)."""
    x = x.float()
    if x.shape[-3] == 3:
        x = (x * x.new_tensor(LUMINANCE).view(3, 1, 1)).sum(-3, keepdim=True)
    # Sums instead of a convolution, which on a GPU may compute in TF32: the Laplacian is a small difference.
    inside, beside = x[..., 1:-1, 1:-1], x[..., 1:-1, :-2] + x[..., 1:-1, 2:]
    laplacian = beside + x[..., :-2, 1:-1] + x[..., 2:, 1:-1] - 4 * inside
    return laplacian.flatten(-3).var(-1, correction=0)


def _by_plane(measure: Callable[[Tensor, Tensor], Tensor], x: Tensor, y: Tensor) -> Tensor:
    """Measures planes (N, H, W) to (N,), piece by piece, and averages the channels: (..., C, H, W) twice to (...)."""
    height, width = x.shape[-2:]
    count = max(1, PIXELS_AT_ONCE // (height * width))
    pieces = (t.float().reshape(-1, height, width).split(count) for t in (x, y))
    return torch.cat([measure(a, b) for a, b in zip(*pieces, strict=True)]).reshape(x.shape[:-2]).mean(-1)


def _ssim(x: Tensor, y: Tensor) -> Tensor:
    """(N, H, W) twice to (N,)."""
    count, height, width = x.shape
    maps = x.new_empty(4, height, width, count)  # planes last: a depthwise convolution is fastest that way
    a, b, squares, product = maps
    a.copy_(x.permute(1, 2, 0))
    b.copy_(y.permute(1, 2, 0))
    torch.mul(a, a, out=squares).addcmul_(b, b)
    torch.mul(a, b, out=product)
    mean_x, mean_y, mean_squares, mean_product = _window_means(maps)
    # In place, so that the pieces stay small enough for the allocator to reuse their memory.
    product_of_means = mean_x * mean_y
    squares_of_means = mean_x.square_().addcmul_(mean_y, mean_y)
    covariance = mean_product.sub_(product_of_means)
    variances = mean_squares.sub_(squares_of_means)
    numerator = covariance.mul_(2).add_(C2).mul_(product_of_means.mul_(2).add_(C1))
    return numerator.div_(variances.add_(C2).mul_(squares_of_means.add_(C1))).mean((0, 1))


def _window_means(maps: Tensor) -> Tensor:
    """Gaussian means over the windows that lie inside the maps: (4, H, W, N) to (4, H - 10, W - 10, N)."""
    offsets = torch.arange(WINDOW, device=maps.device) - WINDOW // 2
    weights = torch.exp(-0.5 * (offsets / SIGMA) ** 2)
    column = (weights / weights.sum()).view(1, 1, -1, 1).expand(maps.shape[-1], 1, -1, 1)
    # Variances are small differences of these means, so no reduced precision: neither cuDNN's TF32 nor autocast.
    with torch.backends.cudnn.flags(enabled=False), torch.autocast(maps.device.type, enabled=False):
        means = F.conv2d(maps.permute(0, 3, 1, 2), column, groups=maps.shape[-1])
        means = F.conv2d(means, column.transpose(-2, -1), groups=maps.shape[-1])
    return means.permute(0, 2, 3, 1)
