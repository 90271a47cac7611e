"""Reconstructions from codes that were changed by hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from vaelab import UsageError, canvas
from vaelab.canvas import Drawing, Images
from vaelab.evaluations.base import Context, Result, images_array, images_at, refuse_missing_rows, repeated
from vaelab.views import Rows

Edit = dict[str, float]  # dim, and one of add, set and scale
CHANGES = ("add", "set", "scale")


@dataclass(frozen=True)
class LatentEdit:
    """For each image of `index` (rows of the data set) its reconstruction, and one from its code after each edit.

    An edit is {dim: 0, add: 20}, {dim: -1, set: 0} or {dim: 3, scale: 2}; dimensions count from 0, negative ones from
    the end. Below each stands by how much it differs: the reconstruction from the image, the edits from the
    reconstruction.
    """

    index: Sequence[int]
    edits: Sequence[Edit]
    needs: ClassVar[str] = "encoder"
    views: ClassVar[tuple[Rows, ...]] = (
        Rows(
            "Edited codes",
            images="edited",
            columns="image {index}",
            rows="edit {number}: z{[dim]}{ + plus}{ − minus}{ = set}{ × scale}",
            above="original",
            above_title="original",
            beside="reconstruction",
            beside_title="reconstruction",
            columns_first=True,
        ),
    )

    def __post_init__(self) -> None:
        if not self.index or not self.edits:
            raise ValueError("index and edits must not be empty")
        for number, edit in enumerate(self.edits):
            given = [change for change in CHANGES if change in edit]
            if "dim" not in edit or len(given) != 1 or len(edit) != 2 or edit["dim"] != int(edit["dim"]):
                form = f"a whole dim and one of {', '.join(CHANGES)}"
                raise ValueError(f"edits[{number}]={edit} is not {form}: write {{dim: 0, add: 20}}")

    def refuse_missing(self, images: int, code: int) -> None:
        """Raises UsageError for images that the data set and dimensions that the code has not."""
        refuse_missing_rows("latent_edit", self.index, 0, images)
        for edit in self.edits:
            if not -code <= edit["dim"] < code:
                raise UsageError(
                    f"evaluation.latent_edit: dim={edit['dim']} is not a dimension of a code of {code}: "
                    f"use {-code} to {code - 1}"
                )

    @torch.inference_mode()
    def __call__(self, context: Context) -> Result:
        model: Any = context.model
        chosen = images_at(context, self.index)
        code = model.encode(chosen.images, chosen.labels).mean
        codes = torch.stack(
            [code, *(edited(code, edit) for edit in self.edits)], dim=1
        )  # (N, 1 + edits, ...)
        labels = repeated(chosen.labels, codes.shape[1])
        decoded = model.decode(codes.flatten(0, 1), labels).unflatten(0, codes.shape[:2])
        original, reconstruction, edits = (
            images_array(images) for images in (chosen.images, decoded[:, 0], decoded[:, 1:])
        )
        arrays = {
            "index": chosen.index.numpy(),
            "original": original,
            "reconstruction": reconstruction,
            "edited": edits,
            "z": codes.flatten(2).cpu().numpy(),
            **as_captioned(self.edits),
        }
        names = [in_words(edit) for edit in self.edits]
        title = f"Edited codes · {context.title}"
        return Result(arrays, drawing(original, reconstruction, edits, names, title))


def drawing(
    original: np.ndarray, reconstruction: np.ndarray, edits: np.ndarray, names: Sequence[str], title: str
) -> Drawing:
    """Images (N, H, W, C), their reconstructions and edits (N, edit, H, W, C), each above its difference.

    Differences are shown as far as the largest goes to white.
    """
    shown = np.concatenate((original[:, None], reconstruction[:, None], edits), axis=1)
    before = np.concatenate((original[:, None], *[reconstruction[:, None]] * edits.shape[1]), axis=1)
    differences = np.abs(shown[:, 1:] - before)
    gain = 1 / max(float(differences.max()), 1e-6)
    below = np.concatenate((np.ones_like(original[:, None]), gain * differences), axis=1)
    grid = np.stack((shown, below), axis=1).reshape(-1, *shown.shape[1:])
    rows = ["", f"difference\n× {gain:.2g}"] * len(original)
    columns = ["original", "reconstruction", *names]
    cell = Images(grid, rows, columns, wide_rows=range(2, len(grid), 2))
    return partial(canvas.grids, [cell], title, beside=0.8, around=0.5)


def edited(code: Tensor, edit: Edit) -> Tensor:
    """Codes (N, ...) with one dimension of the flat code changed."""
    flat = code.flatten(1).clone()
    dim = int(edit["dim"])
    value = flat[:, dim]
    if "add" in edit:
        flat[:, dim] = value + edit["add"]
    elif "scale" in edit:
        flat[:, dim] = value * edit["scale"]
    else:
        flat[:, dim] = edit["set"]
    return flat.view_as(code)


def as_captioned(edits: Sequence[Edit]) -> dict[str, np.ndarray]:
    """The dimension and the change of each edit; NaN where it makes another change."""
    add, set_to, scale = (np.array([edit.get(change, np.nan) for edit in edits]) for change in CHANGES)
    dim = np.array([int(edit["dim"]) for edit in edits])
    signed = {"plus": np.where(add >= 0, add, np.nan), "minus": np.where(add < 0, -add, np.nan)}
    return {"dim": dim, **signed, "set": set_to, "scale": scale}


def in_words(edit: Edit) -> str:
    """z0 + 20, z-1 = 0 or 2 · z3."""
    name = f"z[{int(edit['dim'])}]"
    if "add" in edit:
        return f"{name} {'+' if edit['add'] >= 0 else '−'} {abs(edit['add']):g}"
    return f"{name} = {edit['set']:g}" if "set" in edit else f"{edit['scale']:g} · {name}"
