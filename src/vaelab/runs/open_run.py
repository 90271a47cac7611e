"""A run folder as Python objects: its configuration, numbers, network and images."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor

from vaelab import UsageError, build, plugins
from vaelab.data import ImageSet, find_prepared
from vaelab.losses import Loss
from vaelab.names import as_written, nearest
from vaelab.runs.checkpoint import below, refuse_not_finite, weights
from vaelab.runs.folder import Row, Run

LEVELS = 5  # of folders above a run folder: name, model, dataset, outputs, project


class OpenedRun:
    """A run folder, read: raises UsageError where the folder is not a run, or what is asked for is not there."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        data_dir: str | None = None,
        path: str | None = None,
        own_modules: Sequence[str] = (),
    ) -> None:
        self.run = Run.open(folder)
        self._data_dir, self._path, self._own_modules = data_dir, path, own_modules
        plugins.allow(own_modules)  # never what the folder names

    @property
    def config(self) -> DictConfig:
        """The resolved configuration."""
        return self.run.config

    @property
    def info(self) -> dict[str, Any]:
        """run.json: status, versions, device, data, parameters, ..."""
        return self.run.info

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of the test split."""
        return self.run.metrics

    @property
    def history(self) -> list[Row]:
        """The rows of metrics.csv."""
        return self.run.history

    def __repr__(self) -> str:
        return f"<run {self.run.folder}>"

    def show(self, name: str) -> Image.Image:
        """A figure of the run as an image, which a notebook shows: "reconstructions", "reconstructions/epoch_0001".

        Raises UsageError where there is none of this name.
        """
        folder = self.run.folder / "figures"
        known = {path.relative_to(folder).with_suffix("").as_posix(): path for path in folder.rglob("*.png")}
        if name not in known:
            told = f"there are {', '.join(sorted(known))}" if known else "it has none"
            raise UsageError(
                f"{self.run.folder} has no figure {as_written(name)}{nearest(str(name), known)}; {told}"
            )
        image = Image.open(known[name])
        image.load()
        return image

    def model(self, device: str = "cpu") -> build.Network:
        """The trained network, in evaluation mode, all its methods batched.

        An autoencoder or VAE has encode(images) and decode(z); a GAN has draw(count), generate(z) or, with classes,
        generate(z, label), and discriminate(images).
        """
        return self.networks(device)[0]

    def check(self) -> None:
        """Raises UsageError where the configuration fits nothing, or is of modules not given, or not as they were."""
        self._check_modules()
        build.check(self.config)

    def _check_modules(self) -> None:
        given = self._own_modules
        recorded = plugins.recorded(self.run.info, self.run.folder)
        plugins.refuse_changed(recorded, given, self.run.folder, "put it back as it was")
        # What another run was given in this process is not given to this one.
        build.refuse_foreign(self.config, given)
        unknown = dict.fromkeys(set(build.own_modules(self.config)) - set(recorded), "")
        plugins.refuse_changed(unknown, given, self.run.folder, "put it back as it was")

    def networks(self, device: str) -> tuple[build.Network, Loss]:
        """The trained network and its loss on a device, both in evaluation mode."""
        self.check()
        with torch.device("meta"):  # first without memory, for a stranger's files may ask for any size
            network = self._network()
            expected = weights(network, build.loss(self.config, network, *self._facts()))
        tensors = self.run.load_weights(expected)
        network = self._network()
        loss = build.loss(self.config, network, *self._facts())
        loss.load_state_dict(below(tensors, "loss."))
        network.load_state_dict({n: tensor for n, tensor in tensors.items() if not n.startswith("loss.")})
        for module in (network, loss):
            refuse_not_finite(self.run.folder / "model.safetensors", module)
        return network.to(device).eval(), loss.to(device).eval()

    def _facts(self) -> tuple[int, tuple[int, int, int]]:
        """How many images the run has learned from, and their shape."""
        channels, height, width = self.info["dataset"]["shape"]
        return int(self.info["dataset"]["sizes"]["train"]), (channels, height, width)

    def image_set(self) -> ImageSet:
        """The images that the run was trained on, wherever they are prepared, or else those of `path`.

        What the run folder says is never fetched, nor written to. Raises UsageError where they are not found.
        """
        name, fingerprint = self.info["dataset"].get("name"), str(self.info["dataset"].get("fingerprint"))
        if plugins.is_foreign(str(self.config.dataset.get("_target_"))):
            self._check_modules()
        count = self.config.get("train_images")
        if images := find_prepared(fingerprint, self._data_dirs()):
            return images.with_training_images(count)
        if plugins.is_of_plugin(str(self.config.dataset.get("_target_"))):
            images = build.dataset(self.config)
        elif self.config.dataset.get("path") == "embedded":
            images = self._prepared_in_memory()
        elif self._path is not None:
            images = self._prepared_from(self._path, self._data_dir or "data")
        else:
            raise UsageError(
                f"the images of {self.run.folder} (dataset={name}) are not prepared here: give them as "
                "dataset.path=PATH, or the folder that has prepared/ as data_dir=FOLDER"
            )
        if images.fingerprint != fingerprint:
            raise UsageError(
                f"the images of {images.source} are not those that {self.run.folder} was trained on"
            )
        return images

    def images(self, split: str) -> Tensor:
        """The images (N, C, H, W) of "train", "val" or "test" in [0, 1]."""
        images = self.image_set()
        return torch.from_numpy(images.images[images.indices(split)]).permute(0, 3, 1, 2).float() / 255

    def _network(self) -> build.Network:
        shape, classes = self.info["dataset"].get("shape"), self.info["dataset"].get("classes")
        sides = [side for side in shape if type(side) is int] if isinstance(shape, list) else []
        if len(sides) != 3 or not isinstance(classes, list):
            raise UsageError(
                f"{self.run.folder / 'run.json'} is damaged: dataset.shape or classes is missing"
            )
        channels, height, width = sides
        return build.model(self.config, (channels, height, width), len(classes))

    def _data_dirs(self) -> list[Path]:
        """Where prepared images may be: as asked for, else as stored, here, or where a moved project has them."""
        if self._data_dir is not None:
            return [Path(self._data_dir).expanduser()]
        stored = self.config.dataset.get("data_dir")
        above = [folder / "data" for folder in self.run.folder.absolute().parents[:LEVELS]]
        return [*([Path(stored)] if isinstance(stored, str) else []), Path("data"), *above]

    def _prepared_from(self, path: str, data_dir: str) -> ImageSet:
        config = self.config.copy()
        if "path" not in config.dataset:
            raise UsageError(
                f"dataset={config.dataset.get('name')} has no path: "
                "leave dataset.path out after vae-data prepare has got its images"
            )
        config.dataset.path, config.dataset.data_dir = path, data_dir
        listing = config.dataset.get("attributes")
        if listing is not None and not Path(listing).exists():  # then it is looked for beside the images
            config.dataset.attributes = None
        return build.dataset(config)

    def _prepared_in_memory(self) -> ImageSet:
        with TemporaryDirectory() as folder:
            images = self._prepared_from("embedded", folder)
            return replace(images, images=np.array(images.images))
