"""Images decoded ahead of time, which a report can show without the model: a plane, strips, reconstructions."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from vaelab import canvas
from vaelab.bounds import Few, Many, Steps
from vaelab.canvas import Drawing, Images
from vaelab.evaluations.base import (
    Context,
    Result,
    images_array,
    reconstruct,
    repeated,
    spread_images,
)
from vaelab.evaluations.codes import Moments, moments
from vaelab.evaluations.generation import in_pieces
from vaelab.evaluations.traversals import signed

REACH = 3.0  # standard deviations of the aggregate posterior, to both sides of its mean


@dataclass(frozen=True)
class Atlas:
    """The plane of the two most informative dimensions, a strip for each active one, and some reconstructions.

    All start from the code of the first test image. A dimension goes from −3 to 3 standard deviations around its mean
    over the aggregate posterior, for at λ = 0 and in an autoencoder the prior's range means nothing. Informative are
    dimensions of high KL, in an autoencoder those of high variance. A code of one dimension has no plane.
    """

    steps: Steps
    strip_steps: Steps
    dimensions: Few
    images: Many
    needs: ClassVar[str] = "encoder"

    @torch.inference_mode()
    def __call__(self, context: Context) -> Result:
        model: Any = context.model
        found = moments(context)
        order = torch.argsort(found.information, descending=True, stable=True)
        active, inactive = order[found.active[order]], order[~found.active[order]]
        # A posterior may be far from the prior and yet the same for every image: such a dimension shows nothing.
        plane, strips = torch.cat((active, inactive))[:2], active[: self.dimensions]
        strip_value = reach(found, strips, self.strip_steps)
        start, some = spread_images(context, "test", 1), spread_images(context, "test", self.images)
        code = model.encode(start.images, start.labels).mean[0]
        reconstruction = in_pieces(partial(reconstruct, model), some.images, some.labels)
        numbers = {
            "strip_dimension": strips,
            "strip_value": strip_value,
            "start": start.index[0],
            "index": some.index,
        }
        if found.kl is not None:
            numbers["strip_kl"] = found.kl[strips].float()
        arrays = {name: tensor.cpu().numpy() for name, tensor in numbers.items()}
        arrays |= {
            "strip": in_bytes(decode(model, on_strips(code, strips, strip_value), code.shape, start.labels)),
            "original": in_bytes(images_array(some.images)),
            "reconstruction": in_bytes(images_array(reconstruction)),
        }
        if len(plane) < 2:
            strip = in_bytes(
                decode(
                    model, on_strips(code, plane, reach(found, plane, self.steps)), code.shape, start.labels
                )
            )
            draw = partial(canvas.image_rows, [("z0", strip[0])], f"Latent strip · {context.title}")
            return Result(arrays, draw, findings=("no latent plane: the code has one dimension",))
        arrays |= slice_of(model, found, plane, code, start.labels, self.steps)
        named = (arrays["slice_dimension"], arrays["slice_value"], arrays.get("slice_kl"))
        return Result(arrays, drawing(arrays["slice"], *named, f"Latent plane · {context.title}"))


def drawing(
    image: np.ndarray, dimension: np.ndarray, value: np.ndarray, kl: np.ndarray | None, title: str
) -> Drawing:
    """Images (i, j, H, W, C) decoded with dimension[0] at value[0, i] and dimension[1] at value[1, j]."""
    names = [f"z{d}" for d in dimension]
    if kl is not None:
        names = [f"{name}, KL {nats:.2f} nats" for name, nats in zip(names, kl, strict=True)]
    rows, columns = ({place: signed(of[place]) for place in (0, len(of) // 2, len(of) - 1)} for of in value)
    grid = Images(image, rows, columns, across=names[1], upward=names[0])
    return partial(canvas.grids, [grid], title, beside=0.8, around=0.5)


def slice_of(
    model: Any, found: Moments, plane: Tensor, code: Tensor, label: Tensor | None, steps: int
) -> dict[str, np.ndarray]:
    """The images of the plane through a code: its two dimensions, their values and KL, and what is decoded there."""
    value = reach(found, plane, steps)
    numbers = {"slice_dimension": plane, "slice_value": value}
    if found.kl is not None:
        numbers["slice_kl"] = found.kl[plane].float()
    images = in_bytes(decode(model, on_plane(code, plane, value), code.shape, label))
    return {name: tensor.cpu().numpy() for name, tensor in numbers.items()} | {"slice": images}


def reach(found: Moments, dimensions: Tensor, steps: int) -> Tensor:
    """The values (D, steps) that each dimension is set to."""
    deviation = found.aggregate_variance[dimensions, None].sqrt()
    steps_away = torch.linspace(-REACH, REACH, steps, device=deviation.device, dtype=deviation.dtype)
    return (found.mean[dimensions, None] + steps_away * deviation).float()


def on_plane(code: Tensor, dimensions: Tensor, value: Tensor) -> Tensor:
    """The code with its two dimensions at value[0, i] and value[1, j]: flat codes (steps, steps, d)."""
    z = code.flatten().repeat(value.shape[1], value.shape[1], 1)
    z[..., dimensions[0]], z[..., dimensions[1]] = value[0][:, None], value[1]
    return z


def on_strips(code: Tensor, dimensions: Tensor, value: Tensor) -> Tensor:
    """The code with one of its dimensions after the other at each value: flat codes (D, steps, d)."""
    z = code.flatten().repeat(len(dimensions), value.shape[1], 1)
    for row, dimension in enumerate(dimensions):
        z[row, :, dimension] = value[row]
    return z


def decode(model: Any, z: Tensor, shape: Sequence[int], label: Tensor | None) -> np.ndarray:
    """Flat codes (..., d) of one label (1,) to images (..., H, W, C) in [0, 1], a few at a time."""
    codes = z.flatten(0, -2).unflatten(-1, tuple(shape))
    # One code more, dropped again, so that no code at all also has a shape.
    more = torch.cat((codes, codes.new_zeros(1, *shape)))
    images = in_pieces(model.decode, more, repeated(label, len(more)))
    return images_array(images[:-1].unflatten(0, z.shape[:-1]))


def in_bytes(images: np.ndarray) -> np.ndarray:
    """Images in [0, 1] rounded to multiples of 1/255: they are only looked at, and so take less disk."""
    return (images * 255).round() / np.float32(255)
