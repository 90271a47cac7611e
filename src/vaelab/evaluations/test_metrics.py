"""The numbers of the test split."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from vaelab import canvas, metrics
from vaelab.bounds import Few, Seed
from vaelab.canvas import BLACK, SKY, Drawing, Images, Panel, mark
from vaelab.evaluations.base import (
    Context,
    Result,
    encoded,
    images_array,
    reconstruct,
)
from vaelab.evaluations.verification import Verification
from vaelab.losses.base import LOSS, NATS, RECONSTRUCTION
from vaelab.losses.densities import bits_per_dim
from vaelab.losses.elbo import ELBO_TERM, KL_TERM
from vaelab.quantities import WEIGHT, Quantity

TRAIN = "train_"  # before the name of a number of the training images
OWN = (
    metrics.PSNR,
    metrics.SSIM,
    metrics.MSE,
    Quantity("mse_signed", "MSE of images in [-1, 1]", better="lower", shown="report"),
    Quantity(
        "elbo_optimal_sigma",
        "−ELBO at the optimal σ",
        NATS,
        digits=2,
        better="lower",
        sign=-1,
        shown="report",
    ),
    Quantity("optimal_sigma", "optimal σ"),
    Quantity("bits_per_dim", "bits per dimension", "bits", digits=3, better="lower", shown="report"),
)


def of_training(one: Quantity) -> Quantity:
    """The same number of the training images."""
    shown: Literal["", "report"] = "report" if one.shown else ""
    return replace(one, name=f"{TRAIN}{one.name}", title=f"{one.title}, training images", of="", shown=shown)


@dataclass(frozen=True)
class TestMetrics:
    """MSE, PSNR and SSIM of each test image, and every term of the loss averaged over the test split.

    With "train" in `splits` the same of the training images, as train_mse and so on. The figure shows the `examples`
    best and worst test images by PSNR. With `verify` other libraries compute some numbers of test images again.
    Raises ValueError for splits without "test".
    """

    __test__: ClassVar[bool] = False  # the name is no test's

    examples: Few
    seed: Seed
    splits: list[Literal["test", "train"]]
    verify: bool
    quantities: ClassVar[tuple[Quantity, ...]] = (
        *OWN,
        *map(of_training, (LOSS, ELBO_TERM, RECONSTRUCTION, KL_TERM, *OWN)),
    )
    needs: ClassVar[str] = "encoder"

    def __post_init__(self) -> None:
        if "test" not in self.splits:
            raise ValueError("splits has no test: give [test], or [test,train]")

    @torch.inference_mode()
    def __call__(self, context: Context) -> Result:
        verification = Verification(context) if self.verify else None
        arrays, means = self.measured(context, "test", verification)
        findings = context.loss.findings(means)  # type: ignore[operator]
        draw = self._draw(context, arrays)
        if "train" in self.splits:
            of_images, of_split = self.measured(context, "train")
            arrays |= {f"{TRAIN}{name}": values for name, values in of_images.items()}
            means |= {f"{TRAIN}{name}": mean for name, mean in of_split.items() if name != WEIGHT.name}
        if verification is None:
            return Result(arrays, draw, means, findings)
        facts = {"verified": verification.facts()}
        return Result(arrays, draw, means, (*findings, *verification.findings()), facts=facts)

    def measured(
        self, context: Context, split: str, verification: Verification | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """What is measured of each image of a split, with their rows "index", and the means over the split."""
        per_image: dict[str, list[Tensor]] = {}
        totals: dict[str, Tensor] = {}
        noise, other_noise = context.noise(self.seed), context.noise(self.seed + 1)
        sampled: list[Tensor] = []
        for batch, code in encoded(context, split):
            decoded = context.model.decode(code.mean, batch.labels)  # type: ignore[operator]
            measured = {"index": torch.as_tensor(batch.index)} | metrics.of_images(batch.images, decoded)
            if verification:
                verification.add(batch, code, decoded, measured)
            for name, values in measured.items():
                per_image.setdefault(name, []).append(values)
            z = code.sample(other_noise)
            if code.kl(z) is not None:
                sampled.append(metrics.mse(batch.images, context.model.decode(z, batch.labels)))  # type: ignore[operator]
            for _, terms in context.loss(context.model, batch, noise):
                for name, term in terms.items():
                    totals[name] = totals.get(name, 0) + len(batch.images) * term.double()
        arrays = {name: torch.cat(parts).cpu().numpy() for name, parts in per_image.items()}
        means = {name: float(total) / len(arrays["index"]) for name, total in totals.items()}
        means |= {name: float(values.mean()) for name, values in arrays.items() if name != "index"}
        size = int(np.prod(batch.images.shape[1:]))
        return arrays, means | _derived(context.loss, means, sampled, size)

    def _draw(self, context: Context, arrays: dict[str, np.ndarray]) -> Drawing:
        score = arrays[metrics.PSNR.name]
        order = np.argsort(-score, kind="stable")
        count = min(self.examples, len(order) // 2) or len(order)
        chosen = np.concatenate((order[:count], order[count:][-count:]))
        shown, labels = _pick(context, chosen)
        captions = [_caption(arrays, int(place)) for place in chosen]
        pairs = (images_array(shown), images_array(reconstruct(context.model, shown, labels)))
        return drawing(*pairs, captions, count, score, f"Test metrics · {context.title}")


def drawing(
    original: np.ndarray,
    reconstruction: np.ndarray,
    captions: Sequence[str],
    best: int,
    score: np.ndarray,
    title: str,
) -> Drawing:
    """Pairs of images (N, H, W, C), the first `best` of them the best ones, beside the histogram of PSNR."""
    wide = (best,) if 0 < best < len(original) else ()
    which = f"{best} best (left) and {best} worst (right)" if wide else ""
    grid = np.stack((original, reconstruction))
    pairs = Images(grid, ["original", "recon-\nstruction"], captions, which, wide_columns=wide)
    score = score[np.isfinite(score)]
    bins = min(30, max(5, len(score) // 8))
    marks = [mark("hist", score, bins=bins, color=SKY, edgecolor="white", linewidth=0.4)]
    told = ""
    if len(score):
        mean = float(score.mean())
        marks.append(mark("axvline", mean, color=BLACK, linestyle="--", linewidth=1.2))
        told = f"mean {mean:.2f} dB (dashed)"
    marks.append(mark("locator_params", axis="y", integer=True, min_n_ticks=1))
    histogram = Panel("PSNR (dB)", "test images", marks, told)
    return partial(canvas.panels, [pairs, histogram], title, 2.5, width_ratios=(2.1, 1))


def _derived(loss: Any, means: dict[str, float], sampled: list[Tensor], values: int) -> dict[str, float]:
    """What follows from a split's means and the squared errors of sampled codes, for images of so many values."""
    found = {}
    if getattr(loss, "reduction", None) == "mean_signed":
        found["mse_signed"] = 4 * means["mse"]  # of the same images scaled to [-1, 1], as the loss has it
    if sampled and "kl" in means:
        found |= at_optimal_sigma(float(torch.cat(sampled).double().mean()), means["kl"], values)
    if "elbo" in means and getattr(getattr(loss, "likelihood", None), "discrete", False):
        found["bits_per_dim"] = bits_per_dim(-means["elbo"], values)
    return found


def at_optimal_sigma(mse: float, kl: float, values: int) -> dict[str, float]:
    """The ELBO in nats of a Gaussian likelihood with its best σ, and that σ: the root of the error of sampled codes.

    So runs of any likelihood and any σ compare: λ and σ are told apart (Rybkin et al. 2021, equation 6).
    """
    nll = 0.5 * values * (math.log(2 * math.pi * max(mse, 1e-12)) + 1)
    return {"elbo_optimal_sigma": -(nll + kl), "optimal_sigma": math.sqrt(mse)}


def _pick(context: Context, places: np.ndarray) -> tuple[Tensor, Tensor | None]:
    """The test images at these places of the split, and their labels if they have some."""
    found: dict[int, Tensor] = {}
    labels: dict[int, Tensor] = {}
    start = 0
    for batch in context.batches("test"):
        inside = places[(places >= start) & (places < start + len(batch.images))]
        found |= {place: batch.images[place - start] for place in inside.tolist()}
        if batch.labels is not None:
            labels |= {place: batch.labels[place - start] for place in inside.tolist()}
        start += len(batch.images)
    images = torch.stack([found[place] for place in places.tolist()])
    return images, torch.stack([labels[place] for place in places.tolist()]) if labels else None


def _caption(arrays: dict[str, np.ndarray], place: int) -> str:
    lines = [f"{arrays[metrics.PSNR.name][place]:.1f} {metrics.PSNR.unit}"]
    if metrics.SSIM.name in arrays:
        lines.append(f"{metrics.SSIM.title} {arrays[metrics.SSIM.name][place]:.2f}")
    return "\n".join(lines)
