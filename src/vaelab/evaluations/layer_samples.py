"""What each layer of a code decides: samples in which one layer is drawn anew."""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch

from vaelab import canvas
from vaelab.bounds import Few, Seed
from vaelab.evaluations.base import Context, Result, images_array
from vaelab.evaluations.generation import in_pieces
from vaelab.views import Rows


@dataclass(frozen=True)
class LayerSamples:
    """A row of `columns` samples for each layer, the top one first: it is drawn anew, and the others stay.

    What stays of a layer are its deviations from its prior, so the layers below the drawn one follow it.
    """

    columns: Few
    seed: Seed
    needs: ClassVar[str] = "layers"
    views: ClassVar[tuple[Rows, ...]] = (
        Rows("Layer by layer, the top one first", images="image", rows="layer {number} from the top anew"),
    )

    @torch.inference_mode()
    def __call__(self, context: Context) -> Result:
        model: Any = context.model
        drawn = model.draw(self.columns, torch.Generator().manual_seed(self.seed)).split(model.layers, 1)
        rows = []
        for layer in range(len(drawn)):
            parts = [
                part if number == layer else part[:1].expand_as(part) for number, part in enumerate(drawn)
            ]
            rows.append(in_pieces(model.decode, torch.cat(parts, 1)))
        image = images_array(torch.stack(rows))
        names = [f"layer {number} anew" for number in range(len(drawn), 0, -1)]
        return Result(
            {"image": image},
            partial(
                canvas.image_rows, list(zip(names, image, strict=True)), f"Layer by layer · {context.title}"
            ),
        )
