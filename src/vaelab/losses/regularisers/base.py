"""What every regulariser is: λ times a measure of what a code says of its images."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from vaelab.bounds import Above, AtLeast
from vaelab.codes import Code
from vaelab.losses.base import Terms
from vaelab.losses.regularisers.controller import Controller
from vaelab.losses.regularisers.schedules import Scheduled, ScheduleName
from vaelab.quantities import WEIGHT, Quantity


class Regulariser(nn.Module):
    """What a loss adds to the mean -log p(x|z): regulariser(code, z, epoch, noise) gives terms of no dimension.

    They are "penalty", which is added; "kl", in nats per image and without a weight; "kl_weight", the λ of now, where
    there is one; and the regulariser's own. `z` is the draw of the code that is decoded, `epoch` the time in epochs,
    float64 (), and all that is random comes from `noise`.
    """

    quantities: ClassVar[tuple[Quantity, ...]] = ()  # of its own terms
    needs: ClassVar[str] = "posterior"  # what a model must offer

    @property
    def kl_weight(self) -> float | None:
        """λ, where no schedule holds it back, or None without one."""
        return None

    @property
    def kl_share(self) -> float | None:
        """What λ weights of the KL: 1 where it weights the KL itself, None where that is no one number."""
        return 1.0

    def findings(self, terms: Mapping[str, float]) -> tuple[str, ...]:
        """Sentences on the terms of held-out images."""
        return ()

    def forward(self, code: Code, z: Tensor, epoch: Tensor, noise: torch.Generator) -> Terms:
        """The terms of a batch's code."""
        raise NotImplementedError


class Weighted(Regulariser):
    """λ times a measure; λ follows a schedule, or is driven until the KL is `target` nats.

    A subclass says what it measures. Raises ValueError for values out of range.
    """

    quantities: ClassVar[tuple[Quantity, ...]] = (WEIGHT,)

    def __init__(
        self,
        kl_weight: Annotated[float, AtLeast(0)],
        schedule: ScheduleName,
        schedule_epochs: Annotated[float, Above(0)],
        target: Annotated[float, Above(0)] | None,
    ) -> None:
        super().__init__()
        refuse(AtLeast(0), kl_weight=kl_weight)
        refuse(Above(0), schedule_epochs=schedule_epochs, target=target)
        self.weight: Scheduled | Controller
        if target is None:
            self.weight = Scheduled(kl_weight, schedule, schedule_epochs)
            return
        if schedule != "constant":
            raise ValueError(
                f"target={target:g} drives λ, which schedule={schedule} does too: give one of them"
            )
        if not kl_weight:
            raise ValueError(f"target={target:g} drives λ from kl_weight on, which must be above 0 then")
        self.weight = Controller(target, kl_weight)

    @property
    def kl_weight(self) -> float:
        """λ where no schedule holds it back: the one given, or what a target has led to, which waits for the device."""
        return self.weight.full

    def measure(
        self, code: Code, z: Tensor, kl: Tensor, epoch: Tensor, noise: torch.Generator
    ) -> tuple[Tensor, Terms]:
        """What λ weights, and the terms of one's own; `kl` is that of the units, (B, units)."""
        raise NotImplementedError

    def findings(self, terms: Mapping[str, float]) -> tuple[str, ...]:
        """Says where the KL of held-out images is not near the target."""
        if not isinstance(self.weight, Controller):
            return ()
        return self.weight.findings(terms["kl"])

    def forward(self, code: Code, z: Tensor, epoch: Tensor, noise: torch.Generator) -> Terms:
        """The terms of a batch's code."""
        kl = code.kl(z)
        assert kl is not None  # of what `needs` says
        measured, terms = self.measure(code, z, kl, epoch, noise)
        total = kl.sum(1).mean()
        weight = self.weight(epoch, total).to(total.dtype)
        return {"penalty": weight * measured, "kl": total, "kl_weight": weight, **terms}


def refuse(bound: Above | AtLeast, **values: float | None) -> None:
    """Raises ValueError where one of the values, if it is given, is out of bounds."""
    for name, value in values.items():
        if value is not None and not bound.holds(value):
            raise ValueError(f"{name}={value} is not {bound}")
