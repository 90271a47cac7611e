"""Images decoded from samples of the prior and, at λ = 0, of the aggregate posterior."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from vaelab import figures
from vaelab.evaluations.base import Context, Result, images_array, noise, require_positive, spread_images


@dataclass(frozen=True)
class PriorSamples:
    """Decodes `count` samples of N(0, I), the same for every run of the same latent shape.

    At λ = 0 the prior means nothing to the decoder, so samples of a Gaussian fitted to the aggregate posterior of
    the train split stand beside them.
    """

    count: int
    seed: int
    needs_posterior: ClassVar[bool] = True

    def __post_init__(self) -> None:
        require_positive({"count": self.count})

    @torch.inference_mode()
    def __call__(self, context: Context) -> Result:
        model: Any = context.model
        mean = model.encode(spread_images(context, "test", 1).images).mean
        z = noise((self.count, *mean.shape[1:]), self.seed, mean)
        image = images_array(model.decode(z))
        title = f"Prior samples · {context.title}"
        columns = math.ceil(math.sqrt(self.count))
        if context.loss.kl_weight != 0:
            return Result(
                {"z": z.cpu().numpy(), "image": image}, figures.samples({"": image}, title, columns)
            )
        fitted = aggregate_posterior_samples(context, self.count, self.seed)
        fitted_image = images_array(model.decode(fitted))
        grids = {"prior N(0, I)": image, "Gaussian fitted to the aggregate posterior": fitted_image}
        arrays = {"z": z.cpu().numpy(), "image": image}
        arrays |= {"aggregate_z": fitted.cpu().numpy(), "aggregate_image": fitted_image}
        return Result(arrays, figures.samples(grids, title, columns))


def aggregate_posterior_samples(context: Context, count: int, seed: int) -> Tensor:
    """(count, ...) from the Gaussian with the mean and full covariance of q(z) = mean over x of q(z|x), train split.

    The covariance is that of the posterior means plus the mean posterior variance on the diagonal. It is never
    formed: with one standard normal number e for each image x, the sum of e · (mean(x) − mean) / √N has the
    covariance of the means, in one pass and for codes of any size.
    """
    generator = torch.Generator().manual_seed(seed)
    images = 0
    weighted = weight = total = variance = torch.zeros(())
    for batch in context.batches("train"):
        posterior = context.model.encode(batch.images)  # type: ignore[operator]
        mean = posterior.mean.double()
        draws = torch.randn(count, len(mean), generator=generator).to(mean)
        weighted = weighted.to(mean) + torch.tensordot(draws, mean, dims=1)
        weight = weight.to(mean) + draws.sum(1)
        total = total.to(mean) + mean.sum(0)
        variance = variance.to(mean) + posterior.log_variance.double().exp().sum(0)
        images += len(mean)
    centre = total / images
    spread = weighted - weight.view(-1, *[1] * centre.ndim) * centre
    own = torch.randn(spread.shape, generator=generator).to(spread) * (variance / images).sqrt()
    return (centre + spread / math.sqrt(images) + own).float()
