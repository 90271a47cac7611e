"""How many nats each latent dimension carries, and which are active."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch

from vaelab import figures
from vaelab.evaluations.base import Context, Result
from vaelab.evaluations.codes import moments
from vaelab.quantities import Quantity


@dataclass(frozen=True)
class KLPerDimension:
    """KL to the prior of each dimension, averaged over the test split, and the active units (Burda et al. 2016)."""

    quantities: ClassVar[tuple[Quantity, ...]] = (Quantity("active_units", "active units", shown="always"),)
    needs: ClassVar[str] = "posterior"

    @torch.inference_mode()
    def __call__(self, context: Context) -> Result:
        found = moments(context)
        assert found.kl is not None
        arrays = {
            "kl": found.kl,
            "mean_variance": found.mean_variance,
            "aggregate_mean": found.mean,
            "aggregate_variance": found.aggregate_variance,
        }
        numbers = {name: values.float().cpu().numpy() for name, values in arrays.items()}
        active = found.active.cpu().numpy()
        count = f"{active.sum():,} of {len(active):,} units active"
        return Result(
            numbers | {"active": active},
            partial(
                figures.kl_per_dimension,
                numbers["kl"],
                active,
                f"KL per dimension · {count} · {context.title}",
            ),
            {"active_units": float(active.sum())},
            () if active.any() else (f"collapsed: {count}",),
        )
