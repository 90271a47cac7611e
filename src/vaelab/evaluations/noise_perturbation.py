"""New images from the codes of chosen ones and Gaussian noise."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch

from vaelab import canvas, metrics
from vaelab.bounds import AtLeast, Few, Seed
from vaelab.canvas import Drawing, Images
from vaelab.evaluations.base import (
    Context,
    Result,
    images_array,
    images_at,
    noise,
    refuse_missing_rows,
    repeated,
)
from vaelab.quantities import Quantity
from vaelab.views import Rows


@dataclass(frozen=True)
class NoisePerturbation:
    """`copies` images decoded from code + sigma · noise, for each image of `index`.

    `first_index` says whether rows of the data set are counted from 0 or from 1. The noise follows from the seed and
    the size of the code, so that models of one size are given the same.
    """

    index: Sequence[int]
    first_index: Literal[0, 1]
    copies: Few
    sigma: Annotated[float, AtLeast(0)]
    seed: Seed
    quantities: ClassVar[tuple[Quantity, ...]] = tuple(
        Quantity(f"perturbed_{one.name}", f"{one.title} of images from codes and noise", one.unit, one.digits)
        for one in (metrics.MSE, metrics.PSNR, metrics.SSIM)
    )
    views: ClassVar[tuple[Rows, ...]] = (
        Rows(
            "Images from codes and noise",
            images="image",
            columns="image {index}",
            rows="copy {number}",
            above="original",
            above_title="original",
            key=("index",),
            columns_first=True,
        ),
    )
    needs: ClassVar[str] = "encoder"

    def __post_init__(self) -> None:
        if not self.index:
            raise ValueError("index must not be empty: give rows of the data set")

    def refuse_missing(self, images: int, code: int) -> None:
        """Raises UsageError for images that the data set has not."""
        refuse_missing_rows("noise_perturbation", self.index, self.first_index, images)

    @torch.inference_mode()
    def __call__(self, context: Context) -> Result:
        model: Any = context.model
        chosen = images_at(context, [row - self.first_index for row in self.index])
        code = model.encode(chosen.images, chosen.labels).mean
        added = self.sigma * noise((len(code), self.copies, *code.shape[1:]), self.seed, code)
        z = code[:, None] + added
        labels = repeated(chosen.labels, self.copies)
        perturbed = model.decode(z.flatten(0, 1), labels).unflatten(0, z.shape[:2])
        original = chosen.images[:, None].expand_as(perturbed)
        measured = metrics.of_images(original, perturbed)
        image, real = images_array(perturbed), images_array(chosen.images)
        arrays = {"original": real, "image": image, "index": chosen.index.numpy(), "z": z.cpu().numpy()}
        plain = {"generated_data": image.reshape(-1, *image.shape[2:])}
        if chosen.labels is not None:
            arrays["label"] = chosen.labels.cpu().numpy()
            plain["generated_label"] = arrays["label"].repeat(self.copies)[:, None]
        names = [str(row) for row in self.index]
        title = f"Code + {self.sigma:g} · noise · {context.title}"
        return Result(
            arrays | {name: values.cpu().numpy() for name, values in measured.items()},
            drawing(real, image, names, title),
            {f"perturbed_{name}": float(values.mean()) for name, values in measured.items()},
            plain=plain,
        )


def drawing(original: np.ndarray, copies: np.ndarray, names: Sequence[str], title: str) -> Drawing:
    """Images (N, H, W, C), each with its copies (N, copy, H, W, C) at its right, in two blocks side by side."""
    grid = np.concatenate((original[:, None], copies), axis=1)
    height = -(-len(grid) // 2)
    grid = np.concatenate((grid, np.ones((2 * height - len(grid), *grid.shape[1:]), grid.dtype)))
    columns = {0: "original", grid.shape[1] / 2: "from code + noise"}  # in the middle of the copies
    cells = [
        Images(grid[rows], names[rows], columns, wide_columns=(1,))
        for rows in (slice(height), slice(height, None))
    ]
    return partial(canvas.grids, cells, title, beside=0.4, around=0.4)
