"""Test images above their reconstructions."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch

from vaelab import figures
from vaelab.bounds import Many
from vaelab.evaluations.base import (
    Context,
    Result,
    images_array,
    reconstruct,
    spread_images,
)


@dataclass(frozen=True)
class Reconstructions:
    """The first `count` test images, each above what the decoder makes of its posterior mean."""

    count: Many
    at_snapshots: bool
    needs: ClassVar[str] = "encoder"

    @torch.inference_mode()
    def __call__(self, context: Context) -> Result:
        shown = spread_images(context, "test", self.count)
        original = images_array(shown.images)
        reconstruction = images_array(reconstruct(context.model, shown.images))
        return Result(
            {"original": original, "reconstruction": reconstruction, "index": shown.index.cpu().numpy()},
            partial(figures.reconstructions, original, reconstruction, f"Reconstructions · {context.title}"),
        )
