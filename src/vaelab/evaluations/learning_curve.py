"""The terms of the loss over the epochs, of the training and the validation split."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from vaelab import figures
from vaelab.evaluations.base import Context, Result
from vaelab.losses.base import LOSS, RECONSTRUCTION
from vaelab.losses.elbo import ELBO_TERM, KL_TERM
from vaelab.metrics import MSE

LABEL = 20  # characters of a line beside an axis
TERMS = {
    "negative_elbo" if one.sign < 0 else one.name: "\n".join(one.lines(LABEL))
    for one in (ELBO_TERM, RECONSTRUCTION, KL_TERM, LOSS, MSE)
}
Row = dict[str, float | int | str]


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
        return Result(arrays, partial(figures.learning_curve, panels, f"Learning curve · {context.title}"))


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
