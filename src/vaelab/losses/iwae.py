"""The importance-weighted bound on log p(x), from several draws of each code."""

import math
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from vaelab import UsageError
from vaelab.bounds import Many
from vaelab.codes import Code
from vaelab.losses.base import LOSS, NATS, RECONSTRUCTION, ImageBatch, Loss, Turn
from vaelab.losses.elbo import ELBO_TERM, KL_TERM
from vaelab.losses.likelihoods import Likelihood
from vaelab.quantities import Quantity

IWAE_TERM = Quantity(
    "iwae", "−importance-weighted bound", NATS, digits=2, better="lower", sign=-1, shown="report"
)


class IWAE(Loss):
    """The importance-weighted bound of `samples` draws (Burda et al. 2016, equation 8), which has no λ.

    Its gradient is the standard one (equation 14), or with estimator=dreg the doubly reparameterised one of the same
    mean, whose signal does not fade with more draws (Tucker et al. 2018, equation 8).
    """

    needs: ClassVar[str] = "posterior"

    def __init__(self, likelihood: Likelihood, samples: Many, estimator: Literal["standard", "dreg"]) -> None:
        super().__init__()
        self.likelihood, self.samples, self.estimator = likelihood, samples, estimator
        self.quantities = (LOSS, ELBO_TERM, IWAE_TERM, RECONSTRUCTION, KL_TERM)

    def forward(self, model: Any, batch: ImageBatch, noise: torch.Generator) -> Iterator[Turn]:
        """One turn of the player "model": loss, iwae, and of the same draws elbo, reconstruction, kl, the code's terms.

        The KL is the mean of log q(z|x) - log p(z) over the draws.
        """
        code = model.encode(batch.images, batch.labels)
        z = code.samples(self.samples, noise)
        if self.estimator == "dreg":
            # All slopes in z are to meet in one tensor, but a code may remember what its own draw came from.
            z = z.view_as(z)
        labels = None if batch.labels is None else batch.labels.repeat(self.samples)
        reconstruction = model.decode(z.flatten(0, 1), labels)
        # One flat batch, for likelihoods learn from one.
        nll = self.likelihood.nll(batch.images.repeat(self.samples, 1, 1, 1), reconstruction)
        nll = nll.unflatten(0, z.shape[:2])
        weights = log_weights(code, z, nll)
        if self.estimator == "dreg":
            weights = doubly_reparameterised(weights, code, z)
        bound, elbo, reconstruction_term = log_mean_exp(weights).mean(), weights.mean(), nll.mean()
        yield (
            "model",
            {
                "loss": -bound,
                "elbo": elbo,
                "iwae": bound,
                "reconstruction": reconstruction_term,
                "kl": -elbo - reconstruction_term,
                **code.terms(z[0]),
            },
        )
        if self.training:
            model.after_step(code, noise)

    def beta_eff(self, pixels: int) -> float:
        """That of an ELBO with λ = 1, which the bound of one draw is."""
        return float(self.likelihood.variance("sum", pixels))


def log_weights(code: Code, z: Tensor, nll: Tensor) -> Tensor:
    """log p(x|z) + log p(z) - log q(z|x) in nats of draws (..., B, ...), whose -log p(x|z) is nll (..., B).

    Raises UsageError for a code that has no densities.
    """
    posterior, prior = code.log_prob(z), code.log_prior(z)
    if posterior is None or prior is None:
        raise UsageError(f"{type(code).__name__} has no density: give it log_prob(z) and log_prior(z)")
    return prior - posterior - nll


def log_mean_exp(values: Tensor) -> Tensor:
    """The logarithm of the mean of exp(values) over the first axis."""
    return torch.logsumexp(values, 0) - math.log(len(values))


def doubly_reparameterised(weights: Tensor, code: Code, z: Tensor) -> Tensor:
    """Log weights (K, B) of draws z (K, B, ...), such that the bound's slope is that of Tucker et al. 2018, equation 8.

    What is the posterior's own in log q(z|x) loses its slope, and that of each draw counts by the draw's share of the
    weights once more.
    """
    own = code.log_prob(z.detach())
    assert own is not None  # as it was for the weights
    if z.requires_grad:
        shares = weights.detach().softmax(0)
        z.register_hook(lambda slope: slope * shares.view(*shares.shape, *[1] * (slope.dim() - 2)))
    return weights + (own - own.detach())
