"""vaelab.from_pretrained: the network of an exported folder, of this disk or of Hugging Face."""

import os
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from vaelab import UsageError, build, files, interpolations
from vaelab.export.hub import CONFIG, LIBRARY, PACKAGE, WEIGHTS, failures_in_words
from vaelab.runs import checkpoint, older

MOST_CONFIG = 1 << 20  # bytes


def load(source: str | os.PathLike[str]) -> build.Network:
    """The network of a folder, or of a name USER/NAME, in evaluation mode; raises UsageError where there is none.

    Builds nothing but vaelab's own models, loads no pickle, and looks at sizes before it takes memory.
    """
    folder = Path(source).expanduser()
    if not folder.is_dir():
        folder = fetched(str(source))
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise UsageError(f"{source} has no {name}: give a folder that vae-export to=hub has written")
    file = folder / CONFIG
    config, shape, classes = read(file)
    with torch.random.fork_rng(devices=[]):
        with torch.device("meta"):  # first without memory, for a stranger's files may ask for any size
            expected = build.model(config, shape, classes).state_dict()
        try:
            tensors, _ = checkpoint.read(folder / WEIGHTS, expected)
        except checkpoint.Damaged as reason:
            raise UsageError(f"{folder / WEIGHTS} is damaged ({reason}): fetch or export it again") from None
        network = build.model(config, shape, classes)
    network.load_state_dict(tensors)
    checkpoint.refuse_not_finite(folder / WEIGHTS, network)
    return network.eval()


def read(file: Path) -> tuple[Any, tuple[int, int, int], int]:
    """The configuration, image shape and number of classes of a config.json; raises UsageError where it is none."""
    values = files.read_json(file, MOST_CONFIG)
    shape, classes, model = (values.get(key) for key in ("image_shape", "classes", "model"))
    sides = [side for side in shape if type(side) is int and side > 0] if isinstance(shape, list) else []
    if len(sides) != 3 or not isinstance(classes, list) or not isinstance(model, dict):
        ours = "is damaged: image_shape, classes or model is missing"
        raise UsageError(
            f"{file} {ours if LIBRARY in values else 'is none that vae-export to=hub has written'}"
        )
    if path := interpolations.first(model):
        raise UsageError(f"{file} is refused: model.{path} holds ${{...}}, which is never resolved there")
    config = OmegaConf.create(older.config({"model": model, "seed": 0}))
    build.refuse_foreign(config, ())
    build.check(config)
    channels, height, width = sides
    return config, (channels, height, width), len(classes)


def fetched(name: str) -> Path:
    """The folder of a name on Hugging Face, fetched where it is not here yet; raises UsageError where there is none."""
    try:
        import huggingface_hub
        from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
    except ImportError:
        raise UsageError(f"{name} is not a folder here, and fetching it {PACKAGE}") from None
    with failures_in_words(f"fetching {name}"):
        try:
            return Path(huggingface_hub.snapshot_download(name, allow_patterns=[CONFIG, WEIGHTS]))
        except (HFValidationError, RepositoryNotFoundError) as error:
            host = huggingface_hub.constants.ENDPOINT
            raise UsageError(f"{name} is neither a folder here nor a model at {host}") from error
