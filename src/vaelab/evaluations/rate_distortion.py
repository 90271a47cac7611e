"""The curve of rate and distortion of one network that is told λ, and what it decodes along it."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, ClassVar

import numpy as np
import torch

from vaelab import canvas, metrics
from vaelab.bounds import Above, Few, Seed
from vaelab.canvas import BLUE, SMALL, Drawing, Panel, mark
from vaelab.evaluations.base import Context, Images, Result, encoded, images_array, reconstruct, spread_images
from vaelab.evaluations.codes import moments
from vaelab.views import Rows

NUMBERS = ("rate", "distortion", "negative_elbo", "psnr", "active_units")
ALONG = {"negative_elbo": "−ELBO (nats per image)", "psnr": "PSNR (dB)", "active_units": "active units"}
ROUND = (1.0, 1.5, 2.0, 3.0, 5.0)  # λ of each power of ten
MOST_VALUES = 2**23  # of the images of each kind that are kept: 32 MB


@dataclass(frozen=True)
class RateDistortion:
    """Rate, distortion, -ELBO (nats), PSNR (dB) and active units of the test split at each of `kl_weights`.

    Without them at the round ones of the network's range, and at its ends. As many as `images` test images, spread
    evenly, are kept as reconstructed, and as many draws of the prior as decoded, at each λ. Raises UsageError for a λ
    that the network has not learned.
    """

    kl_weights: list[Annotated[float, Above(0)]] | None
    images: Few
    seed: Seed
    needs: ClassVar[str] = "kl_weights"
    views: ClassVar[tuple[Rows, ...]] = (
        Rows(
            "Reconstructions by one network over λ",
            images="reconstruction",
            rows="λ = {kl_weight}",
            columns="test image {number}",
            above="original",
            above_title="original",
        ),
        Rows(
            "Samples of one network over λ",
            images="sample",
            rows="λ = {kl_weight}",
            columns="draw {number} of the prior",
        ),
    )

    @torch.inference_mode()
    def __call__(self, context: Context) -> Result:
        network: Any = context.model
        weights = list(self.kl_weights or round_weights(*network.kl_weights))
        size = math.prod(next(iter(context.batches("test"))).images.shape[1:])
        shown = spread_images(context, "test", max(1, min(self.images, MOST_VALUES // (size * len(weights)))))
        z = network.draw(len(shown.images), torch.Generator().manual_seed(self.seed))
        found = [self.measured(replace(context, model=network.at(weight)), shown, z) for weight in weights]
        arrays = {name: np.array([one[name] for one in found]) for name in found[0]}
        arrays |= {
            "kl_weight": np.array(weights),
            "index": shown.index.cpu().numpy(),
            "original": images_array(shown.images),
            "z": z.cpu().numpy(),
        }
        low, high = network.kl_weights
        rest = [part for part in context.title.split(" · ") if not part.startswith("λ")]  # it is of all λ
        title = " · ".join((f"One network for λ from {low:g} to {high:g}", *rest))
        return Result(arrays, drawing(arrays, title))

    def measured(self, context: Context, shown: Images, z: torch.Tensor) -> dict[str, Any]:
        """What is measured of the test split, as test_metrics does with this seed, and the images, at one λ."""
        network: Any = context.model
        noise, totals, images = context.noise(self.seed), torch.zeros(3, dtype=torch.float64), 0
        for batch, code in encoded(context):
            ((_, terms),) = context.loss(network, batch, noise)
            psnr = metrics.psnr(batch.images, network.decode(code.mean, batch.labels)).mean()
            own = torch.stack((terms["kl"], terms["reconstruction"], psnr))
            totals += len(batch.images) * own.double().cpu()
            images += len(batch.images)
        rate, distortion, psnr = (totals / images).tolist()
        numbers = (rate, distortion, rate + distortion, psnr, float(moments(context).active.sum()))
        return dict(zip(NUMBERS, numbers, strict=True)) | {
            "reconstruction": images_array(reconstruct(network, shown.images, shown.labels)),
            "sample": images_array(network.decode(z)),
        }


def drawing(arrays: Mapping[str, np.ndarray], title: str) -> Drawing:
    """Rate against distortion, and −ELBO, PSNR and active units over λ: arrays (L,), by names."""
    weights, rate, distortion = arrays["kl_weight"], arrays["rate"], arrays["distortion"]
    style: dict[str, Any] = {"color": BLUE, "linewidth": 1.2, "marker": "o", "markersize": 3}
    beside = {"xytext": (4, 4), "textcoords": "offset points", "fontsize": SMALL}
    names = [
        mark("annotate", f"{weight:g}", at, **beside)
        for weight, *at in zip(weights, rate, distortion, strict=True)
        if np.isclose(np.log10(weight) % 1, 0)  # powers of ten, for the curve has many points
    ]
    across = "rate (nats per image); powers of ten of λ are named"
    curve = [mark("plot", rate, distortion, **style), *names, mark("margins", 0.08)]
    over_weights = [
        Panel("λ", label, [mark("plot", weights, arrays[name], **style)], log=True)
        for name, label in ALONG.items()
    ]
    cells = [Panel(across, "distortion (nats per image)", curve), *over_weights]
    return partial(canvas.panels, cells, title, 4.6, columns=2)


def round_weights(low: float, high: float) -> list[float]:
    """The round λ between two, and these, in their order."""
    return sorted({low, high, *(weight for weight in _round(low, high) if low < weight < high)})


def _round(low: float, high: float) -> Iterator[float]:
    for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1):
        yield from (float(f"{one:g}e{power}") for one in ROUND)
