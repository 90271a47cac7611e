"""Test images above their reconstructions."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch

from vaelab import canvas
from vaelab.bounds import Many
from vaelab.canvas import Drawing, Images, in_rows
from vaelab.evaluations.base import (
    Context,
    Result,
    images_array,
    reconstruct,
    spread_images,
)
from vaelab.moving import COLUMNS
from vaelab.views import Rows


@dataclass(frozen=True)
class Reconstructions:
    """The first `count` test images, each above what the decoder makes of its posterior mean."""

    count: Many
    at_snapshots: bool
    needs: ClassVar[str] = "encoder"
    views: ClassVar[tuple[Rows, ...]] = (
        Rows(
            "Reconstructions",
            images="reconstruction",
            columns="test image {index}",
            above="original",
            above_title="original",
            key=("index",),
        ),
    )

    @torch.inference_mode()
    def __call__(self, context: Context) -> Result:
        shown = spread_images(context, "test", self.count)
        original = images_array(shown.images)
        reconstruction = images_array(reconstruct(context.model, shown.images, shown.labels))
        arrays = {
            "original": original,
            "reconstruction": reconstruction,
            "index": shown.index.cpu().numpy(),
        }
        return Result(arrays, self.drawing(arrays, context))

    def drawing(self, arrays: Mapping[str, np.ndarray], context: Context) -> Drawing:
        """How the arrays are drawn."""
        title = f"Reconstructions · {context.title}"
        return drawing(arrays["original"], arrays["reconstruction"], title)

    def frame(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """The first images above their reconstructions (2, columns, H, W, C), as a frame over the epochs."""
        return np.stack([arrays[name][:COLUMNS] for name in ("original", "reconstruction")])


def drawing(original: np.ndarray, reconstruction: np.ndarray, title: str) -> Drawing:
    """Rows of original images (N, H, W, C), each above the row of their reconstructions."""
    pairs = [in_rows(images, COLUMNS) for images in (original, reconstruction)]
    grid = np.stack(pairs, axis=1).reshape(-1, *pairs[0].shape[1:])
    names = ["original", "reconstruction"] * len(pairs[0])
    cell = Images(grid, names, wide_rows=range(2, len(grid), 2))
    return partial(canvas.grids, [cell], title, beside=0.9)
