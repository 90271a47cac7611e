"""The distance of the aggregate posterior from the prior by kernels: InfoVAE and WAE."""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor

from vaelab.bounds import AtLeast
from vaelab.codes import Code
from vaelab.losses.base import Terms
from vaelab.losses.regularisers.base import refuse
from vaelab.losses.regularisers.kl import KL
from vaelab.quantities import Quantity

KernelName = Literal["rbf", "imq"]
Kernel = Callable[[Tensor, int], Tensor]


def rbf(squared: Tensor, units: int) -> Tensor:
    """exp(-d² / 2h²) of squared distances, with the bandwidth h² = units."""
    return torch.exp(-squared / (2 * units))


def imq(squared: Tensor, units: int) -> Tensor:
    """C / (C + d²), with C = 2 · units, the mean d² of draws from the prior (Tolstikhin et al. 2018, section 4)."""
    return 2 * units / (2 * units + squared)


KERNELS = {"rbf": rbf, "imq": imq}


class MMD(KL):
    """λ · (kl_share · KL + weight · MMD²(q(z), N(0, I))), with the KL as `KL` counts it.

    With kl_share = 1 - α it is InfoVAE (Zhao et al. 2019), and with kl_share = 0 the WAE of Tolstikhin et al. 2018,
    algorithm 2.
    """

    quantities: ClassVar[tuple[Quantity, ...]] = (*KL.quantities, Quantity("mmd", "squared MMD to the prior"))

    def __init__(
        self,
        weight: Annotated[float, AtLeast(0)],
        kernel: KernelName,
        kl_share: Annotated[float, AtLeast(0)],
        **kl: Any,
    ) -> None:
        super().__init__(**kl)
        refuse(AtLeast(0), weight=weight, kl_share=kl_share)
        if not kl_share and any(kl[name] is not None for name in ("free_bits", "capacity", "target")):
            raise ValueError("kl_share=0 leaves no KL to hold: leave out free_bits, capacity and target")
        self.mmd_weight, self.kernel, self.kl_part = weight, KERNELS[kernel], kl_share

    @property
    def kl_share(self) -> float:
        """What λ weights of the KL."""
        return self.kl_part

    def measure(
        self, code: Code, z: Tensor, kl: Tensor, epoch: Tensor, noise: torch.Generator
    ) -> tuple[Tensor, Terms]:
        """The share of the KL and the weighted "mmd", which is squared and may be negative, being unbiased."""
        z = z.flatten(1)
        prior = torch.randn(z.shape, generator=noise, dtype=z.dtype, device=z.device)
        mmd = squared_mmd(z, prior, self.kernel)
        return self.kl_part * self.counted(code, kl, epoch) + self.mmd_weight * mmd, {"mmd": mmd}


def squared_mmd(a: Tensor, b: Tensor, kernel: Kernel) -> Tensor:
    """The unbiased estimate of MMD² from two samples of one size, (N, units) each (Gretton et al. 2012, equation 3).

    Of one draw each it is 0, for nothing is known of either sample's own distances.
    """
    count, units = a.shape
    if count < 2:
        return (a * 0).sum()
    of_a, of_b, between = (kernel(squared_distances(x, y), units) for x, y in ((a, a), (b, b), (a, b)))
    own = (of_a + of_b).sum() - of_a.trace() - of_b.trace()
    return own / (count * (count - 1)) - 2 * between.mean()


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Of each row of the one from each row of the other, (N, M)."""
    squared = a.square().sum(1, keepdim=True) + b.square().sum(1) - 2 * a @ b.T
    return squared.clamp(min=0)
