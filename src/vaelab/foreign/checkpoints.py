"""Checkpoints of other tools: what network they are of, its weights, and the λ that they say; no pickle is loaded."""

import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from vaelab import UsageError, files
from vaelab.names import nearest
from vaelab.units import Unit

Shapes = Mapping[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """A VAE of another tool: its network as vaelab builds it, and how its weights are had."""

    tool: Unit
    file: Path
    model: dict[str, Any]
    image_shape: tuple[int, ...] | None  # (C, H, W), where it says for what images it is
    likelihood: str  # gaussian, of σ = 1, or bernoulli
    kl_weight: float | None  # in the tool's own unit, where it says that
    weights: Callable[[Shapes], dict[str, Tensor]]  # of these names and shapes, which are looked at first


def read(given: str) -> Checkpoint:
    """What TOOL:PATH names, without its weights; raises UsageError where it is none that can be read."""
    tool, colon, path = given.partition(":")
    if tool not in READERS or not path:
        known = ", ".join(f"{name}:PATH" for name in READERS)
        raise UsageError(f"foreign={given} is none of {known}{nearest(tool, READERS) if colon else ''}")
    return READERS[tool](Path(path).expanduser())


def pythae(folder: Path) -> Checkpoint:
    """A folder as pythae saves it, of a VAE or BetaVAE with its default networks."""
    for needed in ("model_config.json", "model.pt"):
        if not (folder / needed).is_file():
            raise UsageError(
                f"pythae:{folder} has no {needed}: give the folder that pythae's model.save() wrote"
            )
    values = files.read_json(folder / "model_config.json")
    name, shape, units = (values.get(key) for key in ("name", "input_dim", "latent_dim"))
    if name not in ("VAEConfig", "BetaVAEConfig"):
        raise UsageError(f"pythae:{folder} is a {name}: only VAE and BetaVAE are measured")
    for part in ("encoder", "decoder"):
        if not values.get(f"uses_default_{part}", True) or (folder / f"{part}.pkl").exists():
            raise UsageError(
                f"pythae:{folder} has a network of its own in {part}.pkl, a pickle, which could run any code when "
                "it is read: only pythae's default networks are measured"
            )
    sides = [side for side in shape if type(side) is int] if isinstance(shape, list) else []
    if len(sides) != 3 or type(units) is not int:
        raise UsageError(
            f"pythae:{folder / 'model_config.json'} names no input_dim of (C, H, W), or no latent_dim"
        )
    beta = values.get("beta") if name == "BetaVAEConfig" else 1.0
    if not isinstance(beta, int | float):
        raise UsageError(f"pythae:{folder / 'model_config.json'} names no beta")
    return Checkpoint(
        "pythae",
        folder / "model.pt",
        {"_target_": "vaelab.models.pythae_vae", "latent_dim": units},
        tuple(sides),
        "bernoulli" if values.get("reconstruction_loss") == "bce" else "gaussian",
        float(beta),
        lambda expected: torch_file(folder / "model.pt", expected, "model_state_dict", ""),
    )


def pytorch_vae(file: Path) -> Checkpoint:
    """A checkpoint of PyTorch-VAE's VanillaVAE, as Lightning writes it."""
    refuse_missing("pytorch_vae", file)
    held = unpickled(file, "meta")
    prefix = "model."
    shapes = tensors_of(file, held, "state_dict", prefix)
    widths: list[int] = []
    while (weights := shapes.get(f"encoder.{len(widths)}.0.weight")) is not None:
        widths.append(weights.shape[0] if weights.dim() else 0)
    last, first = shapes.get("fc_mu.weight"), shapes.get("encoder.0.0.weight")
    if not widths or last is None or first is None or (first.dim(), last.dim()) != (4, 2):
        raise UsageError(f"pytorch_vae:{file} is no VanillaVAE: it has no encoder.0.0.weight or fc_mu.weight")
    side = 2 ** (len(widths) + 1)
    told = held.get("hyper_parameters")
    told = told.get("exp_params", told) if isinstance(told, Mapping) else {}
    weight = told.get("kld_weight") if isinstance(told, Mapping) else None
    return Checkpoint(
        "pytorch_vae",
        file,
        {"_target_": "vaelab.models.pytorch_vae", "latent_dim": len(last), "hidden": widths},
        (first.shape[1], side, side),
        "gaussian",
        float(weight) if isinstance(weight, int | float) else None,
        lambda expected: torch_file(file, expected, "state_dict", prefix),
    )


def diffusers(folder: Path) -> Checkpoint:
    """A folder with the config.json and the safetensors of an AutoencoderKL."""
    file = folder / "diffusion_pytorch_model.safetensors"
    for needed in (folder / "config.json", file):
        if not needed.is_file():
            raise UsageError(f"diffusers:{folder} has no {needed.name}: give the folder of an AutoencoderKL")
    settings = files.read_json(folder / "config.json")
    if settings.get("_class_name") != "AutoencoderKL":
        raise UsageError(
            f"diffusers:{folder} is a {settings.get('_class_name')}: only AutoencoderKL is measured"
        )
    settings = {key: value for key, value in settings.items() if not key.startswith("_")}
    return Checkpoint(
        "diffusers",
        file,
        {"_target_": "vaelab.models.autoencoder_kl", "settings": settings},
        None,
        "gaussian",
        None,
        lambda expected: safetensors_file(file, expected),
    )


READERS: dict[str, Callable[[Path], Checkpoint]] = {
    "pythae": pythae,
    "pytorch_vae": pytorch_vae,
    "diffusers": diffusers,
}


def refuse_missing(tool: str, file: Path) -> None:
    """Raises UsageError where a file is not there."""
    if not file.is_file():
        raise UsageError(f"{tool}:{file} is no file: give the checkpoint itself")


def torch_file(file: Path, expected: Shapes, key: str, prefix: str) -> dict[str, Tensor]:
    """The tensors below a key of a file of torch.save, once those of the file have the expected names and shapes."""
    refuse_others(file, tensors_of(file, unpickled(file, "meta"), key, prefix), expected)
    found = tensors_of(file, unpickled(file, "cpu"), key, prefix)
    return {name: found[name] for name in expected}


def safetensors_file(file: Path, expected: Shapes) -> dict[str, Tensor]:
    """The tensors of an AutoencoderKL by the names that they have here, of the expected shapes."""
    from safetensors import SafetensorError, safe_open

    own = {theirs(name): name for name in expected}
    try:
        with safe_open(file, "pt") as opened:
            there = {own.get(name, name): opened.get_slice(name).get_shape() for name in opened.keys()}  # noqa: SIM118
            shapes = {name: torch.empty(shape, device="meta") for name, shape in there.items()}
            refuse_others(file, shapes, expected)
            return {name: opened.get_tensor(theirs(name)).float() for name in expected}
    except SafetensorError as error:
        raise UsageError(f"{file} is damaged, or no safetensors file: {error}") from None


def theirs(name: str) -> str:
    """The name of a tensor of LatentDiffusionVAE in a checkpoint: its two halves hold what lies side by side there."""
    return name.partition(".")[2]


def unpickled(file: Path, device: str) -> Mapping[str, Any]:
    """What a file of torch.save holds, where that is tensors and plain values; on "meta" it takes no memory."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if any(
                entry.compress_type for entry in archive.infolist()
            ):  # torch writes none, and reads any size
                raise UsageError(f"{file} is refused: it is compressed, which a file of torch.save is not")
    try:
        held = torch.load(file, map_location=device, weights_only=True)
    except Exception as error:  # what others wrote may be wrong in any way
        if isinstance(error, UnpicklingError) and (found := re.search(r"GLOBAL ([\w.]+)", str(error))):
            raise UsageError(
                f"{file} is refused: it holds {found[1]}, and a pickle of more than tensors could run any code when it "
                "is read: save its state_dict alone"
            ) from None
        reason = str(error).strip().partition("\n")[0] or "it is empty or cut short"
        raise UsageError(f"{file} cannot be read as a file of torch.save: {reason}") from None
    if not isinstance(held, Mapping):
        raise UsageError(f"{file} holds no weights by name, but one {type(held).__name__}")
    return held


def tensors_of(file: Path, held: Mapping[str, Any], key: str, prefix: str) -> dict[str, Tensor]:
    """The tensors below a key, or of the whole where there is no such key, without the prefix of their names."""
    found = held.get(key, held)
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise UsageError(f"{file} holds no {key} of tensors")
    return {str(name).removeprefix(prefix): tensor for name, tensor in found.items()}


def refuse_others(file: Path, found: Shapes, expected: Shapes) -> None:
    """Raises UsageError where names or shapes are not those of the network."""
    for name in (*expected, *found):
        ours, own = (None if name not in some else list(some[name].shape) for some in (expected, found))
        if ours != own:
            raise UsageError(
                f"{file} is of another network: {name} is {own or 'not there'}, and would be {ours or 'left out'}"
            )
