"""How many nats each layer of a code carries."""

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import torch

from vaelab import figures
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
        draw = partial(figures.kl_per_layer, arrays["kl"], names, f"KL per layer · {context.title}")
        metrics = {f"active_units_{number}": float(on) for number, on in enumerate(active.tolist(), 1)}
        return Result(arrays, draw, metrics, findings)
