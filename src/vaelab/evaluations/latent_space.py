"""The codes of the test images in two dimensions."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch

from vaelab import canvas
from vaelab.bounds import Between
from vaelab.canvas import BLUE, COLOURS, GRAY, Drawing, Mark, Panel, mark
from vaelab.embeddings import Embedding, embed
from vaelab.evaluations.base import Begun, Context, Later, Result, encoded, size_of, spread, within
from vaelab.fonts import class_names, shorten

MOST_VALUES = 2**26  # of all codes that are kept: 256 MB
IN_ATLAS = 200  # images of the test split that an atlas has, which a report looks for in the map
MARKERS = "os^Dv*XP<>hp"
LEGEND_ROWS = 24
LEGEND_TEXT = 24  # characters of a class's name


@dataclass(frozen=True)
class LatentSpace(Later):
    """Posterior means of at most `points` test images by PCA or t-SNE; one and two dimensions are shown as they are.

    Of more images, and where codes are so large that these would not fit, a subset spread evenly over the split.
    """

    method: Literal["pca", "tsne"]
    points: Annotated[int, Between(1, 1_000_000)]
    needs: ClassVar[str] = "encoder"

    @torch.inference_mode()
    def begin(self, context: Context) -> Result | Begun:
        """The codes; their embedding takes seconds, and no model."""
        total = size_of(context, "test")
        arrays = _codes(context, total, self.points)
        finite = np.isfinite(arrays["mean"]).all(1)
        if not finite.any():
            return Result({}, None, findings=("no latent space: no code of a test image is finite",))
        lost = np.count_nonzero(~finite)
        findings = (f"{lost:,} codes are left out, which are not finite",) if lost else ()
        shown = f"{len(finite):,} of {total:,} test images · " if len(finite) < total else ""
        arrays = {name: values[finite] for name, values in arrays.items()}

        def complete(embedded: Embedding) -> Result:
            embedding, axes, method = embedded
            classes, told = class_names(context.classes)
            title = f"Latent space ({method}) · {shown}{context.title}{told}"
            draw = drawing(embedding, axes, arrays.get("label"), classes, title)
            return Result(arrays | {"embedding": embedding}, draw, findings=findings)

        return Begun(partial(embed, arrays["mean"], self.method), complete)


def drawing(
    points: np.ndarray, axes: tuple[str, str], label: np.ndarray | None, classes: Sequence[str], title: str
) -> Drawing:
    """Points (N, 2), with a colour and a marker for each class where there are labels (N,)."""
    size = float(np.clip(6000 / max(1, len(points)), 6, 26))
    if label is None:
        marks = [mark("scatter", *points.T, s=size, color=BLUE, linewidths=0, alpha=0.7)]
    else:
        marks = [*_by_class(points, label, classes, size)]
    panel = Panel(*axes, marks, legend={"loc": "center left", "bbox_to_anchor": (1.0, 0.5)})
    return partial(canvas.panels, [panel], title, 4.6, width=4.8 if label is None else 5.6)


def _by_class(points: np.ndarray, label: np.ndarray, classes: Sequence[str], size: float) -> Iterator[Mark]:
    """The most frequent classes, as many as a legend has room for, above all others."""
    numbers, times = np.unique(label, return_counts=True)
    named = np.sort(numbers[np.argsort(-times, kind="stable")[:LEGEND_ROWS]])
    rest = points[~np.isin(label, named)]
    if len(rest):
        yield mark("scatter", *rest.T, s=size / 2, color=GRAY, linewidths=0, label="other classes")
    for place, number in enumerate(named):
        style = {"color": COLOURS[place % len(COLOURS)], "marker": MARKERS[place % len(MARKERS)]}
        name = shorten(classes[number], LEGEND_TEXT) or str(number)
        own = points[label == number]
        yield mark("scatter", *own.T, s=size, linewidths=0, alpha=0.8, label=name, **style)


def _codes(context: Context, total: int, points: int) -> dict[str, np.ndarray]:
    """mean (N, d) and index (N,) of at most `points` test images; log_variance and label (N,) where there are such."""
    parts: dict[str, list[np.ndarray]] = {}
    size = math.prod(context.model.code_shape)  # type: ignore[arg-type]
    places = _places(total, min(points, max(1, MOST_VALUES // size)))
    start = 0
    for batch, code in encoded(context):
        inside = within(places, start, batch)
        start += len(batch.images)
        if not len(inside):
            continue
        found = {"mean": code.mean}
        if code.variance is not None:
            found["log_variance"] = code.variance.log()
        for name, values in found.items():
            parts.setdefault(name, []).append(values[inside].float().flatten(1).cpu().numpy())
        parts.setdefault("index", []).append(torch.as_tensor(batch.index)[inside].cpu().numpy())
        if batch.labels is not None:
            parts.setdefault("label", []).append(batch.labels[inside].cpu().numpy())
    return {name: np.concatenate(part) for name, part in parts.items()}


def _places(total: int, points: int) -> torch.Tensor:
    """Places spread evenly over the test split, among them those of an atlas's images."""
    places = spread(total, points)
    of_atlas = spread(total, min(IN_ATLAS, points))
    places[torch.searchsorted(places, of_atlas)] = of_atlas
    return places
