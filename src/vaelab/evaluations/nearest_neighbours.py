"""Whether generated images are copies: the training images nearest to them."""

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from vaelab import canvas
from vaelab.bounds import Few, Many, Seed
from vaelab.canvas import Drawing, Images
from vaelab.evaluations.base import Context, Result, images_array, images_at, spread_images
from vaelab.evaluations.generation import generated
from vaelab.quantities import Quantity
from vaelab.views import Rows

TESTS = 256  # test images that are measured, at most: a hundredth of much fewer is none
SAME = 0.5 / 255  # RMSE below which two images are one: data hold duplicates
COPY = 0.01  # of the test images are nearer to a training image than a sample that is called a copy
TOO_MANY = 0.1  # share of copies that is said in words


@dataclass(frozen=True)
class NearestNeighbours:
    """For `count` samples the `neighbours` nearest training images, by root mean squared error of a pixel.

    The yardstick is how near test images, which nobody can have copied, are to training images. `shown` samples
    are drawn.
    """

    count: Many
    shown: Few
    neighbours: Few
    seed: Seed
    quantities: ClassVar[tuple[Quantity, ...]] = (
        Quantity(
            "nearest_distance", "distance to training images", of="samples", shown="report",
            beside="nearest_distance_data", whose="test images",
        ),
        Quantity("nearest_distance_data", "distance of test images to training images"),
    )  # fmt: skip
    views: ClassVar[tuple[Rows, ...]] = (
        Rows(
            "Nearest training images",
            images="neighbour",
            columns="training image {index}, distance {distance}",
            rows="neighbour {number} ({distance})",
            above="image",
            above_title="sample",
            columns_first=True,
        ),
    )

    @torch.inference_mode()
    def __call__(self, context: Context) -> Result:
        samples = generated(context, self.count, self.seed).images
        real = spread_images(context, "test", TESTS).images
        distance, index = nearest(context, samples, self.neighbours)
        yardstick, _ = nearest(context, real, 1)
        of_samples, of_data = distance[:, 0].numpy(), yardstick[:, 0].numpy()
        shown = index[: self.shown]
        neighbours = images_at(context, shown.flatten().tolist(), ("train",)).images
        arrays = {
            "image": images_array(samples[: self.shown]),
            "neighbour": images_array(neighbours.unflatten(0, shown.shape)),
            "index": index.numpy(),
            "distance": distance.numpy(),
            "distance_data": of_data,
        }
        title = f"Nearest training images · {context.title}"
        draw = drawing(arrays["image"], arrays["neighbour"], arrays["distance"], title)
        found = {
            "nearest_distance": float(np.median(of_samples)),
            "nearest_distance_data": float(np.median(of_data)),
        }
        return Result(arrays, draw, found, copies(of_samples, of_data))


def drawing(images: np.ndarray, nearest: np.ndarray, distance: np.ndarray, title: str) -> Drawing:
    """Images (N, H, W, C), each with its nearest ones (N, k, H, W, C) at its right, the distance (N, k) under each."""
    rows = [
        Images(row[None], columns=["sample", *(f"{value:.3f}" for value in values)], wide_columns=(1,))
        for row, values in zip(np.concatenate((images[:, None], nearest), axis=1), distance, strict=False)
    ]
    return partial(canvas.strips, rows, title, blocks=2)


def nearest(context: Context, images: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
    """The nearest training images of each image (N, C, H, W): distances (N, k) ascending, and rows of the data set."""
    flat = images.flatten(1).double()
    best: Tensor | None = None
    rows = torch.zeros(0)
    for batch in context.batches("train"):
        distance = torch.cdist(flat, batch.images.flatten(1).double()).cpu() / math.sqrt(flat.shape[1])
        index = torch.as_tensor(batch.index).cpu().expand(len(flat), -1)
        if best is not None:
            distance, index = torch.cat((best, distance), 1), torch.cat((rows, index), 1)
        best, order = distance.topk(min(neighbours, distance.shape[1]), largest=False)
        rows = index.gather(1, order)
    assert best is not None
    return best.float(), rows


def copies(of_samples: np.ndarray, of_data: np.ndarray) -> tuple[str, ...]:
    """A sentence where many samples are as near to a training image as hardly any test image is."""
    others = of_data[of_data > SAME]
    if not len(others):
        return ()
    near = float(np.quantile(others, COPY))
    share = float((of_samples < near).mean())
    if share <= TOO_MANY:
        return ()
    return (
        f"{share:.0%} of the samples are nearer to a training image than {1 - COPY:.0%} of the test images are "
        f"(under {near:.3f} RMSE): they may be copies, or plainer than real images; see nearest_neighbours",
    )
