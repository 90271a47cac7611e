"""The real images that benches train on, and the overrides that name them."""

import zipfile
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from PIL import Image

from vaelab import config

ANIME, DIGITS, EYES = "anime/anime_tagged_6k.zip", "tibetan_mnist/TibetanMNIST.npz", "eyes/data.npy"
# Pictures of 64×64×3 and of 28×28×1: a GPU does an epoch of few in no time.
COUNTS = (6000, 17768) if torch.cuda.is_available() else (1900, 5000)


def composed(*overrides: str) -> DictConfig:
    """The configuration that vae-train would compose."""
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        return compose("train", list(overrides))


def on(dataset: str, path: Path, folder: Path) -> list[str]:
    """The overrides that train on these images, prepared in the temporary folder."""
    return [f"dataset={dataset}", f"dataset.path={path}", f"data_dir={folder / 'data'}"]


def networks(samples: Path, folder: Path, counts: tuple[int, int]) -> dict[str, list[str]]:
    """The overrides of three networks on real images of their size."""
    color = on("anime", anime_jpegs(samples, folder, counts[0]), folder)
    gray = on("tibetan_mnist", digit_pngs(samples, folder, counts[1]), folder)
    return {
        "conv_vae 64×64×3": [*color, "model=conv_vae"],
        "conv_vae 28×28×1": [*gray, "model=conv_vae"],
        "fc_vae 28×28×1": [*gray, "model=fc_vae"],
    }


def anime_jpegs(samples: Path, folder: Path, count: int) -> Path:
    """A folder with the first JPEG files of the drawn faces."""
    target = folder / f"anime_{count}"
    if not target.is_dir():
        with zipfile.ZipFile(samples / ANIME) as archive:
            names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
            archive.extractall(target, names[:count])
    return target


def digit_pngs(samples: Path, folder: Path, count: int) -> Path:
    """A folder with PNG files of handwritten digits, spread evenly over the classes."""
    target = folder / f"digits_{count}"
    if not target.is_dir():
        target.mkdir()
        images = np.load(samples / DIGITS, allow_pickle=False)["image"]
        for row in np.linspace(0, len(images) - 1, count).astype(int):
            Image.fromarray(images[row]).save(target / f"{row:05d}.png")
    return target
