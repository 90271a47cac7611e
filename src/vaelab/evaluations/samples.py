"""New images from any model, the same noise at every epoch."""

import math
from dataclasses import dataclass
from functools import partial

import torch

from vaelab import figures
from vaelab.bounds import Many, Seed
from vaelab.evaluations.base import Context, Result, images_array
from vaelab.evaluations.generation import generated


@dataclass(frozen=True)
class Samples:
    """`count` images from the same noise at every epoch; of a class-conditional model the classes take turns.

    An autoencoder has neither generator nor prior: its samples decode a Gaussian fitted to the codes.
    """

    count: Many
    seed: Seed
    at_snapshots: bool

    @torch.inference_mode()
    def __call__(self, context: Context) -> Result:
        made = generated(context, self.count, self.seed)
        image = images_array(made.images)
        arrays = {"z": made.z.cpu().numpy(), "image": image}
        title = f"Samples ({made.source}) · {context.title}"
        columns = 2 ** math.ceil(math.log2(self.count) / 2)
        if made.label is None:
            return Result(arrays, partial(figures.samples, {"": image}, title, columns))
        label = made.label.cpu().numpy()
        classes, told = figures.class_names(context.classes)
        names = [classes[number] for number in label]
        return Result(
            arrays | {"label": label}, partial(figures.contact_sheet, image, title + told, names, columns)
        )
