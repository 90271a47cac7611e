"""Distances between the features of samples and of training images: FID and KID."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from vaelab import UsageError
from vaelab.evaluations.base import Context, Result, require_positive, spread_images
from vaelab.evaluations.generation import AT_ONCE, generated

WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
ADDRESS = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{WEIGHTS}"
SUBSET = 1000  # images of each of KID's subsets, at most
RANDOM_FEATURES = 64


@dataclass(frozen=True)
class FID:
    """FID (Heusel et al. 2017, equation 6) and KID (Bińkowski et al. 2018) of `count` samples to the train split.

    With network=random the metrics are named fid_random and kid_random: they compare with each other only. Nothing is
    downloaded; where packages or weights are missing, a finding says how to get them. Raises UsageError for a given
    file of weights that is none.
    """

    count: int
    network: Literal["inception", "random"]
    weights: str | None
    seed: int

    def __post_init__(self) -> None:
        require_positive({"count": self.count - 1})

    def __call__(self, context: Context) -> Result:
        try:
            from torchmetrics.image.fid import FrechetInceptionDistance
            from torchmetrics.image.kid import KernelInceptionDistance
        except ImportError:
            return Result({}, None, findings=("fid is not measured: pip install 'vaelab[fid]'",))
        samples = generated(context, self.count, self.seed).images
        real = spread_images(context, "train", self.count).images
        features = self.features()
        if features is None:
            return Result({}, None, findings=(missing_weights(),))
        features = features.to(samples.device)
        fid = FrechetInceptionDistance(feature=features).to(samples.device)
        subset = min(SUBSET, len(real), len(samples))
        with warnings.catch_warnings():  # that it keeps all features, which are few
            warnings.filterwarnings("ignore", "Metric `Kernel Inception Distance`")
            kid = KernelInceptionDistance(feature=features, subset_size=subset).to(samples.device)
        with torch.inference_mode(), torch.random.fork_rng():
            torch.manual_seed(self.seed)  # of the subsets
            for images, is_real in ((real, True), (samples, False)):
                for part in in_bytes(images):
                    fid.update(part, real=is_real)
                    kid.update(part, real=is_real)
            mean, deviation = kid.compute()
            suffix = "" if self.network == "inception" else "_random"
            found = {f"fid{suffix}": float(fid.compute())}
            found |= {f"kid{suffix}": float(mean), f"kid{suffix}_std": float(deviation)}
        counts = {"samples": np.array(len(samples)), "training_images": np.array(len(real))}
        return Result(counts, None, found, too_few(min(len(real), len(samples)), features.num_features))

    def features(self) -> Any:
        """Images (B, 3, H, W) uint8 to features (B, n); None without the weights."""
        if self.network == "random":
            return RandomFeatures(self.seed)
        file = (
            Path(torch.hub.get_dir(), "checkpoints", WEIGHTS) if self.weights is None else Path(self.weights)
        )
        if not file.is_file():
            if self.weights is None:
                return None
            raise UsageError(f"evaluation.fid.weights={file} is not a file: get it from {ADDRESS}")
        from torchmetrics.image.fid import NoTrainInceptionV3

        try:
            network = NoTrainInceptionV3("inception-v3-compat", ["2048"], str(file))
        except Exception as error:
            raise UsageError(
                f"evaluation.fid.weights={file} does not hold {WEIGHTS}: get it from {ADDRESS}"
            ) from error
        network.num_features = 2048
        return network


class RandomFeatures(nn.Module):
    """An untrained convolutional network: images (B, 3, H, W) uint8 to features (B, 64)."""

    num_features = RANDOM_FEATURES

    def __init__(self, seed: int) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                nn.Conv2d(3, 32, 3, stride=2),
                nn.ReLU(),
                nn.Conv2d(32, RANDOM_FEATURES, 3, stride=2),
                nn.ReLU(),
            )

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.layers(images.float() / 255)
        return features.mean((2, 3))


def in_bytes(images: Tensor) -> Iterator[Tensor]:
    """Images (N, C, H, W) in [0, 1], a few at a time, as (B, 3, H, W) uint8."""
    for part in images.split(AT_ONCE):
        yield (part.clamp(0, 1) * 255).round().to(torch.uint8).expand(-1, 3, -1, -1)


def missing_weights() -> str:
    """How to get the Inception weights."""
    return (
        f"fid is not measured: its network's weights are not here: get {ADDRESS} and give it as "
        f"evaluation.fid.weights=FILE, or put it into {Path(torch.hub.get_dir(), 'checkpoints')}"
    )


def too_few(images: int, features: int) -> tuple[str, ...]:
    """A sentence where a covariance of so many features is estimated from fewer images."""
    if images >= features:
        return ()
    return (
        f"fid is biased upward: it comes from {images:,} images, fewer than its {features:,} features; see kid",
    )
