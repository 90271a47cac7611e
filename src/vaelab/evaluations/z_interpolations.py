"""Images generated between two noise vectors."""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch

from vaelab import canvas
from vaelab.bounds import Few, Seed, Steps
from vaelab.canvas import Drawing, Images
from vaelab.evaluations.base import Context, Result, images_array
from vaelab.evaluations.generation import in_pieces
from vaelab.evaluations.interpolations import lerp, slerp
from vaelab.moving import there_and_back
from vaelab.views import Rows


@dataclass(frozen=True)
class ZInterpolations:
    """`pairs` ways from one noise vector to another in `steps`.

    Normal noise lies near a sphere, which only the great arc stays near (White 2016, section 2.1); uniform noise
    goes straight. The class, if there is one, stays.
    """

    pairs: Few
    steps: Steps
    seed: Seed
    needs: ClassVar[str] = "generator"
    views: ClassVar[tuple[Rows, ...]] = (
        Rows("From noise to noise", images="image", rows="pair {number}{: label}", columns="t = {t}"),
    )

    @torch.inference_mode()
    def __call__(self, context: Context) -> Result:
        model: Any = context.model
        a, b = model.draw(2 * self.pairs, torch.Generator().manual_seed(self.seed)).chunk(2)
        t = torch.linspace(0, 1, self.steps, device=a.device)
        z = (slerp if model.noise == "normal" else lerp)(a, b, t)
        arrays = {"z": z.cpu().numpy()}
        label = None
        if "classes" in model.offers:
            label = torch.arange(self.pairs, device=a.device) % model.classes
            arrays["label"] = label.cpu().numpy()
            label = label.repeat_interleave(self.steps)
        image = images_array(in_pieces(model.generate, z.flatten(0, 1), label).unflatten(0, z.shape[:2]))
        return Result(
            arrays | {"image": image},
            drawing(image, f"Interpolations of z · {context.title}"),
            moving=there_and_back(image),
        )


def drawing(image: np.ndarray, title: str) -> Drawing:
    """A row for each pair, and a column for each step."""
    names = [f"{t:.2g}" for t in np.linspace(0, 1, image.shape[1])]
    grid = Images(image, columns=names, across="place t between two noise vectors")
    return partial(canvas.grids, [grid], title, around=0.5)
