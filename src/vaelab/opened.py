"""A run folder as Python objects: its configuration, numbers, network and images."""

import os
from functools import cached_property
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor

from vaelab import build
from vaelab.data import ImageSet
from vaelab.losses import Loss
from vaelab.run import Row, Run
from vaelab.train import below


class OpenedRun:
    """A run folder, read: raises UsageError where the folder is not a run, or what is asked for is not there."""

    def __init__(self, folder: str | os.PathLike[str], data_dir: str | None = None) -> None:
        self.run = Run.open(folder)
        self._data_dir = data_dir

    @cached_property
    def config(self) -> DictConfig:
        """The resolved configuration, with the data looked for where they are now."""
        config = self.run.config.copy()
        if self._data_dir is not None:
            config.dataset.data_dir = self._data_dir
        return config

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

    def model(self, device: str = "cpu") -> build.Network:
        """The trained network, in evaluation mode, all its methods batched.

        An autoencoder or VAE has encode(images) and decode(z); a GAN has draw(count), generate(z) or, with classes,
        generate(z, label), and discriminate(images).
        """
        return self.networks(device)[0]

    def networks(self, device: str) -> tuple[build.Network, Loss]:
        """The trained network and its loss on a device, both in evaluation mode."""
        channels, height, width = self.info["dataset"]["shape"]
        classes = len(self.info["dataset"]["classes"])
        network = build.model(self.config, (channels, height, width), classes)
        loss = build.loss(self.config, network)
        tensors = self.run.load_weights()
        loss.load_state_dict(below(tensors, "loss."))
        network.load_state_dict(
            {name: value for name, value in tensors.items() if not name.startswith("loss.")}
        )
        return network.to(device).eval(), loss.to(device).eval()

    def image_set(self) -> ImageSet:
        """The data set that the run was trained on."""
        return build.dataset(self.config)

    def images(self, split: str) -> Tensor:
        """The images (N, C, H, W) of "train", "val" or "test" in [0, 1]."""
        images = self.image_set()
        return torch.from_numpy(images.images[images.indices(split)]).permute(0, 3, 1, 2).float() / 255
