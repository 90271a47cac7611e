"""Images decoded while one dimension of the code moves and the others stay."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch

from vaelab import canvas
from vaelab.bounds import Above, Few, Steps
from vaelab.canvas import Drawing, Images
from vaelab.evaluations.base import Context, Result, images_array, repeated, spread_images
from vaelab.evaluations.codes import moments
from vaelab.moving import there_and_back


@dataclass(frozen=True)
class Traversals:
    """Sets each of the `dimensions` most informative dimensions, by KL, to −limit … limit prior deviations.

    The other dimensions stay at the posterior mean of the first test image, or at 0, the prior's mean.
    """

    dimensions: Few
    steps: Steps
    limit: Annotated[float, Above(0)]
    start: Literal["image", "zero"]
    needs: ClassVar[str] = "posterior"

    @torch.inference_mode()
    def __call__(self, context: Context) -> Result:
        model: Any = context.model
        kl = moments(context).kl
        assert kl is not None
        dimension = torch.argsort(kl, descending=True, stable=True)[: self.dimensions]
        first = spread_images(context, "test", 1)
        mean = model.encode(first.images, first.labels).mean
        origin = mean.flatten() if self.start == "image" else torch.zeros_like(mean.flatten())
        value = torch.linspace(-self.limit, self.limit, self.steps, device=origin.device)
        z = origin.repeat(len(dimension), self.steps, 1)
        for row, place in enumerate(dimension):
            z[row, :, place] = value
        z = z.unflatten(-1, mean.shape[1:])
        labels = repeated(first.labels, len(dimension) * self.steps)
        image = images_array(model.decode(z.flatten(0, 1), labels).unflatten(0, z.shape[:2]))
        arrays = {"dimension": dimension, "kl": kl[dimension].float(), "value": value, "z": z}
        numbers = {name: tensor.cpu().numpy() for name, tensor in arrays.items()}
        along = (numbers["dimension"], numbers["kl"], numbers["value"])
        draw = drawing(image, *along, f"Latent traversals · {context.title}")
        return Result(numbers | {"image": image}, draw, moving=there_and_back(image))


def drawing(
    image: np.ndarray, dimension: np.ndarray, kl: np.ndarray, value: np.ndarray, title: str
) -> Drawing:
    """A row for each dimension with its KL, and a column for each value."""
    rows = [f"z{d}, KL {k:.2f}" for d, k in zip(dimension, kl, strict=True)]
    across = "value of the dimension, in standard deviations of the prior"
    grid = Images(image, rows, [signed(v) for v in value], across=across)
    return partial(canvas.grids, [grid], title, beside=0.8, around=0.5)


def signed(value: float) -> str:
    """A value with its sign; 0 has none."""
    return f"{value:+.2g}".replace("-", "−") if value else "0"
