"""The KL in three parts with weights of their own: β-TCVAE."""

import math
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from vaelab.bounds import AtLeast, Count
from vaelab.codes import Code
from vaelab.gaussians import log_normal, log_standard_normal
from vaelab.losses.base import NATS, Terms
from vaelab.losses.regularisers.base import Weighted, refuse
from vaelab.quantities import Quantity


class TC(Weighted):
    """λ times the weighted sum of the three parts of the KL (Chen et al. 2018, equations 2 and 4).

    They are the mutual information of image and code ("mi"), the total correlation of the code's units ("tc"), and the
    KL of each unit's aggregate ("dimension_kl"), in nats. `data_size` is the number of images that are learned from.
    """

    quantities: ClassVar[tuple[Quantity, ...]] = (
        *Weighted.quantities,
        Quantity("mi", "mutual information of image and code", NATS),
        Quantity("tc", "total correlation of the code's units", NATS),
        Quantity("dimension_kl", "KL of each unit's aggregate", NATS),
    )
    needs: ClassVar[str] = "gaussian"

    def __init__(
        self,
        mi_weight: Annotated[float, AtLeast(0)],
        tc_weight: Annotated[float, AtLeast(0)],
        dimension_weight: Annotated[float, AtLeast(0)],
        data_size: Count,
        **weighted: Any,
    ) -> None:
        super().__init__(**weighted)
        refuse(AtLeast(0), mi_weight=mi_weight, tc_weight=tc_weight, dimension_weight=dimension_weight)
        refuse(AtLeast(1), data_size=data_size)
        self.mi_weight, self.tc_weight, self.dimension_weight = mi_weight, tc_weight, dimension_weight
        self.data_size = data_size

    @property
    def kl_share(self) -> float | None:
        """What λ weights of the KL, where all its parts have one weight."""
        return self.mi_weight if self.mi_weight == self.tc_weight == self.dimension_weight else None

    def measure(
        self, code: Code, z: Tensor, kl: Tensor, epoch: Tensor, noise: torch.Generator
    ) -> tuple[Tensor, Terms]:
        """The weighted sum of the parts, and the parts."""
        parts = decomposition(code, z, self.data_size)
        mi, tc, dimension_kl = parts.values()
        return self.mi_weight * mi + self.tc_weight * tc + self.dimension_weight * dimension_kl, parts


def decomposition(code: Code, z: Tensor, data_size: int) -> Terms:
    """Estimates mi, tc and dimension_kl in nats from one draw for each image; their sum has the KL's expectation.

    The aggregate posterior is estimated from the batch by the stratified weights of Chen et al. 2018, appendix C.2,
    averaged over which of the other images stands for those outside the batch: the expectation is the same and the
    variance smaller, and on a batch of all images the estimate is exact.
    """
    assert code.variance is not None
    mean, log_variance = code.mean.flatten(1), code.variance.log().flatten(1)
    z = z.flatten(1)
    of_own = log_normal(z, mean, log_variance).sum(1)
    of_each = log_normal(
        z[:, None], mean, log_variance
    )  # unit by unit, of each draw under each image's posterior
    weights = stratified_log_weights(len(z), data_size, z)
    of_aggregate = torch.logsumexp(of_each.sum(2) + weights, 1)
    of_marginals = torch.logsumexp(of_each + weights[:, :, None], 1).sum(1)
    of_prior = log_standard_normal(z).sum(1)
    return {
        "mi": (of_own - of_aggregate).mean(),
        "tc": (of_aggregate - of_marginals).mean(),
        "dimension_kl": (of_marginals - of_prior).mean(),
    }


def stratified_log_weights(batch: int, data_size: int, like: Tensor) -> Tensor:
    """Logarithms (batch, batch) of what each image's posterior counts for in the aggregate at each draw.

    A batch of one image says nothing of the aggregate, which is taken for its posterior.
    """
    others = batch - 1
    if not others:
        return like.new_zeros(1, 1)
    own = -math.log(data_size)
    other = math.log((data_size - 1) / (data_size * others)) if data_size > 1 else -math.inf
    return like.new_full((batch, batch), other).fill_diagonal_(own)
