"""The KL to the prior, as it is, with free bits, or held at a capacity."""

from typing import Annotated

import torch
from torch import Tensor

from vaelab.bounds import Above, AtLeast
from vaelab.codes import Code
from vaelab.losses.base import Terms
from vaelab.losses.regularisers.base import Weighted, refuse
from vaelab.losses.regularisers.schedules import ScheduleName, linear


class KL(Weighted):
    """λ · KL(q(z|x) ‖ N(0, I)) (Higgins et al. 2017, equation 4).

    With `free_bits` the mean KL of each unit, or of each layer of a code that has layers, counts as that many nats at
    least (Kingma et al. 2016, appendix C.8). With `capacity` the KL is held at C nats by λ · |KL - C|, where C grows
    from 0 over `capacity_epochs` (Burgess et al. 2018, equation 8). With `target` λ is driven until the KL is that
    many nats.
    """

    def __init__(
        self,
        kl_weight: Annotated[float, AtLeast(0)],
        schedule: ScheduleName,
        schedule_epochs: Annotated[float, Above(0)],
        free_bits: Annotated[float, AtLeast(0)] | None,
        capacity: Annotated[float, AtLeast(0)] | None,
        capacity_epochs: Annotated[float, Above(0)],
        target: Annotated[float, Above(0)] | None,
    ) -> None:
        super().__init__(kl_weight, schedule, schedule_epochs, target)
        refuse(AtLeast(0), free_bits=free_bits, capacity=capacity)
        refuse(Above(0), capacity_epochs=capacity_epochs)
        choices = {"free_bits": free_bits, "capacity": capacity, "target": target}
        given = [f"{name}={value:g}" for name, value in choices.items() if value is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} exclude each other: give one of {', '.join(choices)}")
        self.free_bits, self.capacity, self.capacity_epochs = free_bits, capacity, capacity_epochs

    def measure(
        self, code: Code, z: Tensor, kl: Tensor, epoch: Tensor, noise: torch.Generator
    ) -> tuple[Tensor, Terms]:
        """The KL as it counts."""
        return self.counted(code, kl, epoch), {}

    def counted(self, code: Code, kl: Tensor, epoch: Tensor) -> Tensor:
        """What the KL of the units, (B, units), counts for."""
        parts = kl.mean(0)
        if self.free_bits is not None:
            if code.layers is not None:
                parts = torch.stack([layer.sum() for layer in parts.split(code.layers)])
            parts = parts.clamp(min=self.free_bits)
        total = parts.sum()
        if self.capacity is None:
            return total
        capacity = self.capacity * linear(epoch, self.capacity_epochs)
        return (total - capacity.to(total.dtype)).abs()
