"""How much of a codebook the test images use."""

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch

from vaelab import canvas
from vaelab.canvas import BLACK, BLUE, Drawing, Panel, mark
from vaelab.codes import counted, perplexity
from vaelab.evaluations.base import Context, Result, encoded
from vaelab.quantities import Quantity


@dataclass(frozen=True)
class Codebook:
    """How often each vector is used over the test split: the perplexity of that, the share that is used, the bits.

    The perplexity is that of all places together (van den Oord et al. 2017 report it); `bits` is the size of a code
    that writes each place with the same number of bits, `bits_by_prior` that of one which knows how often each
    vector is at each place.
    """

    needs: ClassVar[str] = "quantiser"
    quantities: ClassVar[tuple[Quantity, ...]] = (
        Quantity("perplexity", "perplexity of the codebook", better="higher", shown="report"),
        Quantity(
            "codebook_use", "share of the codebook that is used", digits=3, better="higher", shown="report"
        ),
        Quantity("bits", "bits of a code", "bits", shown="report"),
        Quantity("bits_by_prior", "bits of a code by the prior", "bits", better="lower"),
    )

    @torch.inference_mode()
    def __call__(self, context: Context) -> Result:
        counts, nats, images = torch.zeros(()), torch.zeros((), dtype=torch.float64), 0
        for _, code in encoded(context):
            counts = counts.to(code.index.device) + counted(code.index, code.prior.shape[1])
            nats = nats.to(code.index.device) + code.kl().double().sum()
            images += len(code.index)
        uses = counts.sum(0)
        found = {
            "perplexity": float(perplexity(uses.double())),
            "codebook_use": float((uses > 0).float().mean()),
            "bits": float(code.bits),
            "bits_by_prior": float(nats) / images / math.log(2),
        }
        share = (uses / uses.sum()).cpu().numpy()
        title = f"Codebook: perplexity {found['perplexity']:.1f} of {len(share):,} · {context.title}"
        return Result({"share": share, "count": counts.cpu().numpy()}, drawing(share, title), found)


def drawing(share: np.ndarray, title: str) -> Drawing:
    """How often each vector (K,) is used, the most used first, beside a use of all alike."""
    edges = np.arange(len(share) + 1)
    marks = (
        mark("stairs", np.sort(share)[::-1], edges, fill=True, color=BLUE, label="test images"),
        mark("axhline", 1 / len(share), color=BLACK, linewidth=0.8, linestyle="--", label="all alike"),
        mark("set", xlim=(0, len(share))),
        mark("set_ylim", bottom=0),
    )
    panel = Panel("rank of the vector by its use", "share of all places", marks)
    return partial(canvas.panels, [panel], title, 2.6)
