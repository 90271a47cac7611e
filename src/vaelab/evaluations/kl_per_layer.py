"""How many nats each layer of a code carries."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch

from vaelab import canvas
from vaelab.canvas import BLUE, SMALL, Drawing, Panel, mark
from vaelab.evaluations.base import Context, Result
from vaelab.evaluations.codes import moments
from vaelab.quantities import Quantity


@dataclass(frozen=True)
class KLPerLayer:
    """KL of each layer given the layers above it, averaged over the test split, and its active units."""

    quantities: ClassVar[tuple[Quantity, ...]] = tuple(
        Quantity(f"active_units_{number}", f"active units of layer {number}") for number in range(1, 5)
    )
    needs: ClassVar[str] = "layers"

    @torch.inference_mode()
    def __call__(self, context: Context) -> Result:
        model: Any = context.model
        found = moments(context)
        assert found.kl is not None
        # The layer next to the image first, as they are counted.
        kl = torch.stack([part.sum() for part in found.kl.split(model.layers)]).flip(0)
        active = torch.stack([part.sum() for part in found.active.split(model.layers)]).flip(0)
        arrays = {"kl": kl.float().cpu().numpy(), "active": active.cpu().numpy()}
        names = [
            f"layer {number}\n{on} of {units} units active"
            for number, (on, units) in enumerate(zip(active.tolist(), reversed(model.layers), strict=True), 1)
        ]
        unused = [f"layer {number}" for number, on in enumerate(active.tolist(), 1) if not on]
        findings = (f"not used: no unit of {' and '.join(unused)} is active",) if unused else ()
        draw = drawing(arrays["kl"], names, f"KL per layer · {context.title}")
        metrics = {f"active_units_{number}": float(on) for number, on in enumerate(active.tolist(), 1)}
        return Result(arrays, draw, metrics, findings)


def drawing(kl: np.ndarray, names: Sequence[str], title: str) -> Drawing:
    """KL (L,) in nats of each layer, with its number and its name."""
    beside = {"xytext": (4, 0), "textcoords": "offset points", "va": "center", "fontsize": SMALL}
    marks = (
        mark("barh", np.arange(len(kl)), np.nan_to_num(kl, posinf=0.0), color=BLUE, height=0.6),
        *(mark("annotate", f"{nats:.1f}", (float(nats), row), **beside) for row, nats in enumerate(kl)),
        mark("set_yticks", np.arange(len(kl)), names, fontsize=SMALL),
        mark("margins", x=0.1),
        mark("set_xlim", left=0),
    )
    return partial(canvas.panels, [Panel("KL (nats)", "", marks)], title, 0.8 + 0.5 * len(kl))
