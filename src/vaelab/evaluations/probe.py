"""How much of the classes the codes hold: the accuracies of classifiers that are given the codes alone."""

import math
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch

from vaelab.bounds import Count, Seed
from vaelab.evaluations.base import Begun, Context, Later, Result, images_of, in_chunks, size_of, spread
from vaelab.probes import Read, read_off
from vaelab.quantities import Quantity

MOST_VALUES = 2**22  # of the codes of a split: 16 MB


@dataclass(frozen=True)
class Probe(Later):
    """Accuracies on test images of a logistic regression, k-NN and a small network (Alain & Bengio 2017).

    They learn from the posterior means of at most `images` training images, spread evenly over the split; of codes
    that are large there are fewer of both.
    """

    images: Count
    seed: Seed
    quantities: ClassVar[tuple[Quantity, ...]] = (
        Quantity(
            "probe_linear_accuracy", "accuracy of a linear probe", digits=3, better="higher", shown="report"
        ),
        Quantity(
            "probe_knn_accuracy", "accuracy of k-NN on codes", digits=3, better="higher", shown="report"
        ),
        Quantity("probe_mlp_accuracy", "accuracy of an MLP probe", digits=3, better="higher", shown="report"),
    )
    needs: ClassVar[str] = "encoder"

    @torch.inference_mode()
    def begin(self, context: Context) -> Result | Begun:
        """The codes; the classifiers take seconds, and no model."""
        if not context.classes:
            return _absent("the images have no labels")
        most = max(1, MOST_VALUES // math.prod(context.model.code_shape))  # type: ignore[arg-type]
        known = _codes(context, "train", min(self.images, most))
        asked = _codes(context, "test", most)
        if not len(asked["index"]) or len(np.unique(known["label"])) < 2:
            return _absent("it takes codes of two classes, and of a test image, that are finite")
        told = (
            f"the probes learn from {len(known['index']):,} training images and are asked for "
            f"{len(asked['index']):,} test images"
        )
        is_part = len(asked["index"]) < size_of(context, "test")

        def complete(read: Read) -> Result:
            found = {
                f"probe_{name}_accuracy": float(np.mean(said == asked["label"]))
                for name, said in read.said.items()
            }
            findings = (told,) if is_part else ()
            if not read.converged:
                findings = (*findings, "the linear probe has not converged: its accuracy is not its best")
            arrays = {"index": asked["index"], "label": asked["label"], "training_index": known["index"]}
            return Result(arrays | read.said, None, found, findings)

        return Begun(partial(read_off, known["code"], known["label"], asked["code"], self.seed), complete)


def _absent(why: str) -> Result:
    return Result({}, None, findings=(f"the probes are not measured: {why}",))


def _codes(context: Context, split: str, count: int) -> dict[str, np.ndarray]:
    """code (N, d), label (N,) and index (N,) of at most `count` images of a split, whose codes are finite."""
    parts: dict[str, list[torch.Tensor]] = {"code": [], "label": [], "index": []}
    for batch in in_chunks(images_of(context, split, spread(size_of(context, split), count))):
        mean = context.model.encode(batch.images, batch.labels).mean.float().flatten(1)  # type: ignore[operator]
        finite = mean.isfinite().all(1)
        assert batch.labels is not None
        parts["code"].append(mean[finite])
        parts["label"].append(batch.labels[finite])
        parts["index"].append(batch.index.to(finite.device)[finite])
    return {name: torch.cat(found).cpu().numpy() for name, found in parts.items()}
