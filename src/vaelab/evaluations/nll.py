"""How likely the test images are under the model."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from vaelab import canvas
from vaelab.bounds import Between, Made, Seed
from vaelab.evaluations.base import Batch, Context, Result, chosen, repeated, size_of, spread
from vaelab.evaluations.unfinished import Unfinished
from vaelab.losses.base import NATS
from vaelab.losses.iwae import log_mean_exp, log_weights
from vaelab.quantities import Quantity

# Of the draws that are decoded at once, or of their codes: what a cache holds, and what keeps a GPU busy.
MOST_VALUES = {"cpu": 2**17, "cuda": 2**22}


@dataclass(frozen=True)
class NLL:
    """-log p(x) of test images in nats by the importance-weighted bound of `samples` draws of each code.

    An upper bound that comes to -log p(x) as the draws get more (Burda et al. 2016, equation 8). nll_gap is how far
    -ELBO is above it on the same draws, and nll_standard_error is that of the mean over images.
    """

    samples: Annotated[int, Between(1, 1_000_000)]
    images: Made | None
    seed: Seed
    quantities: ClassVar[tuple[Quantity, ...]] = (
        Quantity("nll", "NLL", NATS, digits=2, better="lower", of="images", shown="always"),
        Quantity("nll_standard_error", "standard error of NLL", NATS, digits=2),
        Quantity("nll_gap", "−ELBO less NLL", NATS, digits=2, better="lower", shown="report"),
    )
    needs: ClassVar[str] = "posterior"

    @torch.inference_mode()
    def __call__(self, context: Context) -> Result:
        if not hasattr(context.loss, "likelihood"):
            return Result({}, None, findings=("nll is not measured: the loss has no likelihood",))
        total = size_of(context, "test")
        places = spread(total, self.images or total)
        index, (nll, negative_elbo) = self.measured(context, places)
        metrics = {"nll": float(nll.mean()), "nll_gap": float((negative_elbo - nll).mean())}
        if len(nll) > 1:
            metrics["nll_standard_error"] = float(nll.std()) / len(nll) ** 0.5
        arrays = {
            "index": index.numpy(),
            "nll": nll.numpy(),
            "negative_elbo": negative_elbo.numpy(),
        }
        part = f"{len(nll):,} of {total:,} test images" if len(nll) < total else ""
        draw = partial(
            canvas.histograms,
            {"NLL": arrays["nll"], "−ELBO": arrays["negative_elbo"]},
            NATS,
            " · ".join(filter(None, (f"NLL ({self.samples:,} draws)", part, context.title))),
        )
        return Result(arrays, draw, metrics, (f"nll is of {part}",) if part else ())

    def measured(self, context: Context, places: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (N,) of the data set, and the bounds (2, N) of their images; goes on where a process was killed."""
        noise, rows = context.noise(self.seed), []
        unfinished = Unfinished(context.unfinished and context.unfinished / "nll.npz", self, context.model)
        bounds = resumed(unfinished, noise)
        done = len(bounds)
        with progress(len(places) * self.samples, done * self.samples) as bar:
            for batch, inside in chosen(context, "test", places):
                rows.append(torch.as_tensor(batch.index)[inside])
                # One by one: the same draws whatever the batches.
                for place in inside[done:].tolist():
                    bounds.append(self.bounds(context, batch, place, noise, bar))
                    unfinished.keep(partial(so_far, noise, bounds))
                done = max(0, done - len(inside))
        return torch.cat(rows).cpu(), torch.stack(bounds, 1).cpu()

    def bounds(self, context: Context, batch: Batch, place: int, noise: torch.Generator, bar: tqdm) -> Tensor:
        """The bounds (2,) on -log p(x) of one image of a batch, float64: of all draws, and their mean of one, -ELBO."""
        model: Any = context.model
        likelihood: Any = context.loss.likelihood
        image = batch.images[place : place + 1]
        label = None if batch.labels is None else batch.labels[place : place + 1]
        code = model.encode(image, label)
        at_once = max(1, MOST_VALUES[image.device.type] // max(image.numel(), code.mean.numel()))
        weights = []
        for begin in range(0, self.samples, at_once):
            count = min(at_once, self.samples - begin)
            z = code.samples(count, noise)
            nll = likelihood.nll(image, model.decode(z.flatten(0, 1), repeated(label, count)))
            weights.append(log_weights(code, z, nll.unsqueeze(1)).squeeze(1).double())
            bar.update(count)
        every = torch.cat(weights)
        return -torch.stack((log_mean_exp(every), every.mean()))


def so_far(noise: torch.Generator, bounds: list[Tensor]) -> dict[str, np.ndarray]:
    """What resumed() reads."""
    return {"noise": noise.get_state().numpy(), "bounds": torch.stack(bounds).cpu().numpy()}


def resumed(unfinished: Unfinished, noise: torch.Generator) -> list[Tensor]:
    """The bounds (2,) of the images that are done, and the generator as it was after them."""
    stored = unfinished.read()
    if not stored:
        return []
    noise.set_state(torch.from_numpy(stored["noise"]))
    return [*torch.from_numpy(stored["bounds"]).to(noise.device)]


def progress(draws: int, done: int) -> tqdm:
    """A bar over so many draws, which goes when they are done."""
    return tqdm(
        desc="measuring nll",
        total=draws,
        initial=done,
        unit="draw",
        unit_scale=True,
        leave=False,
        dynamic_ncols=True,
    )
