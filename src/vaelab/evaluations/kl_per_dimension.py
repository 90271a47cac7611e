"""How many nats each latent dimension carries, and which are active."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vaelab import figures, metrics
from vaelab.evaluations.base import Context, Result


@dataclass(frozen=True)
class KLPerDimension:
    """KL to the prior of each dimension, averaged over the test split, and the active units (Burda et al. 2016)."""

    needs_posterior: ClassVar[bool] = True

    @torch.inference_mode()
    def __call__(self, context: Context) -> Result:
        kl = mean_kl(context).cpu().numpy()
        means = torch.cat([_encode(context, batch.images)[0].cpu() for batch in context.batches("test")])
        active = metrics.active_units(means).numpy()
        count = f"{active.sum():,} of {len(active):,} units active"
        return Result(
            {"kl": kl, "active": active, "mean_variance": means.var(0, correction=0).numpy()},
            figures.kl_per_dimension(kl, active, f"KL per dimension · {count} · {context.title}"),
            {"active_units": float(active.sum())},
            () if active.any() else (f"collapsed: {count}",),
        )


def mean_kl(context: Context) -> Tensor:
    """KL (d,) in nats of each dimension of the flattened code, averaged over the test split."""
    images = 0
    total = torch.zeros(())
    for batch in context.batches("test"):
        kl = metrics.gaussian_kl(*_encode(context, batch.images))
        total = total.to(kl) + kl.sum(0)
        images += len(kl)
    return total / images


def _encode(context: Context, images: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log variance (B, d) of the flattened code."""
    posterior = context.model.encode(images)  # type: ignore[operator]
    return posterior.mean.float().flatten(1), posterior.log_variance.float().flatten(1)
