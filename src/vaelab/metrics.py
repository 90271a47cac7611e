"""Pure functions of tensors that measure images and latents."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

CEILING = 100.0  # dB that identical images get, so that a mean of PSNRs stays finite
ACTIVE = 0.01  # a unit is active when its posterior mean varies by more (Burda et al. 2016, section 5.2)

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2
PIXELS_AT_ONCE = 2**16  # what is computed from one piece then stays in the cache


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


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) ‖ N(0, 1)) of each dimension in nats (Kingma & Welling 2014, appendix B)."""
    return 0.5 * (mean.square() + log_variance.exp() - log_variance - 1)
