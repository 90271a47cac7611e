"""How many nats each latent dimension carries, and which are active."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch

from vaelab import canvas
from vaelab.canvas import BLACK, BLUE, GRAY, SMALL, Drawing, Mark, Panel, mark
from vaelab.evaluations.base import Context, Result
from vaelab.evaluations.codes import moments
from vaelab.quantities import Quantity

BARS = 64  # more dimensions are drawn as one outline


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
            drawing(numbers["kl"], active, f"KL per dimension · {count} · {context.title}"),
            {"active_units": float(active.sum())},
            () if active.any() else (f"collapsed: {count}",),
        )


def drawing(kl: np.ndarray, active: np.ndarray, title: str) -> Drawing:
    """KL (d,) in nats of each dimension, largest first, with the active ones (d,) marked."""
    order = np.argsort(-kl, kind="stable")
    height, on = np.nan_to_num(kl[order], posinf=0.0), active[order]
    limits = {"xlim": (-0.8, len(kl) - 0.2), "ylim": (0, max(float(height.max(initial=0)) * 1.05, 1e-3))}
    if few := len(kl) <= BARS:
        names = {"fontsize": min(SMALL, 330 / len(kl)), "rotation": 90 if len(kl) > 20 else 0}
        line = mark("set_xticks", range(len(kl)), [f"z{d}" for d in order], **names)
    else:
        line = mark("plot", height, color=BLACK, linewidth=0.8)
    bars = [
        *_bars(height, on, f"active ({on.sum():,})", facecolor=BLUE, edgecolor=BLUE),
        *_bars(height, ~on, f"inactive ({(~on).sum():,})", facecolor="white", edgecolor=GRAY, hatch="////"),
    ]
    marks = (*bars, line, mark("set", **limits), mark("tick_params", axis="x", length=2))
    across = "dimension" if few else "rank of the dimension by its KL"
    panel = Panel(across, "KL (nats)", marks, legend={"loc": "upper right"})
    return partial(canvas.panels, [panel], title, 2.9)


def _bars(height: np.ndarray, chosen: np.ndarray, label: str, **style: Any) -> Iterator[Mark]:
    """The chosen ones: bars, or one outline, for spatial codes have 100,000 and more."""
    if not chosen.any():
        return
    if len(height) <= BARS:
        yield mark(
            "bar", np.flatnonzero(chosen), height[chosen], width=0.8, linewidth=0.6, label=label, **style
        )
    else:
        edges = np.arange(len(height) + 1) - 0.5
        yield mark("stairs", np.where(chosen, height, 0), edges, fill=True, linewidth=0, label=label, **style)
