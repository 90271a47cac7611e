"""A trained run for other programs: ONNX files, or a folder for Hugging Face that vaelab.from_pretrained loads."""

import re
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from vaelab import UsageError, config
from vaelab.export import graphs, hub
from vaelab.names import as_written
from vaelab.runs.lock import refuse_unwritable
from vaelab.runs.open_run import OpenedRun

REFUSED = {
    "diffusers": "to=diffusers is refused: spatial_vae, whose code has the image's layout, has not the blocks of "
    "AutoencoderKL (ResNet blocks, attention, quant_conv): use to=onnx or to=hub",
    "torchscript": "to=torchscript is refused: PyTorch has deprecated TorchScript: use to=onnx or to=hub",
}


def check(cfg: DictConfig) -> None:
    """Raises UsageError for a configuration that is none, and for a format that there is not."""
    if reason := None if OmegaConf.is_missing(cfg, "to") else REFUSED.get(str(cfg.to)):
        raise UsageError(reason)
    config.check(cfg, config.Export)
    if cfg.push is None:
        return
    if cfg.to != "hub":
        raise UsageError(f"push={cfg.push} goes with to=hub")
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", cfg.push, re.ASCII):
        raise UsageError(f"push={as_written(cfg.push)} is no name at Hugging Face: give push=USER/NAME")


def write(cfg: DictConfig) -> Iterator[str]:
    """Exports a run as asked for; gives what was written, in lines."""
    check(cfg)
    if cfg.to == "onnx":
        graphs.refuse_missing()
    elif cfg.push is not None:
        hub.refuse_no_upload(cfg.push)
    opened = OpenedRun(cfg.run, own_modules=list(cfg.plugins))
    folder = Path(cfg.output or opened.run.folder / cfg.to).expanduser()
    refuse_unwritable(folder, "output")
    if cfg.to == "onnx":
        return _onnx(opened, folder)
    return _hub(opened, folder, cfg.push)


def _onnx(opened: OpenedRun, folder: Path) -> Iterator[str]:
    differences = []
    channels, height, width = opened.info["dataset"]["shape"]
    for path, difference in graphs.write(opened.model(), (channels, height, width), folder):
        differences.append(difference)
        yield f"ONNX: {path}"
    yield f"ONNX Runtime equals torch: the largest difference is {max(differences):.1e}, relative above 1"


def _hub(opened: OpenedRun, folder: Path, name: str | None) -> Iterator[str]:
    hub.write(opened, folder)
    yield f"folder for Hugging Face: {folder}"
    if name is not None:
        yield f"uploaded: {hub.upload(folder, name)}"
