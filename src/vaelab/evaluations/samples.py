"""New images from any model, the same noise at every epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch

from vaelab import canvas
from vaelab.bounds import Many, Seed
from vaelab.canvas import Drawing, in_rows
from vaelab.evaluations.base import Context, Result, images_array
from vaelab.evaluations.generation import generated, source
from vaelab.fonts import class_names
from vaelab.moving import COLUMNS
from vaelab.views import Rows


@dataclass(frozen=True)
class Samples:
    """`count` images from the same noise at every epoch; of a class-conditional model the classes take turns.

    An autoencoder has neither generator nor prior: its samples decode a Gaussian fitted to the codes.
    """

    count: Many
    seed: Seed
    at_snapshots: bool
    views: ClassVar[tuple[Rows, ...]] = (Rows("Samples", images="image", columns="sample {number}{, label}"),)

    @torch.inference_mode()
    def __call__(self, context: Context) -> Result:
        made = generated(context, self.count, self.seed)
        arrays = {"z": made.z.cpu().numpy(), "image": images_array(made.images)}
        if made.label is not None:
            arrays["label"] = made.label.cpu().numpy()
        return Result(arrays, self.drawing(arrays, context))

    def drawing(self, arrays: Mapping[str, np.ndarray], context: Context) -> Drawing:
        """How the arrays are drawn."""
        title = f"Samples ({source(context)}) · {context.title}"
        columns = 2 ** math.ceil(math.log2(self.count) / 2)
        if "label" not in arrays:
            return partial(canvas.contact_sheet, arrays["image"], title, columns=columns)
        classes, told = class_names(context.classes)
        names = [classes[number] for number in arrays["label"]]
        return partial(canvas.contact_sheet, arrays["image"], title + told, names, columns)

    def frame(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """The first images (rows, columns, H, W, C), as a frame over the epochs."""
        return in_rows(arrays["image"][: 2 * COLUMNS], COLUMNS)
