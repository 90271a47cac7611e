"""What a page is told when it asks: plain values and pictures as addresses, one method for each question."""

import secrets
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from vaelab import UsageError
from vaelab.explore import pictures
from vaelab.explore.explorer import Explorer
from vaelab.explore.lines import folder_names
from vaelab.explore.recipes import Between, Prior, Recipe, recipe
from vaelab.explore.units import Units
from vaelab.fonts import class_names

SIDE = 9  # images along each axis of the plane
STEPS = 9  # images from one picture to another that are shown
FRAMES = 24  # of a saved way between two pictures, and of a unit that moves
NEIGHBOURS = 5
MOST_UPLOADS = 32  # pictures that are kept
SHOWN_UNITS = 64  # of a code, at most, that have a slider

Asked = Mapping[str, Any]
Told = dict[str, Any]


class Answers:
    """The lines of a page with their networks, and the pictures that were dropped in."""

    def __init__(self, explorers: Sequence[Explorer], remarks: Sequence[str]) -> None:
        self.explorers, self.remarks = explorers, list(remarks)
        self._uploads: OrderedDict[str, dict[tuple[int, int, int], np.ndarray]] = OrderedDict()
        for explorer in explorers:
            explorer.uploads = self._upload

    def state(self, _: Asked) -> Told:
        """All lines in short."""
        return {
            "lines": [f"{e.line.dataset} · {e.line.name}" for e in self.explorers],
            "remarks": self.remarks,
            "device": str(self.explorers[0].device),
        }

    def line(self, asked: Asked) -> Told:
        """What a line has; loads its networks and measures their units, so that all that follows is fast."""
        explorer = self._explorer(asked)
        line = explorer.line
        for weight in explorer.stops:
            explorer.units(weight)
        names = class_names(line.classes)[0] if explorer.classes else ()
        return {
            "shape": line.image_shape,
            "weights": explorer.stops,
            "bounds": explorer.bounds,
            "classes": list(names),
            "encodes": explorer.encodes,
            "prior": explorer.prior,
            "test": len(explorer.test),
            "prepared": explorer.images is not None,
            "folders": folder_names(line),
            "unit": str(line.first.config.get("kl_weight_unit", "nats")),
        }

    def units(self, asked: Asked) -> Told:
        """The units of the code at a λ, the most informative first."""
        explorer, weight = self._explorer(asked), _weight(asked)
        known = explorer.units(weight)
        order = known.order[:SHOWN_UNITS]
        active = order[known.active[order]] if known.measure else order[:0]
        return {
            "measure": known.measure,
            "count": len(known.information),
            "active": len(active) if known.measure else None,
            "all_active": int(known.active.sum()) if known.measure else None,
            "units": [
                {
                    "dim": int(dim),
                    "information": float(known.information[dim]),
                    "low": float(known.low[dim]),
                    "high": float(known.high[dim]),
                }
                for dim in [*active, *(d for d in order if d not in active)]
            ],
        }

    def show(self, asked: Asked) -> Told:
        """A code's picture and the values of its units; of a picture's code also the picture, PSNR and bits."""
        explorer, weight, wanted = self._asked(asked)
        z = explorer.code(weight, wanted)
        image = explorer.decode(weight, z, wanted.label)[0]
        flat = z.flatten().tolist()
        answer: Told = {
            "image": pictures.address(image),
            "values": {
                int(dim): flat[int(dim)] for dim in asked.get("dims", ()) if 0 <= int(dim) < len(flat)
            },
        }
        if isinstance(wanted, Recipe) and not isinstance(wanted.source, Prior):
            original = explorer.original(wanted.source)
            assert original is not None
            found = explorer.reconstruction(weight, wanted.source, wanted.label)
            answer |= {"original": pictures.address(original), "psnr": found.psnr, "bits": found.bits}
        return answer

    def plane(self, asked: Asked) -> Told:
        """The pictures of one row of the plane of two units, as one: a slider need not wait for all rows."""
        explorer, weight, wanted = self._asked(asked)
        images = explorer.plane_row(weight, wanted, _axes(asked), SIDE, int(asked["row"]) % SIDE)
        return {"image": pictures.address(pictures.grid(images, SIDE))}

    def every(self, asked: Asked) -> Told:
        """The same picture, or the same draw, at every λ of the line."""
        explorer, _, wanted = self._asked(asked)
        unchanged = _unchanged(wanted)
        original = explorer.original(unchanged.source)
        return {
            "original": None if original is None else pictures.address(original),
            "pictures": [self._at(explorer, weight, unchanged) for weight in explorer.stops],
        }

    def way(self, asked: Asked) -> Told:
        """The pictures on the way from one code to another."""
        explorer, weight, wanted = self._asked(asked)
        return {
            "images": [pictures.address(image) for image in explorer.way(weight, _between(wanted), STEPS)]
        }

    def neighbours(self, asked: Asked) -> Told:
        """The training images that are nearest to a code's picture."""
        explorer, weight, wanted = self._asked(asked)
        images, distance, rows = explorer.neighbours(explorer.picture(weight, wanted), NEIGHBOURS)
        return {
            "neighbours": [
                {"image": pictures.address(image), "distance": float(d), "row": int(row)}
                for image, d, row in zip(images, distance, rows, strict=True)
            ]
        }

    def datum(self, asked: Asked) -> Told:
        """A test image: its class."""
        explorer, place = self._explorer(asked), int(asked["place"])
        if not 0 <= place < len(explorer.test):
            raise UsageError(f"there is no test image {place}: the data have {len(explorer.test)} here")
        return {"label": explorer.label(place), "row": int(explorer.test[place])}

    def save(self, asked: Asked) -> tuple[bytes, str]:
        """A file of what is shown, and its name."""
        explorer, weight, wanted = self._asked(asked)
        what, kind = str(asked["what"]), str(asked["kind"])
        images, arrays, columns = self._saved(explorer, weight, wanted, what, asked)
        return pictures.files(images, arrays, kind, columns), f"{what}.{kind}"

    def take(self, name: str, content: bytes) -> Told:
        """Keeps a picture that was dropped in; raises UsageError for what is none."""
        shapes = {explorer.line.image_shape for explorer in self.explorers}
        made = {shape: pictures.as_data(name, content, shape) for shape in shapes}
        key = secrets.token_hex(8)
        self._uploads[key] = made
        if len(self._uploads) > MOST_UPLOADS:
            self._uploads.popitem(last=False)
        return {"key": key, "frames": pictures.frames(content)}

    # ---- what several answers share

    def _saved(
        self, explorer: Explorer, weight: float | None, wanted: Recipe | Between, what: str, asked: Asked
    ) -> tuple[np.ndarray, Mapping[str, np.ndarray], int]:
        """Images (N, H, W, C), what stands beside them in an .npz, and how many are in a row."""
        arrays = {} if weight is None else {"kl_weight": np.array(weight)}
        z = explorer.code(weight, wanted)
        if what == "picture" and asked["kind"] != "gif":
            return (
                explorer.decode(weight, z, wanted.label),
                {**_arrays(explorer.units(weight), z), **arrays},
                1,
            )
        if what == "picture":
            return explorer.moved(weight, wanted, int(asked["axes"][0]), FRAMES), {}, 1
        if what == "plane":
            axes = _axes(asked)
            rows = [explorer.plane_row(weight, wanted, axes, SIDE, row) for row in range(SIDE)]
            return np.concatenate(rows), {"dims": np.array(axes), **arrays}, SIDE
        if what == "way":
            steps = STEPS if asked["kind"] == "png" else FRAMES
            t = np.linspace(0, 1, steps)
            return explorer.way(weight, _between(wanted), steps), {"t": t, **arrays}, steps
        if what == "every_weight":
            return self._every(explorer, _unchanged(wanted))
        raise UsageError(f"{what} is nothing that is saved")

    def _every(self, explorer: Explorer, wanted: Recipe) -> tuple[np.ndarray, Mapping[str, np.ndarray], int]:
        stops = explorer.stops
        arrays = {"kl_weight": np.array([np.nan if stop is None else stop for stop in stops])}
        original = explorer.original(wanted.source)
        if original is None or isinstance(wanted.source, Prior):
            return np.stack([explorer.picture(stop, wanted) for stop in stops]), arrays, len(stops)
        found = [explorer.reconstruction(stop, wanted.source, wanted.label) for stop in stops]
        arrays["psnr"] = np.array([one.psnr for one in found])
        arrays["bits"] = np.array([np.nan if one.bits is None else one.bits for one in found])
        images = [original.astype(np.float32) / 255, *(one.image for one in found)]
        return np.stack(images), arrays, len(images)

    def _at(self, explorer: Explorer, weight: float | None, wanted: Recipe) -> Told:
        if isinstance(wanted.source, Prior):
            return {"kl_weight": weight, "image": pictures.address(explorer.picture(weight, wanted))}
        found = explorer.reconstruction(weight, wanted.source, wanted.label)
        address = pictures.address(found.image)
        return {"kl_weight": weight, "image": address, "psnr": found.psnr, "bits": found.bits}

    def _upload(self, key: str, shape: tuple[int, int, int]) -> np.ndarray:
        if key not in self._uploads:
            raise UsageError(
                f"that picture is no longer kept, only the last {MOST_UPLOADS} are: drop it in again"
            )
        return self._uploads[key][shape]

    def _explorer(self, asked: Asked) -> Explorer:
        number = int(asked["line"])
        if not 0 <= number < len(self.explorers):
            raise UsageError("the page is of other runs: load it again")
        return self.explorers[number]

    def _asked(self, asked: Asked) -> tuple[Explorer, float | None, Recipe | Between]:
        return self._explorer(asked), _weight(asked), recipe(asked["recipe"])


def _arrays(known: Units, z: Tensor) -> Mapping[str, np.ndarray]:
    """What stands beside the images of a saved .npz: the code, and of each unit its information."""
    told_by = {} if known.measure is None else {known.measure: known.information.astype(np.float32)}
    return {"z": z.float().cpu().numpy(), **told_by}


def _weight(asked: Asked) -> float | None:
    weight = asked.get("weight")
    return None if weight is None else float(weight)


def _axes(asked: Asked) -> tuple[int, int]:
    across, upward = asked["axes"]
    return int(across), int(upward)


def _between(wanted: Recipe | Between) -> Between:
    if not isinstance(wanted, Between):
        raise UsageError("keep two pictures first, A and B")
    return wanted


def _unchanged(wanted: Recipe | Between) -> Recipe:
    """The code as it comes from its source, which other networks have too."""
    recipe = wanted.a if isinstance(wanted, Between) else wanted
    return Recipe(recipe.source, recipe.label, ())
