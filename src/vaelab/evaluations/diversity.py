"""How alike generated images are, beside how alike real ones are."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from vaelab import canvas, metrics
from vaelab.bounds import Made, Seed
from vaelab.evaluations.base import Context, Result, spread_images
from vaelab.evaluations.generation import generated
from vaelab.quantities import Quantity


@dataclass(frozen=True)
class Diversity:
    """Mean MS-SSIM of `pairs` random pairs of samples and of training images (Odena et al. 2017, section 4.3).

    Lower is more diverse. Of a class-conditional model also within each class, where images are more alike.
    """

    pairs: Made
    seed: Seed
    quantities: ClassVar[tuple[Quantity, ...]] = (
        Quantity(
            "diversity_ms_ssim", "MS-SSIM of pairs", digits=3, of="samples", shown="always",
            beside="diversity_ms_ssim_data", whose="real",
        ),
        Quantity("diversity_ms_ssim_data", "MS-SSIM of pairs of real images"),
    )  # fmt: skip

    @torch.inference_mode()
    def __call__(self, context: Context) -> Result:
        samples = generated(context, 2 * self.pairs, self.seed)
        real = spread_images(context, "train", 2 * self.pairs)
        if len(real.images) < 2:
            return Result({}, None, findings=("diversity is not measured: there is one training image",))
        of_samples = self.similarity(samples.images)
        of_data = self.similarity(real.images)
        arrays = {"ms_ssim": of_samples, "ms_ssim_data": of_data}
        if samples.label is not None and real.labels is not None:
            every = range(len(context.classes))
            arrays["class_ms_ssim"] = self.within_classes(samples.images, samples.label, every)
            arrays["class_ms_ssim_data"] = self.within_classes(real.images, real.labels, every)
        mean, mean_data = float(of_samples.mean()), float(of_data.mean())
        draw = partial(
            canvas.histograms,
            {"samples": of_samples, "training images": of_data},
            "MS-SSIM of a pair: 1 is the same image",
            f"Diversity: mean MS-SSIM {mean:.3f}, of the data {mean_data:.3f} · {context.title}",
        )
        found = {"diversity_ms_ssim": mean, "diversity_ms_ssim_data": mean_data}
        return Result(arrays, draw, found, all_alike(mean, mean_data))

    def similarity(self, images: Tensor) -> np.ndarray:
        """MS-SSIM (P,) of random pairs of images (N, C, H, W), no image in two of them."""
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(self.seed))
        a, b = images[order[: len(order) // 2]], images[order[len(order) // 2 : len(order) // 2 * 2]]
        return metrics.ms_ssim(a, b).cpu().numpy()

    def within_classes(self, images: Tensor, label: Tensor, classes: Sequence[int]) -> np.ndarray:
        """Mean MS-SSIM (K,) of pairs of one class; not a number where a class has fewer than two images."""
        means = np.full(len(classes), np.nan, np.float32)
        for number in classes:
            own = images[label == number]
            if len(own) > 1:
                means[number] = self.similarity(own).mean()
        return means


def all_alike(mean: float, mean_data: float) -> tuple[str, ...]:
    """A sentence where samples are nearer to being one image than the data are to that."""
    if not mean > (1 + mean_data) / 2:
        return ()
    return (
        f"mode collapse: the samples are all alike (mean MS-SSIM of pairs {mean:.3f}; training images {mean_data:.3f})",
    )
