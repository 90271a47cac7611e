"""Small real models on scikit-learn's digits, as evaluations see them."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from vaelab import losses, models
from vaelab.data import Batch
from vaelab.evaluations import Context

Make = Callable[..., Context]
SPLITS = {"train": slice(0, 60), "val": slice(60, 80), "test": slice(80, 123)}


def digits(channels: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The first 123 digits (N, C, H, W) in [0, 1], and their labels."""
    data = load_digits()
    small = torch.from_numpy(data.images[:123]).float()[:, None] / 16
    images = nn.functional.interpolate(small, (side, side))
    tint = torch.tensor([1.0, 0.8, 0.5])[:channels].view(1, -1, 1, 1)
    return images * tint, torch.from_numpy(data.target[:123])


def network(kind: str, shape: tuple[int, int, int]) -> nn.Module:
    torch.manual_seed(0)
    if kind == "vae":
        return models.fc_vae(shape, latent_dim=6, hidden=[32], activation="relu")
    if kind == "plane":
        return models.fc_vae(shape, latent_dim=2, hidden=[32], activation="relu")
    if kind == "line":
        return models.fc_vae(shape, latent_dim=1, hidden=[32], activation="relu")
    if kind == "spatial":
        return models.spatial_vae(shape, code_channels=2, channels=4)
    return models.conv_ae(shape, latent_dim=5, channels=4)


def elbo(kl_weight: float, reduction: losses.Reduction = "sum") -> losses.ELBO:
    regulariser = losses.regularisers.KL(kl_weight, "constant", 1.0, None, None, 1.0, None)
    return losses.ELBO(losses.likelihoods.Bernoulli(), regulariser, reduction)


def history(loss: nn.Module, epochs: int = 3) -> list[dict[str, float | int | str]]:
    """Rows of metrics.csv as training writes them."""
    rows: list[dict[str, float | int | str]] = []
    for epoch in range(1, epochs + 1):
        for split, extra in (("train", 0.0), ("val", 5.0)):
            row: dict[str, float | int | str] = {
                "epoch": epoch,
                "step": 4 * epoch,
                "split": split,
                "lr": 1e-3,
            }
            terms = {"reconstruction": 300.0 / epoch + extra, "kl": 2.0 * epoch}
            if isinstance(loss, losses.ELBO):
                weighted = terms["reconstruction"] + loss.kl_weight * terms["kl"]
                row |= terms | {"elbo": -sum(terms.values()), "loss": weighted}
            else:
                row |= {"reconstruction": terms["reconstruction"], "loss": terms["reconstruction"]}
            rows.append(row)
    return rows


@pytest.fixture
def make() -> Make:
    """Makes the context of a small model: its kind, λ, channels, side, whether there are labels, batch size."""

    def context(
        kind: str = "vae",
        kl_weight: float = 1.0,
        channels: int = 1,
        side: int = 12,
        labelled: bool = True,
        batch_size: int = 16,
        tests: int = 43,
    ) -> Context:
        images, labels = digits(channels, side)
        names = tuple("0123456789") if labelled else ()

        def batches(split: str) -> Iterator[Batch]:
            rows = np.arange(123)[SPLITS[split]][: tests if split == "test" else None]
            for index in torch.from_numpy(rows).split(batch_size):
                if len(index):
                    yield Batch(images[index], labels[index] if labelled else None, index)

        loss = (
            losses.Reconstruction(losses.likelihoods.Bernoulli(), "sum") if kind == "ae" else elbo(kl_weight)
        )
        model = network(kind, (channels, side, side))
        return Context(model.eval(), loss.eval(), batches, names, history(loss), f"digits · {kind} · epoch 3")

    return context
