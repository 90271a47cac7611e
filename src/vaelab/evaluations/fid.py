"""Distances between the features of samples and of training images: FID and KID."""

import io
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from vaelab import UsageError
from vaelab.bounds import Between, Seed
from vaelab.evaluations.base import Context, Result, seeded, spread_images
from vaelab.evaluations.generation import AT_ONCE, generated
from vaelab.quantities import Quantity

WEIGHTS = "weights-inception-2015-12-05-6726825d.pth"
ADDRESS = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{WEIGHTS}"
INCEPTION_FEATURES = 2048
SUBSET = 1000  # images of each of KID's subsets, at most
RANDOM_FEATURES = 64


@dataclass(frozen=True)
class FID:
    """FID (Heusel et al. 2017, equation 6) and KID (Bińkowski et al. 2018) of `count` samples to the train split.

    With network=random the metrics are named fid_random and kid_random: they compare with each other only. Nothing is
    downloaded; where packages or weights are missing, a finding says how to get them. Images are scaled to the
    network's size as in the papers' own code. Where all images make one subset, KID has no deviation. Raises
    UsageError for a given file of weights that is none.
    """

    count: Annotated[int, Between(2, 100_000)]
    network: Literal["inception", "random"]
    weights: str | None
    seed: Seed
    quantities: ClassVar[tuple[Quantity, ...]] = (
        Quantity("fid", "FID", better="lower", of="samples", shown="report"),
        Quantity("kid", "KID", better="lower", of="samples", shown="report"),
        Quantity("kid_std", "standard deviation of KID over subsets"),
        Quantity("fid_random", "FID, random features", better="lower", of="samples"),
        Quantity("kid_random", "KID, random features", better="lower", of="samples"),
        Quantity("kid_std_random", "standard deviation of KID over subsets, random features"),
    )

    def __post_init__(self) -> None:
        if self.weights is not None:  # said before anything is trained
            refuse_wrong_weights(Path(self.weights))

    def __call__(self, context: Context) -> Result:
        try:
            network = self.features()
        except ImportError:
            return Result({}, None, findings=("fid is not measured: pip install 'vaelab[fid]'",))
        if network is None:
            return Result({}, None, findings=(missing_weights(),))
        samples = generated(context, self.count, self.seed).images
        real = spread_images(context, "train", self.count).images
        if len(real) < 2:
            return Result({}, None, findings=("fid is not measured: there is one training image",))
        network = network.to(samples.device)
        with torch.inference_mode(), seeded(self.seed):  # of KID's subsets
            measured = distances(*(features_of(network, images) for images in (real, samples)))
        suffix = "" if self.network == "inception" else "_random"
        found = {name.replace("id", f"id{suffix}"): value for name, value in measured.items()}
        counts = {"samples": np.array(len(samples)), "training_images": np.array(len(real))}
        return Result(counts, None, found, too_few(min(len(real), len(samples)), network.num_features))

    def features(self) -> Any:
        """Images (B, 3, H, W) uint8 to features (B, n); None without the weights, ImportError without packages."""
        from torchmetrics.image.fid import NoTrainInceptionV3

        if self.network == "random":
            return RandomFeatures(0)  # the same one, whichever samples are drawn
        file = Path(self.weights or Path(torch.hub.get_dir(), "checkpoints", WEIGHTS))
        if self.weights is None and not file.is_file():
            return None
        # The network would unpickle a file without restriction: it gets the tensors that were read instead.
        buffer: Any = io.BytesIO()
        torch.save(read_weights(file), buffer)
        buffer.seek(0)
        try:
            network = NoTrainInceptionV3("inception-v3-compat", ["2048"], buffer, antialias=False)
        except RuntimeError as error:
            raise not_the_weights(file) from error
        network.num_features = INCEPTION_FEATURES
        return network


@cache
def refuse_wrong_weights(file: Path) -> None:
    """Raises UsageError where a file does not hold the weights; reads it once, however often it is asked for."""
    read_weights(file)


def read_weights(file: Path) -> Mapping[str, Tensor]:
    """The tensors of a file of Inception weights, without running what a pickle may hold; raises UsageError."""
    if not file.is_file():
        raise UsageError(f"evaluation.fid.weights={file} is not a file: get it from {ADDRESS}")
    try:
        weights = torch.load(file, map_location="cpu", weights_only=True)
        if weights["fc.weight"].shape[1] == INCEPTION_FEATURES:
            return weights
    except Exception as error:  # pickles fail in many ways
        raise not_the_weights(file) from error
    raise not_the_weights(file)


def not_the_weights(file: Path) -> UsageError:
    return UsageError(f"evaluation.fid.weights={file} does not hold {WEIGHTS}: get it from {ADDRESS}")


def distances(real: Tensor, samples: Tensor) -> dict[str, float]:
    """fid, kid and kid_std of features (N, n) and (M, n), by torchmetrics in float64."""
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

    given = nn.Identity()  # the features are computed once for both
    given.num_features = torch.tensor(real.shape[1])
    fewest = min(len(real), len(samples))
    with warnings.catch_warnings():  # that it keeps all features, which are few
        warnings.filterwarnings("ignore", "Metric `Kernel Inception Distance`")
        kid = KernelInceptionDistance(given, subset_size=min(SUBSET, fewest)).to(real.device)
    fid = FrechetInceptionDistance(given).to(real.device)
    for features, is_real in ((real.double(), True), (samples.double(), False)):
        fid.update(features, real=is_real)
        kid.update(features, real=is_real)
    mean, deviation = kid.compute()
    found = {"fid": float(fid.compute()), "kid": float(mean)}
    return found | ({"kid_std": float(deviation)} if fewest > SUBSET else {})


def features_of(network: nn.Module, images: Tensor) -> Tensor:
    """Features (N, n) of images (N, C, H, W) in [0, 1]."""
    return torch.cat([network(part) for part in in_bytes(images)])


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
