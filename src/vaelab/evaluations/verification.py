"""Numbers of some test images, computed once more by other libraries than those that measured them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from vaelab import metrics
from vaelab.evaluations.base import Batch, Context, size_of, spread, within
from vaelab.losses.base import RECONSTRUCTION
from vaelab.losses.elbo import KL_TERM
from vaelab.metrics import PSNR, SSIM

IMAGES = 128
TOLERANCE = 1e-3  # of nats relative to their number, which counts as LEAST_NATS at least; of dB and of SSIM as they are
LEAST_NATS = 0.01  # of each unit or value: what is 0 in sum is rounded as its parts are
NATS = ("kl", "reconstruction")
LEAST_MEAN = 1e-12  # torch.distributions keeps probabilities above 2e-16, which vaelab does not
LOST = 1e9  # the difference of a number and none
WORDS = {one.name: one.title for one in (PSNR, SSIM, KL_TERM, RECONSTRUCTION)}


class Verification:
    """Holds PSNR and SSIM to scikit-image, and the KL of a Gaussian code and −log p(x|z) to torch.distributions.

    It is given every batch of the test split in index order, and looks at IMAGES images spread evenly over it.
    """

    def __init__(self, context: Context) -> None:
        self._likelihood = getattr(context.loss, "likelihood", None)
        self._places = spread(size_of(context, "test"), IMAGES)
        self._start = 0
        self._differences: dict[str, list[np.ndarray]] = {}

    @torch.no_grad()
    def add(self, batch: Batch, code: Any, decoded: Tensor, measured: Mapping[str, Tensor]) -> None:
        """Another batch: its codes, what their means decode to, and what was measured of each image (B,)."""
        inside = within(self._places, self._start, batch)
        self._start += len(batch.images)
        images, decoded = batch.images[inside], decoded[inside]
        for name, values in by_scikit_image(images, decoded, measured).items():
            self._compare(name, measured[name][inside], values)
        if (posterior := code.distribution) is not None:
            prior = Normal(torch.zeros_like(posterior.mean), 1.0, validate_args=False)
            theirs = kl_divergence(posterior, prior).flatten(1).sum(1)
            self._compare(
                "kl", code.kl().sum(1)[inside], theirs[inside].cpu().numpy(), prior.mean.shape[1:].numel()
            )
        if self._likelihood is not None:
            mean = decoded.clamp_min(LEAST_MEAN) if self._likelihood.of_means else decoded
            if (density := self._likelihood.distribution(mean)) is not None:
                theirs = -density.log_prob(images.double()).flatten(1).sum(1)
                ours = self._likelihood.nll(images, mean)
                self._compare("reconstruction", ours, theirs.cpu().numpy(), images.shape[1:].numel())

    def facts(self) -> dict[str, Any]:
        """What run.json says under `verified`."""
        return {
            "by": f"scikit-image {version('scikit-image')}, torch.distributions",
            "images": len(self._places),
            "largest_difference": self._largest(),
        }

    def findings(self) -> tuple[str, ...]:
        """A sentence for each number that differs by more than rounding does."""
        return tuple(
            f"{WORDS[name]} is not to be trusted: {'torch.distributions' if name in NATS else 'scikit-image'} has"
            f" another value for some test image, which differs by {largest:.2g}"
            f"{' of it' if name in NATS else ''}"
            for name, largest in self._largest().items()
            if largest > TOLERANCE
        )

    def _compare(self, name: str, ours: Tensor, theirs: np.ndarray, parts: int = 0) -> None:
        """Keeps the differences of numbers (B,); those of nats, which are sums of so many parts, are relative."""
        scale = np.maximum(np.abs(theirs), LEAST_NATS * parts) if parts else 1
        own = ours.double().cpu().numpy()
        with np.errstate(invalid="ignore"):
            difference = np.abs(own - theirs) / scale
        # What is no number for both is none for a reason; for one of them alone it is another value.
        difference[~np.isfinite(own) & ~np.isfinite(theirs)] = 0
        self._differences.setdefault(name, []).append(np.nan_to_num(difference, nan=LOST, posinf=LOST))

    def _largest(self) -> dict[str, float]:
        found = {name: np.concatenate(parts) for name, parts in self._differences.items()}
        return {name: float(values.max()) for name, values in found.items() if len(values)}


def by_scikit_image(images: Tensor, decoded: Tensor, wanted: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """PSNR, and SSIM where it is wanted, of each image (B, C, H, W) in [0, 1] in float64, as vaelab defines them."""
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity  # takes a while to import

    x, y = (t.movedim(1, -1).double().cpu().numpy() for t in (images, decoded))
    pairs = list(zip(x, y, strict=True))
    with np.errstate(divide="ignore"):  # of images without a difference
        ratio = [min(peak_signal_noise_ratio(a, b, data_range=1), metrics.CEILING) for a, b in pairs]
    found = {PSNR.name: np.array(ratio)}
    if SSIM.name not in wanted:
        return found
    as_published = {"gaussian_weights": True, "sigma": metrics.SIGMA, "use_sample_covariance": False}
    alike = [structural_similarity(a, b, channel_axis=-1, data_range=1, **as_published) for a, b in pairs]
    return found | {SSIM.name: np.array(alike)}
