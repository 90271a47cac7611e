"""What a code tells of its image, and how far all codes together are from the prior: the parts of the rate."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from vaelab import canvas
from vaelab.bounds import Count, Few, Seed
from vaelab.canvas import COLOURS, Drawing, Panel, mark
from vaelab.evaluations.base import Context, Result, images_of, in_chunks, size_of, spread
from vaelab.gaussians import Moments, log_normal, log_standard_normal
from vaelab.losses.regularisers.tc import decomposition
from vaelab.quantities import Quantity

MOST_DENSITIES = 2**31  # of one unit at one draw: half a minute on one core
MOST_VALUES = 2**24  # of all codes that are kept: 128 MB, a few times over
AT_ONCE = 2**17  # densities in one go: 1 MB, which stays in the cache
IN_A_CODE = 256  # images whose codes are computed in one go
NEAR = 0.9  # of the bound, from which an estimate is a lower bound more than an estimate
ROUNDING = 1e-9  # nats
PARTS = (
    Quantity("mutual_information", "mutual information I(x;z)", "nats", digits=2, shown="report"),
    Quantity("marginal_kl", "KL of the aggregate posterior", "nats", digits=2, shown="report"),
    Quantity("total_correlation", "total correlation", "nats", digits=2, shown="report"),
    Quantity("dimension_wise_kl", "dimension-wise KL", "nats", digits=2, shown="report"),
)
# Three parts of the rate, by their names in the loss that estimates them from its batch.
OF_MINIBATCHES = {"mi": "mutual_information", "tc": "total_correlation", "dimension_kl": "dimension_wise_kl"}


@dataclass(frozen=True)
class Information:
    """The rate in parts: I(x;z) + KL(q(z) ‖ N(0, I)) (Hoffman & Johnson 2016), all in nats.

    The KL of the aggregate posterior is the total correlation of its units and the KL of each unit (Chen et al. 2018,
    equation 2). q(z) is the mean of q(z|x) over at most `images` test images, spread evenly; its density is exact at
    `draws` draws of each image's posterior. In a code of layers a unit's own density is that given each image's draw
    of the layers above. The errors are standard errors of means over images.

    Of a code of independent units the minibatch_ metrics are the same parts as a training of regulariser=tc sees them:
    from 256 images at a time. The mean of q(z|x) over fewer images has a logarithm that is too low, so this I(x;z) is
    too high in expectation; none of the two exceeds the logarithm of the number of images.
    """

    images: Count | None
    draws: Few
    seed: Seed
    quantities: ClassVar[tuple[Quantity, ...]] = (
        *PARTS,
        Quantity("minibatch_mutual_information", "I(x;z) from minibatches", "nats", digits=2),
        Quantity("minibatch_total_correlation", "total correlation from minibatches", "nats", digits=2),
        Quantity("minibatch_dimension_wise_kl", "dimension-wise KL from minibatches", "nats", digits=2),
    )
    needs: ClassVar[str] = "posterior"

    @torch.inference_mode()
    def __call__(self, context: Context) -> Result:
        total = size_of(context, "test")
        wanted = min(total, self.images or total)
        places = spread(total, min(wanted, self.most(math.prod(context.model.code_shape))))  # type: ignore[arg-type]
        if len(places) < 2:
            return Result({}, None, findings=("information is not measured: it takes two images",))
        codes, index = posteriors(context, places)
        if codes[0].log_prob(codes[0].mean) is None:
            return Result({}, None, findings=("information is not measured: this code has no density",))
        noise = context.noise(self.seed)
        draws = [parts(codes, noise) for _ in range(self.draws)]
        means = {name: torch.stack([draw[name] for draw in draws]).mean(0) for name in draws[0]}
        per_image = {one.name: means[one.name] for one in PARTS}
        found = {name: float(values.mean()) for name, values in per_image.items()}
        errors = {name: float(values.std()) / math.sqrt(len(places)) for name, values in per_image.items()}
        arrays = {name: values.cpu().numpy() for name, values in means.items()} | {"index": index}
        arrays |= {f"{name}_error": np.array(error) for name, error in errors.items()}
        minibatch = from_minibatches(codes, context.noise(self.seed), len(places))
        findings = (
            *self.fewer(len(places), wanted),
            *bounded(found, len(places)),
            *self.below(found | minibatch, errors),
        )
        shown = f"{len(places):,} of {total:,} test images · " if len(places) < total else ""
        draw = drawing(found, errors, f"{shown}{context.title}")
        return Result(arrays, draw, found | minibatch, findings)

    def most(self, units: int) -> int:
        """How many images' codes of so many units can be measured in bounded time and memory."""
        return min(math.isqrt(MOST_DENSITIES // (self.draws * units)), MOST_VALUES // units)

    def fewer(self, images: int, wanted: int) -> tuple[str, ...]:
        """A sentence where codes are too large for all images that were asked for."""
        if images == wanted:
            return ()
        return (f"information is that of {images:,} test images, for codes are too large for {wanted:,}",)

    def below(self, found: Mapping[str, float], errors: Mapping[str, float]) -> tuple[str, ...]:
        """Sentences on estimates below 0, which what they estimate cannot be."""

        def width(name: str) -> str:
            return f" ± {errors[name]:.2g}" if name in errors else ""

        return tuple(
            f"{one.title} is estimated at −{-found[one.name]:.2g}{width(one.name)} nats, but is never below 0: "
            "take more draws"
            for one in self.quantities
            if found.get(one.name, 0) < -ROUNDING
        )


def drawing(found: Mapping[str, float], errors: Mapping[str, float], of: str) -> Drawing:
    """The three parts of the rate in one bar, each with its error in the legend; what is below 0 takes no room."""
    marks, left = [], 0.0
    for colour, one in zip(COLOURS, (one for one in PARTS if one.name != "marginal_kl"), strict=False):
        width = max(0.0, float(np.nan_to_num(found[one.name])))
        label = f"{one.title}: {found[one.name]:.2f} ± {errors[one.name]:.2g}"
        marks.append(mark("barh", 0, width, left=left, height=0.6, color=colour, label=label))
        left += width
    marks.append(mark("set", xlim=(0, max(left * 1.02, 1e-3)), yticks=[]))
    legend = {"loc": "outside lower center", "ncols": 3}
    rate = f"Information of the codes: rate {found['mutual_information'] + found['marginal_kl']:.2f} nats"
    return partial(canvas.panels, [Panel("nats per image", "", marks, legend=legend)], f"{rate} · {of}", 1.6)


def posteriors(context: Context, places: Tensor) -> tuple[list[Any], np.ndarray]:
    """The codes of test images, some in each, and the rows (N,) of these in the data set."""
    codes, index = [], []
    most = max(1, AT_ONCE // math.prod(context.model.code_shape))  # type: ignore[arg-type]
    for batch in in_chunks(images_of(context, "test", places), min(most, IN_A_CODE)):
        codes.append(context.model.encode(batch.images, batch.labels).double())  # type: ignore[operator]
        index.append(batch.index.cpu().numpy())
    return codes, np.concatenate(index)


def parts(codes: Sequence[Any], noise: torch.Generator) -> dict[str, Tensor]:
    """The parts of the rate at one draw of each of N images, (N,), and the KL of each unit's aggregate, (units,)."""
    draws = [code.sample(noise) for code in codes]
    moments = [code.moments(z) for code, z in zip(codes, draws, strict=True)]
    z = torch.cat([draw.flatten(1) for draw in draws])
    own = torch.cat([log_normal(d.flatten(1), *m).sum(1) for d, m in zip(draws, moments, strict=True)])
    step = max(1, AT_ONCE // (len(codes[0].mean) * z.shape[1]))
    of_each = [aggregate(piece, codes, moments) for piece in z.split(step)]
    joint, units = (torch.cat(density) - math.log(len(z)) for density in zip(*of_each, strict=True))
    prior = log_standard_normal(z)
    return {
        "mutual_information": own - joint,
        "marginal_kl": joint - prior.sum(1),
        "total_correlation": joint - units.sum(1),
        "dimension_wise_kl": (units - prior).sum(1),
        "kl_per_unit": (units - prior).mean(0),
    }


def from_minibatches(codes: Sequence[Any], noise: torch.Generator, images: int) -> dict[str, float]:
    """Three parts of the rate from the codes of some images at a time, as means over those; none of layers."""
    if codes[0].layers is not None:
        return {}
    draws = [code.sample(noise) for code in codes]
    whole = [(code, z) for code, z in zip(codes, draws, strict=True) if len(z) == len(draws[0])]
    found = [decomposition(code, z, images) for code, z in whole]
    return {
        f"minibatch_{name}": float(torch.stack([one[key] for one in found]).mean())
        for key, name in OF_MINIBATCHES.items()
    }


def aggregate(z: Tensor, codes: Sequence[Any], moments: Sequence[Moments]) -> tuple[Tensor, Tensor]:
    """log of the sum of q(z|x) over all images at draws (M, units), (M,), and of each unit's, (M, units)."""
    joint, units = z.new_full((len(z),), -math.inf), torch.full_like(z, -math.inf)
    for code, (mean, log_variance) in zip(codes, moments, strict=True):
        each = z.unflatten(1, code.mean.shape[1:]).unsqueeze(1).expand(-1, *code.mean.shape)
        joint = torch.logaddexp(joint, code.log_prob(each).logsumexp(1))
        of_units = log_normal(z.unsqueeze(1), mean, log_variance).logsumexp(1)
        units = torch.logaddexp(units, of_units)
    return joint, units


def bounded(found: Mapping[str, float], images: int) -> tuple[str, ...]:
    """A sentence where I(x;z) is near the most that so many images can show."""
    most = math.log(images)
    if not found["mutual_information"] >= NEAR * most:
        return ()
    return (
        f"I(x;z) is bounded by log N = {most:.2f} nats here (N = {images:,} images), so it is a lower bound; the "
        "KL of the aggregate posterior, which is the rest of the rate, and the total correlation are upper ones",
    )
