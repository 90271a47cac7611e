"""The configuration files that users bring: read as they meant them or refused by name, and kept from running code."""

import codecs
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vaelab import UsageError
from vaelab.commands.arguments import Arguments
from vaelab.names import groups

# What Hydra would do beside composing: call what is named here, set the environment, write folders and logs.
FIXED: dict[str, Any] = {
    "callbacks": {},
    "mode": None,
    "hydra_logging.root": None,
    "job_logging.root": None,
    "job.env_set": {},
    "job.env_copy": [],
    "job.chdir": None,
    "run.dir": ".",
    "output_subdir": None,
}
FIXED_IN_SWEEPS = {"sweep.dir": ".", "sweep.subdir": "."}
PLUGINS = ("hydra_plugins.", "hydra._internal.core_plugins.")


def refuse_foreign(hydra: DictConfig, sweeps: bool) -> None:
    """Raises UsageError where a composed configuration would have Hydra run code or write elsewhere."""
    for key, value in (FIXED | FIXED_IN_SWEEPS if sweeps else FIXED).items():
        if OmegaConf.select(hydra, key) not in (value, None):
            raise UsageError(
                f"hydra.{key} is refused, as it could run other code or write elsewhere: leave it out"
            )
    for key in ("launcher", "sweeper"):
        values = OmegaConf.to_container(hydra[key], resolve=False)
        assert isinstance(values, dict)
        target = str(values.pop("_target_", ""))
        if not target.startswith(PLUGINS):
            raise UsageError(f"hydra.{key}._target_={target} is refused: choose hydra/{key}=NAME")
        if _names_a_target(values):
            raise UsageError(f"hydra.{key} holds a _target_ of its own, which is refused: leave it out")


def _names_a_target(value: Any) -> bool:
    if isinstance(value, dict):
        return "_target_" in value or any(map(_names_a_target, value.values()))
    return isinstance(value, list) and any(map(_names_a_target, value))


def check(given: Arguments) -> None:
    """Raises UsageError, with the file's name, for a chosen file of --config-dir that Hydra would misread."""
    folder = given.options.get("config-dir")
    if folder is None:
        return
    if not os.path.isdir(folder):
        raise UsageError(f"--config-dir={folder} is not a folder: it holds experiment/NAME.yaml")
    for group, choice in _chosen(given.overrides):
        file = Path(folder, group, f"{choice}.yaml")
        if file.is_file():
            _refuse_misread(file, group)


def _chosen(overrides: list[str]) -> Iterator[tuple[str, str]]:
    for override in overrides:
        key, _, value = override.lstrip("+").partition("=")
        if key in groups() or key.startswith("hydra/"):
            for choice in re.findall(r"[\w./-]+", value):
                yield key, choice


def _refuse_misread(file: Path, group: str) -> None:
    data = file.read_bytes()
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in data:
        raise UsageError(f"{file} is UTF-16 text: save it as UTF-8")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{file}, line {line}, is not UTF-8 text: save it as UTF-8") from None
    if text.startswith("\ufeff"):
        raise UsageError(
            f"{file} begins with a byte order mark, which hides its first line: save it as UTF-8 without BOM"
        )
    if group == "experiment" and not re.match(r"\s*#\s*@package\s+_global_\s*$", text, re.MULTILINE):
        raise UsageError(
            f"{file} does not begin with the line `# @package _global_`: add it, so that its keys are found"
        )
