"""Images decoded from samples of the prior and, at λ = 0, of the aggregate posterior."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch

from vaelab import canvas
from vaelab.bounds import Many, Seed
from vaelab.canvas import Drawing, Images, in_rows
from vaelab.evaluations.base import Context, Result, images_array, spread_images
from vaelab.evaluations.generation import aggregate_posterior_samples, in_pieces, in_turn, prior_is_meant
from vaelab.views import Rows


@dataclass(frozen=True)
class PriorSamples:
    """Decodes `count` samples of the prior, the same of N(0, I) for every run of the same latent shape.

    At λ = 0 the prior means nothing to the decoder, so samples of a Gaussian fitted to the aggregate posterior of
    the train split stand beside them; with `beside_real` also as many test images. Of a class-conditional model the
    classes take turns.
    """

    count: Many
    seed: Seed
    beside_real: bool = False  # absent from older run folders
    needs: ClassVar[str] = "prior"
    views: ClassVar[tuple[Rows, ...]] = (
        Rows(
            "Prior samples",
            images="image",
            columns="sample {number}{, label}",
            beside="aggregate_image",
            beside_title="fitted Gaussian",
            beside_note="at λ = 0 the prior means nothing to the decoder, so samples of a Gaussian fitted to the"
            " aggregate posterior stand below",
            key=("z",),
        ),
    )

    @torch.inference_mode()
    def __call__(self, context: Context) -> Result:
        model: Any = context.model
        z = model.draw(self.count, torch.Generator().manual_seed(self.seed))
        label = in_turn(model, self.count, z.device)
        image = images_array(in_pieces(model.decode, z, label))
        arrays = {"z": z.cpu().numpy(), "image": image}
        if label is not None:
            arrays["label"] = label.cpu().numpy()
        grids = {model.prior: image}
        if not prior_is_meant(context):
            fitted = aggregate_posterior_samples(context, self.count, self.seed)
            fitted_image = images_array(in_pieces(model.decode, fitted, label))
            grids["Gaussian fitted to the aggregate posterior"] = fitted_image
            arrays |= {"aggregate_z": fitted.cpu().numpy(), "aggregate_image": fitted_image}
        if self.beside_real:
            real = spread_images(context, "test", self.count)
            grids["test images"] = images_array(real.images)
            arrays |= {"original": grids["test images"], "index": real.index.cpu().numpy()}
        title = f"Samples of the {model.prior} · {context.title}"
        return Result(arrays, drawing(grids, title, math.ceil(math.sqrt(self.count))))


def drawing(grids: Mapping[str, np.ndarray], title: str, columns: int = 8) -> Drawing:
    """Square grids of images (N, H, W, C) side by side, each under its name where there are several."""
    if len(grids) == 1:
        return partial(canvas.contact_sheet, next(iter(grids.values())), title, columns=columns)
    cells = [Images(in_rows(images, columns), title=name) for name, images in grids.items()]
    return partial(canvas.grids, cells, title, around=0.3)
