"""How the game of generator and discriminator went: losses, accuracies, class terms."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import ClassVar

import numpy as np

from vaelab import canvas
from vaelab.canvas import COLOURS, Drawing, Mark, Panel, mark
from vaelab.evaluations.base import Context, Result
from vaelab.evaluations.learning_curve import marker

# Axis label -> line -> column of metrics.csv.
PANELS = {
    "loss\n(nats per image)": {"discriminator": "loss_discriminator", "generator": "loss_generator"},
    "discriminator's accuracy": {"on real images": "accuracy_real", "on generated": "accuracy_fake"},
    "class loss\n(nats per image)": {"of real images": "class_loss_real", "of generated": "class_loss_fake"},
    "class accuracy": {"on real images": "class_accuracy_real", "on generated": "class_accuracy_fake"},
}
WON = 0.99  # accuracy on real and on generated images from which a discriminator teaches nothing
EPOCHS = 3  # for which it must hold
Row = dict[str, float | int | str]
Lines = Mapping[str, tuple[np.ndarray, np.ndarray]]  # name -> (step, value)


@dataclass(frozen=True)
class AdversarialCurves:
    """The training split's terms by step, inside the epochs too where log_every kept them; reads the history alone."""

    needs: ClassVar[str] = "generator"

    def __call__(self, context: Context) -> Result:
        inside = [row for row in context.history if row["split"] == "steps"]
        epochs = [row for row in context.history if row["split"] == "train"]
        rows = inside if len(inside) > len(epochs) else epochs
        step = np.array([row["step"] for row in rows], np.int64)
        arrays: dict[str, np.ndarray] = {"step": step}
        panels: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
        for label, lines in PANELS.items():
            for line, column in lines.items():
                if rows and column in rows[0]:
                    arrays[column] = np.array([row[column] for row in rows], np.float64)
                    panels.setdefault(label, {})[line] = (step, arrays[column])
        if not panels:
            return Result({}, None)
        draw = drawing(panels, f"Adversarial curves · {context.title}")
        return Result(arrays, draw, findings=won(epochs))


def drawing(panels: Mapping[str, Lines], title: str) -> Drawing:
    """One panel for each quantity (axis label -> lines), over a shared axis of steps."""
    cells = [Panel("step", label, [*_marks(label, lines)]) for label, lines in panels.items()]
    height = 2.4 * -(-len(cells) // 2)
    return partial(canvas.panels, cells, title, height, columns=min(2, len(cells)), sharex=True)


def _marks(label: str, lines: Lines) -> Iterator[Mark]:
    for colour, (name, (step, value)) in zip(COLOURS, lines.items(), strict=False):
        yield mark("plot", step, value, label=name, color=colour, linewidth=1.2, **marker(len(step)))
    if "accuracy" in label:
        yield mark("set_ylim", -0.03, 1.03)


def won(epochs: list[Row]) -> tuple[str, ...]:
    """A sentence where the discriminator told nearly all images apart for EPOCHS epochs in a row."""
    told = [
        min(float(row.get("accuracy_real", 0)), float(row.get("accuracy_fake", 0))) > WON for row in epochs
    ]
    place = 0
    longest: tuple[int, int] = (0, 0)  # epochs, and the place of the first
    for all_told, group in groupby(told):
        length = len(list(group))
        if all_told and length > longest[0]:
            longest = (length, place)
        place += length
    count, first = longest
    if count < EPOCHS:
        return ()
    a, b = epochs[first]["epoch"], epochs[first + count - 1]["epoch"]
    return (
        f"the discriminator won: its accuracy on real and on generated images was above {WON:g} from epoch {a} to {b}, "
        "so the generator had little to learn from; try loss.label_smoothing=0.1, fewer discriminator maps, "
        "model.discriminator_norm=spectral or loss.augment=[color,translation,cutout]",
    )
