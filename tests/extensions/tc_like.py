"""A regulariser: the total correlation by minibatch-weighted sampling (Chen et al. 2018, appendix C.1)."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Normal

from vaelab.codes import Code
from vaelab.losses.regularisers import Weighted
from vaelab.quantities import Quantity


class WeightedSampling(Weighted):
    needs = "gaussian"
    quantities = (*Weighted.quantities, Quantity("my_tc", "total correlation of my own", "nats per image"))

    def __init__(self, beta: float, data_size: int, **weighted: Any) -> None:
        super().__init__(**weighted)
        self.beta, self.data_size = beta, data_size

    def measure(
        self, code: Code, z: Tensor, kl: Tensor, epoch: Tensor, noise: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        assert code.variance is not None
        of_each = Normal(code.mean, code.variance.sqrt(), validate_args=False).log_prob(z[:, None])
        shift = math.log(len(z) * self.data_size)
        joint = torch.logsumexp(of_each.sum(2), 1) - shift
        marginals = (torch.logsumexp(of_each, 1) - shift).sum(1)
        tc = (joint - marginals).mean()
        return kl.sum(1).mean() + (self.beta - 1) * tc, {"my_tc": tc}
