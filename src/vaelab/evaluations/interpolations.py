"""Images decoded along the way between the codes of two test images."""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from vaelab import canvas
from vaelab.bounds import Few, Steps
from vaelab.canvas import Drawing, Images
from vaelab.evaluations.base import Context, Result, images_array, repeated, spread_images
from vaelab.moving import there_and_back
from vaelab.views import Rows


@dataclass(frozen=True)
class Interpolations:
    """`steps` steps between the posterior means of each of `pairs` pairs of test images.

    The two are of different classes if possible; of a class-conditional model they are of one class if possible, and
    all between them is decoded as the class of the first.
    """

    pairs: Few
    steps: Steps
    method: Literal["lerp", "slerp"]
    needs: ClassVar[str] = "encoder"
    views: ClassVar[tuple[Rows, ...]] = (
        Rows("Interpolation", images="image", columns="t = {t} between test images {index}", key=("index",)),
    )

    @torch.inference_mode()
    def __call__(self, context: Context) -> Result:
        model: Any = context.model
        some = spread_images(context, "test", 2 * self.pairs)
        chosen = choose_pairs(len(some.images), some.labels, self.pairs, "classes" in model.offers)
        if not len(chosen):
            return Result({}, None, findings=("no interpolations: the test split has fewer than two images",))
        ends = some.images[chosen.to(some.images.device)]
        labels = None if some.labels is None else some.labels[chosen.to(some.labels.device)]
        codes = model.encode(ends.flatten(0, 1), None if labels is None else labels.flatten()).mean
        a, b = codes.flatten(1).unflatten(0, (-1, 2)).unbind(1)
        t = torch.linspace(0, 1, self.steps, device=a.device)
        z = {"lerp": lerp, "slerp": slerp}[self.method](a, b, t).unflatten(-1, codes.shape[1:])
        first = None if labels is None else labels[:, 0]
        image = images_array(
            model.decode(z.flatten(0, 1), repeated(first, self.steps)).unflatten(0, z.shape[:2])
        )
        real = images_array(ends)
        name = {"lerp": "Interpolations", "slerp": "Spherical interpolations"}[self.method]
        return Result(
            {"z": z.cpu().numpy(), "image": image, "index": some.index.cpu()[chosen].numpy()},
            drawing(real[:, 0], image, real[:, 1], f"{name} · {context.title}"),
            moving=there_and_back(image),
        )


def drawing(first: np.ndarray, steps: np.ndarray, last: np.ndarray, title: str) -> Drawing:
    """Decoded steps (pair, step, H, W, C) between the real images (pair, H, W, C) at both ends."""
    grid = np.concatenate((first[:, None], steps, last[:, None]), axis=1)
    names = ["real", *(f"{t:.2g}" for t in np.linspace(0, 1, steps.shape[1])), "real"]
    across = "place t between the codes of the two real images"
    cell = Images(grid, columns=names, across=across, wide_columns=(1, grid.shape[1] - 1))
    return partial(canvas.grids, [cell], title, around=0.5)


def lerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """(1 − t) a + t b: (P, d) twice and (T,) to (P, T, d)."""
    t = t[:, None]
    return (1 - t) * a[:, None] + t * b[:, None]


def slerp(a: Tensor, b: Tensor, t: Tensor) -> Tensor:
    """The way along the great arc: (P, d) twice and (T,) to (P, T, d) (Shoemake 1985, section 3.3).

    Where the arc is not defined, between parallel or zero vectors, the straight way.
    """
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=-1).clamp(-1, 1)
    angle = cosine.acos()[:, None, None]
    sine = angle.sin()
    t_ = t[:, None]
    arc = ((1 - t_) * angle).sin() / sine * a[:, None] + (t_ * angle).sin() / sine * b[:, None]
    return torch.where(sine.abs() < 1e-4, lerp(a, b, t), arc)


def choose_pairs(count: int, labels: Tensor | None, pairs: int, alike: bool = False) -> Tensor:
    """Positions (at most `pairs`, 2) among `count` images, far apart, each used once, of different labels first.

    With `alike` of the same label first.
    """
    numbers = np.zeros(count, int) if labels is None else labels.cpu().numpy()
    free = [i for near in range(count // 2) for i in (near, near + count // 2)]
    chosen: list[tuple[int, int]] = []
    while len(free) >= 2 and len(chosen) < pairs:
        first = free.pop(0)
        other = next((i for i in free if (numbers[i] == numbers[first]) == alike), free[0])
        free.remove(other)
        chosen.append((first, other))
    return torch.tensor(chosen, dtype=torch.int64).reshape(-1, 2)
