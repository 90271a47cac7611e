"""The covariance of the aggregate posterior held at the identity beside the KL: DIP-VAE."""

from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor

from vaelab.bounds import AtLeast
from vaelab.codes import Code
from vaelab.losses.base import Terms
from vaelab.losses.regularisers.base import refuse
from vaelab.losses.regularisers.kl import KL
from vaelab.quantities import Quantity


class DIPI(KL):
    """λ · (KL + the distance of the posterior means' covariance from I) (Kumar et al. 2018, equation 6).

    The distance is `diagonal_weight` · Σ (Cov_ii - 1)² + `off_diagonal_weight` · Σ Cov_ij², i ≠ j. The KL counts as
    `KL` has it.
    """

    quantities: ClassVar[tuple[Quantity, ...]] = (
        *KL.quantities,
        Quantity("dip", "distance of the covariance from the identity"),
    )
    needs: ClassVar[str] = "gaussian"

    def __init__(
        self,
        diagonal_weight: Annotated[float, AtLeast(0)],
        off_diagonal_weight: Annotated[float, AtLeast(0)],
        **kl: Any,
    ) -> None:
        super().__init__(**kl)
        refuse(AtLeast(0), diagonal_weight=diagonal_weight, off_diagonal_weight=off_diagonal_weight)
        self.diagonal_weight, self.off_diagonal_weight = diagonal_weight, off_diagonal_weight

    def measure(
        self, code: Code, z: Tensor, kl: Tensor, epoch: Tensor, noise: torch.Generator
    ) -> tuple[Tensor, Terms]:
        """The KL as it counts and the distance "dip"."""
        covariance = self.covariance(code)
        diagonal = covariance.diagonal()
        squares = diagonal.square().sum()
        dip = self.diagonal_weight * (diagonal - 1).square().sum() + self.off_diagonal_weight * (
            covariance.square().sum() - squares
        )
        return self.counted(code, kl, epoch) + dip, {"dip": dip}

    def covariance(self, code: Code) -> Tensor:
        """That of the posterior means over the batch, (units, units)."""
        centred = code.mean.flatten(1)
        centred = centred - centred.mean(0)
        return centred.T @ centred / len(centred)


class DIPII(DIPI):
    """As DIP-I, with the covariance of the aggregate posterior (Kumar et al. 2018, equation 7)."""

    def covariance(self, code: Code) -> Tensor:
        """That of the means plus the mean of the variances (their equation 5)."""
        assert code.variance is not None
        return super().covariance(code) + torch.diag(code.variance.flatten(1).mean(0))
