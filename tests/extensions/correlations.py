"""An evaluation: how far the units of a code are correlated, with a figure that it draws itself."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from matplotlib.figure import Figure

from vaelab.evaluations import Context, Result
from vaelab.evaluations.base import encoded
from vaelab.quantities import Quantity
from vaelab.views import Grid


def drawing(table: np.ndarray, title: str) -> Figure:
    figure = Figure(figsize=(4, 4))
    axes = figure.subplots()
    axes.imshow(table, vmin=-1, vmax=1, cmap="RdBu")
    axes.set_title(title, fontsize=7)
    return figure


@dataclass(frozen=True)
class Correlations:
    least: float
    needs: ClassVar[str] = "encoder"
    quantities: ClassVar[tuple[Quantity, ...]] = (
        Quantity("correlation", "mean correlation", digits=3, better="lower", shown="always"),
    )

    views: ClassVar[tuple[Grid, ...]] = (
        Grid("Correlations of units", values="correlation", x="unit", y="unit", unit="correlation"),
    )

    @torch.inference_mode()
    def __call__(self, context: Context) -> Result:
        codes = torch.cat([code.mean.flatten(1) for _, code in encoded(context)])
        table = torch.corrcoef(codes.double().T).nan_to_num().cpu().numpy()
        others = np.abs(table[~np.eye(len(table), dtype=bool)])
        found = (f"{(others > self.least).mean():.0%} of the pairs of units are correlated",)
        draw = partial(drawing, table, f"Correlations · {context.title}")
        return Result({"correlation": table}, draw, {"correlation": float(others.mean())}, found)
