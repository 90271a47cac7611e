"""Test images above their reconstructions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
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
from vaelab.views import Rows

if TYPE_CHECKING:
    from vaelab.figures import Figure


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

    def drawing(self, arrays: Mapping[str, np.ndarray], context: Context) -> Callable[[], Figure]:
        """How the arrays are drawn."""
        title = f"Reconstructions · {context.title}"
        return partial(figures.reconstructions, arrays["original"], arrays["reconstruction"], title)

    def frame(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """The first images above their reconstructions (2, columns, H, W, C), as a frame over the epochs."""
        return np.stack([arrays[name][: figures.COLUMNS] for name in ("original", "reconstruction")])
