"""How sharp generated images are, beside real ones."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch

from vaelab import canvas, metrics
from vaelab.bounds import Made, Seed
from vaelab.evaluations.base import Context, Result, spread_images
from vaelab.evaluations.generation import generated
from vaelab.quantities import Quantity


@dataclass(frozen=True)
class Sharpness:
    """Variance of the Laplacian of `count` samples and as many training images."""

    count: Made
    seed: Seed
    quantities: ClassVar[tuple[Quantity, ...]] = (
        Quantity(
            "sharpness", "sharpness", of="samples", shown="always", beside="sharpness_data", whose="real"
        ),
        Quantity("sharpness_data", "sharpness of real images"),
    )

    @torch.inference_mode()
    def __call__(self, context: Context) -> Result:
        samples = metrics.sharpness(generated(context, self.count, self.seed).images).cpu().numpy()
        real = metrics.sharpness(spread_images(context, "train", self.count).images).cpu().numpy()
        mean, mean_data = float(samples.mean()), float(real.mean())
        draw = partial(
            canvas.histograms,
            {"samples": samples, "training images": real},
            "variance of the Laplacian of an image",
            f"Sharpness: mean {mean:.2g}, of the data {mean_data:.2g} · {context.title}",
            log=True,
        )
        arrays = {"sharpness": samples, "sharpness_data": real}
        return Result(arrays, draw, {"sharpness": mean, "sharpness_data": mean_data})
