"""Generated pictures that the tests of the data load, and the arguments of `load` that they start from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import OmegaConf
from PIL import Image

from vaelab.data import ImageSet

CONF = Path(__file__).resolve().parents[2] / "conf" / "dataset"
Load = Callable[..., ImageSet]
DEFAULTS: dict[str, Any] = {
    "name": "small",
    "path": None,
    "files": [],
    "size": None,
    "on_error": "stop",
    "image_key": "image",
    "label_key": "label",
    "attribute": None,
    "attributes": None,
    "hint": "give it as dataset.path=PATH",
}


def noise(count: int, height: int = 12, width: int = 10, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Random uint8 images (count, height, width, channels)."""
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (count, height, width, channels), dtype=np.uint8)


def save_pngs(folder: Path, images: np.ndarray) -> list[Path]:
    """Write images (N, H, W, C) as 000.png, 001.png, ... and return the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:03}.png" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(path)
    return paths


def configured(dataset: str, data_dir: Path, **overrides: Any) -> dict[str, Any]:
    """Arguments of `load` as a file of conf/dataset gives them."""
    config = OmegaConf.merge(OmegaConf.load(CONF / f"{dataset}.yaml"), overrides)
    tree = OmegaConf.to_container(
        OmegaConf.create({"data_dir": str(data_dir), "dataset": config}), resolve=True
    )
    assert isinstance(tree, dict)
    return {key: value for key, value in tree["dataset"].items() if key != "_target_"}
