"""What a page asks of the networks of one line along λ: codes, pictures, units by their KL, nearest images."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaelab import UsageError, build, metrics
from vaelab.data import ImageSet
from vaelab.evaluations.base import Context, images_array, spread
from vaelab.evaluations.generation import in_pieces, maker
from vaelab.evaluations.interpolations import lerp
from vaelab.evaluations.latent_edit import edited
from vaelab.evaluations.nearest_neighbours import nearest
from vaelab.explore import units
from vaelab.explore.lines import Line
from vaelab.explore.recipes import Between, Datum, Prior, Recipe, Upload
from vaelab.explore.units import Units

MEASURED = 256  # test images that order the units, at most
STOPS = 7  # λ of a network that takes any, which are shown side by side
KEPT = 512  # codes that were encoded


@dataclass(frozen=True)
class Reconstruction:
    """An image decoded at one λ from its code: its PSNR in dB, and the bits that the code takes, or None."""

    kl_weight: float | None
    image: np.ndarray  # (H, W, C)
    psnr: float
    bits: float | None


class Explorer:
    """The networks of a line on a device, and its images where they are prepared."""

    def __init__(self, line: Line, device: str) -> None:
        self.line, self.device = line, torch.device(device)
        # From a key and the shape of the data to an image (H, W, C) uint8.
        self.uploads: Callable[[str, tuple[int, int, int]], np.ndarray] = _no_upload
        self._encoded = lru_cache(KEPT)(self._encode)
        self._units = lru_cache(KEPT)(self._measure_units)

    # ---- what there is

    @cached_property
    def networks(self) -> dict[float | None, Any]:
        """The networks by their λ."""
        runs = zip(self.line.weights, self.line.runs, strict=True)
        return {weight: run.model(str(self.device)) for weight, run in runs}

    @cached_property
    def first(self) -> Any:
        """The network that says what all have in common."""
        return next(iter(self.networks.values()))

    @property
    def bounds(self) -> tuple[float, float] | None:
        """The smallest and the largest λ of a network that takes any between them; None for a line of runs."""
        return self.first.kl_weights if "kl_weights" in self.first.offers else None

    @property
    def stops(self) -> tuple[float | None, ...]:
        """The λ that are shown side by side, ascending: of each run, or some that one network takes."""
        if self.bounds is None:
            return self.line.weights
        low, high = self.bounds
        return tuple(map(float, np.geomspace(low, high, STOPS)))

    @property
    def encodes(self) -> bool:
        """Whether pictures have codes, as a GAN's have not."""
        return "encoder" in self.first.offers

    @property
    def classes(self) -> int:
        """Of how many classes the network is told one; 0 for one that is told none."""
        return int(self.first.classes) if "classes" in self.first.offers else 0

    @property
    def prior(self) -> str | None:
        """What random codes are drawn from, in words; None where there is nothing."""
        if not self.encodes:
            return f"{self.first.noise} noise"
        if hasattr(self.first, "draw"):
            return str(self.first.prior)
        return None if self.images is None else "Gaussian fitted to the codes of test images"

    @cached_property
    def images(self) -> ImageSet | None:
        """The images that the runs have learned from, or None where they are not prepared here."""
        try:
            return self.line.first.image_set()
        except UsageError:
            return None

    @cached_property
    def test(self) -> np.ndarray:
        """Rows of the test images."""
        return np.zeros(0, np.int64) if self.images is None else self.images.indices("test")

    def label(self, place: int) -> int | None:
        """The class of a test image, or None where the data have none."""
        assert self.images is not None
        labels = self.images.labels
        return None if labels is None else int(labels[self.test[place]])

    def network(self, kl_weight: float | None) -> Any:
        """The network at a λ: that of the run with exactly this one, or any within the bounds of one that takes any."""
        if self.bounds is None:
            if kl_weight not in self.networks:
                raise UsageError(f"no run of this page has λ = {kl_weight}: load the page again")
            return self.networks[kl_weight]
        low, high = self.bounds
        if kl_weight is None or not low <= kl_weight <= high:
            raise UsageError(
                f"λ = {kl_weight} is not from {low:g} to {high:g}, which this network has learned"
            )
        return self.first.at(kl_weight)

    # ---- codes

    def units(self, kl_weight: float | None) -> Units:
        """The units at a λ; of a network that takes any λ those at the nearest of its stops."""
        if self.bounds is not None and kl_weight is not None:
            near = [abs(math.log(stop / kl_weight)) for stop in self.stops if stop]
            kl_weight = self.stops[int(np.argmin(near))]
        return self._units(kl_weight)

    def code(self, kl_weight: float | None, recipe: Recipe | Between) -> Tensor:
        """The code (1, ...) of a recipe at a λ."""
        if isinstance(recipe, Between):
            a, b = (self.code(kl_weight, end) for end in (recipe.a, recipe.b))
            return lerp(a.flatten(1), b.flatten(1), torch.tensor([recipe.t]).to(a)).view_as(a)
        z = self._start(kl_weight, recipe)
        for dimension, change, value in recipe.changes:
            if not 0 <= dimension < z[0].numel():
                raise UsageError(
                    f"dimension {dimension} is none of a code of {z[0].numel()}: use 0 to {z[0].numel() - 1}"
                )
            z = edited(z, {"dim": dimension, change: value})
        return z

    def decode(self, kl_weight: float | None, z: Tensor, label: int | None) -> np.ndarray:
        """Images (N, H, W, C) of codes (N, ...), float32 in [0, 1]."""
        with torch.inference_mode():
            return images_array(in_pieces(maker(self.network(kl_weight)), z, self._labels(label, len(z))))

    def picture(self, kl_weight: float | None, recipe: Recipe | Between) -> np.ndarray:
        """The image (H, W, C) of a recipe's code."""
        return self.decode(kl_weight, self.code(kl_weight, recipe), recipe.label)[0]

    def plane_row(
        self, kl_weight: float | None, recipe: Recipe | Between, units: tuple[int, int], side: int, row: int
    ) -> np.ndarray:
        """Images (side, H, W, C) of one row of the plane of two units, counted from the top; all others stay.

        The first unit grows to the right, the second upward.
        """
        (across, upward), known = units, self.units(kl_weight)
        flat = self._moving(kl_weight, recipe, across, side)
        _refuse_missing(upward, flat)
        flat[:, upward] = float(np.linspace(known.high[upward], known.low[upward], side)[row])
        return self._decoded_flat(kl_weight, flat, recipe)

    def moved(self, kl_weight: float | None, recipe: Recipe | Between, unit: int, steps: int) -> np.ndarray:
        """Images (steps, H, W, C) while one unit goes through its range and all others stay."""
        return self._decoded_flat(kl_weight, self._moving(kl_weight, recipe, unit, steps), recipe)

    def way(self, kl_weight: float | None, between: Between, steps: int) -> np.ndarray:
        """Images (steps, H, W, C) from one code to the other."""
        ts = np.linspace(0, 1, steps)
        codes = [self.code(kl_weight, Between(between.a, between.b, float(t))) for t in ts]
        return self.decode(kl_weight, torch.cat(codes), between.label)

    # ---- pictures

    def original(self, source: Prior | Datum | Upload) -> np.ndarray | None:
        """The picture that a code comes from, (H, W, C) uint8; None for one from the prior."""
        if isinstance(source, Upload):
            return self.uploads(source.key, self.line.image_shape)
        if isinstance(source, Prior):
            return None
        if self.images is None or not 0 <= source.place < len(self.test):
            raise UsageError(f"there is no test image {source.place}: the data have {len(self.test)} here")
        return np.asarray(self.images.images[self.test[source.place]])

    def reconstruction(
        self, kl_weight: float | None, source: Datum | Upload, label: int | None
    ) -> Reconstruction:
        """A picture decoded from the mean of its code at a λ."""
        original = self.original(source)
        assert original is not None
        z, bits = self._encoded(kl_weight, source, label)
        image = self.decode(kl_weight, z, label)[0]
        psnr = metrics.psnr(_planes(original), torch.from_numpy(image).movedim(-1, 0)[None])
        return Reconstruction(kl_weight, image, float(psnr), bits)

    def neighbours(self, image: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The nearest training images of an image (H, W, C): images (k, H, W, C) uint8, distances as RMSE, rows."""
        if self.images is None:
            raise UsageError("the training images are not prepared here: give data_dir=FOLDER")
        loader = build.evaluation_loader(self.images, "train", batch_size=1, device=self.device)
        context = Context(self.first, torch.nn.Identity(), lambda _: loader, (), [], "")
        with torch.inference_mode():
            planes = torch.from_numpy(image).movedim(-1, 0)[None].to(self.device)
            distance, rows = nearest(context, planes, count)
        index = rows[0].numpy()
        return np.asarray(self.images.images[index]), distance[0].numpy(), index

    # ---- parts of these

    def _moving(self, kl_weight: float | None, recipe: Recipe | Between, unit: int, steps: int) -> Tensor:
        """Flat codes (steps, d) while one unit goes through its range."""
        known = self.units(kl_weight)
        flat = self.code(kl_weight, recipe).flatten(1).repeat(steps, 1)
        _refuse_missing(unit, flat)
        flat[:, unit] = torch.linspace(known.low[unit], known.high[unit], steps).to(flat)
        return flat

    def _decoded_flat(self, kl_weight: float | None, flat: Tensor, recipe: Recipe | Between) -> np.ndarray:
        shape = self.code(kl_weight, recipe).shape[1:]
        return self.decode(kl_weight, flat.unflatten(1, shape), recipe.label)

    def _start(self, kl_weight: float | None, recipe: Recipe) -> Tensor:
        """The code before it is changed."""
        if not isinstance(recipe.source, Prior):
            if not self.encodes:
                raise UsageError("a GAN has no encoder: its pictures come from noise")
            return self._encoded(kl_weight, recipe.source, recipe.label)[0].clone()
        generator = torch.Generator().manual_seed(recipe.source.seed)
        network = self.network(kl_weight)
        if hasattr(network, "draw"):
            drawn: Tensor = network.draw(1, generator)
            return drawn
        known = self.units(kl_weight)
        spread_of = torch.from_numpy((known.high - known.low) / (2 * units.REACH))
        flat = torch.from_numpy(known.centre) + spread_of * torch.randn(len(spread_of), generator=generator)
        return flat.float().to(self.device).view(1, *network.code_shape)

    def _encode(
        self, kl_weight: float | None, source: Datum | Upload, label: int | None
    ) -> tuple[Tensor, float | None]:
        """The mean of a picture's code (1, ...), and its length in bits."""
        original = self.original(source)
        assert original is not None
        with torch.inference_mode():
            code = self.network(kl_weight).encode(_planes(original).to(self.device), self._labels(label, 1))
            return code.mean, units.bits(code, torch.Generator(self.device).manual_seed(0))

    def _labels(self, label: int | None, count: int) -> Tensor | None:
        if not self.classes:
            return None
        if label is None or not 0 <= label < self.classes:
            raise UsageError(f"class {label} is none of the {self.classes} that this network is told")
        return torch.full((count,), label, device=self.device)

    def _measure_units(self, kl_weight: float | None) -> Units:
        network = self.network(kl_weight)
        if not self.encodes:
            return units.of_noise(network)
        if not len(self.test):
            run = dict(zip(self.line.weights, self.line.runs, strict=True)).get(kl_weight, self.line.first)
            return units.stored(run.run, math.prod(network.code_shape))
        assert self.images is not None
        loader = build.evaluation_loader(self.images, "test", batch_size=1, device=self.device)
        places = spread(loader.size, MEASURED)
        return units.measured(network, [loader.at(part) for part in places.split(build.EVALUATION_BATCH)])


def _planes(image: np.ndarray) -> Tensor:
    """An image (H, W, C) uint8 as (1, C, H, W) in [0, 1]."""
    return torch.from_numpy(np.array(image)).movedim(-1, 0)[None].float() / 255


def _no_upload(key: str, _: tuple[int, int, int]) -> np.ndarray:
    raise UsageError(f"there is no picture {key}")


def _refuse_missing(unit: int, flat: Tensor) -> None:
    if not 0 <= unit < flat.shape[1]:
        raise UsageError(f"unit {unit} is none of a code of {flat.shape[1]}")
