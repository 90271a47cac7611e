"""What holds an encoder near the vectors of a codebook."""

from typing import Annotated, ClassVar

import torch
from torch import Tensor

from vaelab.bounds import AtLeast
from vaelab.codes import Quantised
from vaelab.losses.base import Terms
from vaelab.losses.regularisers.base import Regulariser, refuse
from vaelab.quantities import Quantity


class Commitment(Regulariser):
    """`weight` · ‖encoded - vector‖², whose slope is the encoder's alone (van den Oord et al. 2017, equation 3).

    The KL of a codebook has no slope: which vector an image has is certain, and the prior is counted.
    """

    quantities: ClassVar[tuple[Quantity, ...]] = (
        Quantity("commitment", "squared distance of what is encoded from its vector"),
    )
    needs: ClassVar[str] = "quantiser"

    def __init__(self, weight: Annotated[float, AtLeast(0)]) -> None:
        super().__init__()
        refuse(AtLeast(0), weight=weight)
        self.commitment_weight = weight

    def forward(self, code: Quantised, z: Tensor, epoch: Tensor, noise: torch.Generator) -> Terms:  # type: ignore[override]
        """The terms of a batch's code."""
        commitment = code.commitment().mean()
        return {
            "penalty": self.commitment_weight * commitment,
            "kl": code.kl(z).sum(1).mean(),
            "commitment": commitment,
        }
