"""The terms of the loss over the epochs, of the training and the validation split."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from vaelab import canvas
from vaelab.canvas import BLUE, GRAY, SKY, WIDTH, Drawing, Mark, Panel, mark
from vaelab.evaluations.base import Context, Result
from vaelab.losses.base import LOSS, RECONSTRUCTION
from vaelab.losses.elbo import ELBO_TERM, KL_TERM
from vaelab.metrics import MSE

LABEL = 20  # characters of a line beside an axis
TERMS = {
    "negative_elbo" if one.sign < 0 else one.name: "\n".join(one.lines(LABEL))
    for one in (ELBO_TERM, RECONSTRUCTION, KL_TERM, LOSS, MSE)
}
STYLE: dict[str, dict[str, Any]] = {
    "steps": {"color": GRAY, "linestyle": "-", "linewidth": 0.8, "alpha": 0.5},
    "train": {"color": SKY, "linestyle": "--", "linewidth": 1.6},
    "val": {"color": BLUE, "linestyle": "-", "linewidth": 1.6},
}
Row = dict[str, float | int | str]
Curves = Mapping[str, tuple[np.ndarray, np.ndarray]]  # split -> (epoch, value)


@dataclass(frozen=True)
class LearningCurve:
    """−ELBO, reconstruction, KL and MSE by epoch, and the loss where it is not one of these; reads the history alone.

    Where log_every kept steps inside the epochs, they are drawn too.
    """

    def __call__(self, context: Context) -> Result:
        rows = [_with_negative_elbo(row) for row in context.history]
        names = [name for name in TERMS if any(name in row for row in rows)]
        if all(_is_unweighted(row) for row in rows):
            names = [name for name in names if name != "loss"]
        if not names:
            return Result({}, None)
        per_epoch = next(float(row["step"]) / float(row["epoch"]) for row in rows if row["split"] != "steps")
        panels: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
        arrays: dict[str, np.ndarray] = {}
        for name in names:
            for split in ("steps", "train", "val"):
                own = [row for row in rows if row["split"] == split and name in row]
                if not own:
                    continue
                epoch = np.array(
                    [place(row, per_epoch) for row in own], np.float64 if split == "steps" else np.int64
                )
                value = np.array([row[name] for row in own], np.float64)
                panels.setdefault(TERMS[name], {})[split] = (epoch, value)
                arrays |= {f"{split}_epoch": epoch, f"{split}_{name}": value}
        return Result(arrays, drawing(panels, f"Learning curve · {context.title}"))


def drawing(panels: Mapping[str, Curves], title: str) -> Drawing:
    """One panel for each quantity (axis label -> curves), one line for each split, over a shared epoch axis."""
    cells = [Panel("epoch", label, [*_lines(curves)]) for label, curves in panels.items()]
    square = len(cells) == 4
    width = WIDTH if len(cells) > 1 else WIDTH * 0.6
    columns = 2 if square else len(cells)
    return partial(
        canvas.panels, cells, title, 4.6 if square else 2.8, width=width, columns=columns, sharex=True
    )


def _lines(curves: Curves) -> Iterator[Mark]:
    for split, (epoch, value) in curves.items():
        yield mark("plot", epoch, value, label=split, **marker(len(epoch)), **STYLE[split])
    yield mark("locator_params", axis="x", integer=True, nbins=6, min_n_ticks=1)
    yield mark("ticklabel_format", axis="y", useOffset=False, scilimits=(-3, 5))


def marker(points: int) -> dict[str, Any]:
    """A single epoch has no line, so it gets a point."""
    return {"marker": "o", "markersize": 4} if points < 2 else {}


def place(row: Row, per_epoch: float) -> float | int:
    """Where a row stands on the axis of epochs: at its epoch's end, or inside it."""
    return float(row["step"]) / per_epoch if row["split"] == "steps" else int(row["epoch"])


def _with_negative_elbo(row: Row) -> Row:
    return row | {"negative_elbo": -float(row["elbo"])} if "elbo" in row else row


def _is_unweighted(row: Row) -> bool:
    """Whether the loss is −ELBO or, without a KL term, the reconstruction: then it needs no panel of its own."""
    unweighted = row.get("negative_elbo", row.get("reconstruction"))
    if "loss" not in row or unweighted is None:
        return True
    return bool(np.isclose(float(row["loss"]), float(unweighted), rtol=1e-4))
