"""The same noise decoded as each class."""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch

from vaelab import canvas
from vaelab.bounds import Few, Seed
from vaelab.evaluations.base import Context, Result, images_array
from vaelab.evaluations.generation import maker
from vaelab.fonts import class_names
from vaelab.views import Rows


@dataclass(frozen=True)
class ClassPairs:
    """One row for each class and one column for each of `columns` noise vectors."""

    columns: Few
    seed: Seed
    needs: ClassVar[str] = "classes"
    views: ClassVar[tuple[Rows, ...]] = (
        Rows("The same noise as each class", images="image", rows="{label}", columns="noise {number}"),
    )

    @torch.inference_mode()
    def __call__(self, context: Context) -> Result:
        model: Any = context.model
        z = model.draw(self.columns, torch.Generator().manual_seed(self.seed))
        label = torch.arange(model.classes, device=z.device)
        rows = [maker(model)(z, number.expand(len(z))) for number in label]
        image = images_array(torch.stack(rows))
        classes, told = class_names(context.classes)
        named = list(zip(classes, image, strict=True))
        return Result(
            {"z": z.cpu().numpy(), "label": label.cpu().numpy(), "image": image},
            partial(canvas.image_rows, named, f"The same noise as each class · {context.title}{told}"),
        )
