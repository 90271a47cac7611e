"""The run folder: its names, its atomic writes, its checkpoints and its lock."""

import csv
import json
import os
import platform
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from filelock import FileLock, Timeout
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from vaelab import UsageError, files, older

if TYPE_CHECKING:
    from torch import Tensor

Row = dict[str, Any]

FOR_REPORTS = ("chapter", "reported")  # keys that no training depends on
# The order of the columns of metrics.csv; those that a loss adds come last.
COLUMNS = [
    *("epoch", "step", "split", "kl_weight", "loss", "elbo", "reconstruction", "kl"),
    *("loss_discriminator", "loss_generator", "accuracy_real", "accuracy_fake"),
    *("class_loss_real", "class_loss_fake", "class_accuracy_real", "class_accuracy_fake"),
    *("mse", "psnr", "lr", "seconds"),
]


def refuse_unwritable(folder: Path) -> None:
    """Raises UsageError when the folder cannot be made or written to; creates nothing."""
    existing = next(p for p in (folder, *folder.absolute().parents) if os.path.exists(p))
    if not existing.is_dir():
        raise UsageError(
            f"output_dir={folder}: {existing} is a file, not a folder: choose another output_dir"
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise UsageError(
            f"output_dir={folder}: no permission to write in {existing}: choose another output_dir"
        )


class Run:
    """One run folder; reading never creates, and every file is written whole or not at all."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)

    # ---- reading

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> "Run":
        """An existing run; raises UsageError where the folder is not one."""
        run = cls(folder)
        if not run.folder.is_dir():
            raise UsageError(
                f"{folder} is not a folder: run folders are <output_dir>/<dataset>/<model>/<name>"
            )
        for needed in ("config.yaml", "run.json"):
            if not (run.folder / needed).is_file():
                raise UsageError(f"{folder} is not a run folder: it has no {needed}")
        if "dataset" not in run.info:
            raise UsageError(f"{run.folder / 'run.json'} is damaged: it does not say what data the run has")
        return run

    @property
    def stored(self) -> dict[str, Any]:
        """What config.yaml holds; UsageError where it is damaged, or holds interpolations, which are never resolved."""
        values = files.read_yaml(self.folder / "config.yaml")
        if path := _interpolation(values):
            raise UsageError(
                f"{self.folder / 'config.yaml'} is refused: {path} holds ${{...}}, which is never resolved there"
            )
        return values

    @cached_property
    def config(self) -> DictConfig:
        """The resolved configuration that the run was started with."""
        return OmegaConf.create(older.config(self.stored))

    @property
    def info(self) -> dict[str, Any]:
        """What run.json holds: status, versions, device, data, parameters, ..."""
        return self._json("run.json")

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of the test split; empty before the run is evaluated."""
        return self._json("evaluation/metrics.json")

    @property
    def history(self) -> list[Row]:
        """The rows of metrics.csv, numbers as numbers; a column that a row leaves empty is absent from it."""
        file = self.folder / "metrics.csv"
        if not file.is_file():
            return []
        with file.open(newline="") as lines:
            return [{k: _number(v) for k, v in row.items() if v != ""} for row in csv.DictReader(lines)]

    @property
    def _checkpoint(self) -> Path:
        return self.folder / "checkpoints" / "last.safetensors"

    def is_free(self) -> bool:
        """Whether nothing but a lock, or what a killed process had not finished, is in the folder."""
        return not self.folder.exists() or (
            self.folder.is_dir() and all(p.name.startswith(".") for p in self.folder.iterdir())
        )

    def is_done(self) -> bool:
        """Whether the run has finished."""
        return bool(self.info.get("status") == "done")

    def load_weights(self) -> "dict[str, Tensor]":
        """The final weights; those of the loss have names that begin with `loss.`."""
        from safetensors.torch import load_file

        file = self.folder / "model.safetensors"
        if not file.is_file():
            raise UsageError(f"{self.folder} has no model.safetensors: its training has not finished")
        return load_file(file)

    def checkpoint_facts(self) -> dict[str, Any] | None:
        """The epoch and step of the checkpoint, or None where there is none."""
        from safetensors import safe_open

        if not self._checkpoint.is_file():
            return None
        with safe_open(self._checkpoint, framework="numpy") as opened:  # the metadata need no torch
            return dict(json.loads(opened.metadata()["vaelab"]))

    def load_checkpoint(self) -> "tuple[dict[str, Tensor], dict[str, Any]] | None":
        """The tensors and facts of the last finished epoch, or None before the first."""
        from safetensors import safe_open

        facts = self.checkpoint_facts()
        if facts is None:
            return None
        with safe_open(self._checkpoint, framework="pt") as opened:
            return {key: opened.get_tensor(key) for key in opened.keys()}, facts  # noqa: SIM118

    # ---- writing

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the folder and holds it; a second process is refused."""
        lock = FileLock(self.folder / ".lock", timeout=0)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout as error:
            raise UsageError(f"{self.folder} is in use by another process: wait for it or stop it") from error
        except OSError as error:
            reason = error.strerror or error
            raise UsageError(
                f"cannot write in {self.folder} ({reason}): choose another output_dir"
            ) from error
        try:
            files.remove_unfinished(self.folder)
            yield
        finally:
            lock.release()

    def start(self, config: DictConfig, command: Sequence[str], facts: Mapping[str, Any]) -> None:
        """Writes config.yaml and run.json with status running."""
        self.write_text("config.yaml", OmegaConf.to_yaml(config, resolve=True))
        self.__dict__.pop("config", None)
        self.update(
            status="running",
            reason=None,
            command=list(command),
            git_sha=git_sha(),
            versions=versions(),
            **facts,
        )

    def tell_reports(self, config: DictConfig) -> None:
        """Takes over what a configuration says for reports alone, which a finished run need not be trained anew for."""
        own = OmegaConf.to_container(self.config)
        told = OmegaConf.to_container(config, resolve=True)
        assert isinstance(own, dict)
        assert isinstance(told, dict)
        if any(own.get(key) != told.get(key) for key in FOR_REPORTS):
            new = own | {key: told.get(key) for key in FOR_REPORTS}
            self.write_text("config.yaml", OmegaConf.to_yaml(OmegaConf.create(new)))
            self.__dict__.pop("config", None)

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Writes to run.json how the work within ended, when it ended early and has not said so itself."""
        try:
            yield
        except BaseException as error:
            if self.info.get("status") != "running":
                raise
            if isinstance(error, Exception):
                self.fail(error)
            else:
                self.pause("Ctrl-C" if isinstance(error, KeyboardInterrupt) else "terminated")
            raise

    def fail(self, error: Exception) -> None:
        """Marks the run as failed, with the reason; train.log has the traceback."""
        self.update(status="failed", reason=str(error) or type(error).__name__)
        self.log("".join(traceback.format_exception(error)), show=False)

    def pause(self, reason: str) -> None:
        """Marks the run as interrupted and says how to continue."""
        self.update(status="interrupted", reason=reason)
        self.log(f"interrupted ({reason}); the same command continues: {self.folder}")

    def update(self, **facts: Any) -> None:
        """Changes entries of run.json."""
        self.write_json("run.json", self.info | facts)

    def write_json(self, name: str, values: Mapping[str, Any]) -> None:
        """Writes a JSON file of the folder."""
        self.write_text(name, json.dumps(values, indent=2, ensure_ascii=False) + "\n")

    def log(self, line: str, show: bool = True) -> None:
        """Adds a line to train.log and, if asked, prints it beside a progress bar."""
        with (self.folder / "train.log").open("a") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
        if show:
            tqdm.write(line, file=sys.stderr)

    def write_history(self, rows: Sequence[Row]) -> None:
        """Writes metrics.csv: the columns that some row has, the known ones first."""
        used = dict.fromkeys(key for row in rows for key in row)
        columns = [name for name in COLUMNS if name in used] + [name for name in used if name not in COLUMNS]

        def write(path: Path) -> None:
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, columns, restval="")
                writer.writeheader()
                writer.writerows(rows)

        self.write("metrics.csv", write)

    def save_checkpoint(self, tensors: "Mapping[str, Tensor]", facts: Mapping[str, Any]) -> None:
        """Replaces the checkpoint by the state after another epoch: one file, so that it is never half of two."""
        from safetensors.torch import save_file

        contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
        metadata = {"vaelab": json.dumps(facts)}
        self.write("checkpoints/last.safetensors", lambda path: save_file(contiguous, path, metadata))

    def save_weights(self, tensors: "Mapping[str, Tensor]") -> None:
        """Writes model.safetensors."""
        from safetensors.torch import save_file

        contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
        self.write("model.safetensors", lambda path: save_file(contiguous, path))

    def write_arrays(self, name: str, arrays: Mapping[str, np.ndarray]) -> None:
        """Writes arrays/<name>.npz."""

        def write(path: Path) -> None:
            with path.open("wb") as file:
                np.savez_compressed(file, **dict(arrays))  # type: ignore[arg-type]

        self.write(f"arrays/{name}.npz", write)

    def write_array(self, name: str, array: np.ndarray) -> None:
        """Writes arrays/<name>.npy."""

        def write(path: Path) -> None:
            with path.open("wb") as file:
                np.save(file, array)

        self.write(f"arrays/{name}.npy", write)

    def write_text(self, name: str, text: str) -> None:
        """Writes a text file of the folder."""
        self.write(name, lambda path: path.write_text(text, encoding="utf-8"))

    def write(self, name: str, write: Callable[[Path], Any]) -> None:
        """Calls write(temporary path), then gives the file its name: it is there whole or not at all."""
        with files.whole(self.folder / name) as temporary:
            write(temporary)

    def _json(self, name: str) -> dict[str, Any]:
        file = self.folder / name
        return files.read_json(file) if file.is_file() else {}


def git_sha() -> str | None:
    """The commit of the source tree, with "+" when files differ from it; None outside a checkout."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return described.stdout.strip() or None


def versions() -> dict[str, str]:
    """The versions of what the numbers depend on."""
    packages = ("vaelab", "torch", "lightning-fabric", "numpy", "pillow", "scikit-learn")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _interpolation(values: Any, path: str = "") -> str | None:
    """Where values hold an interpolation, as a dotted key."""
    if isinstance(values, str):
        return path if "${" in values else None
    pairs = (
        values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    )
    found = (_interpolation(value, f"{path}.{key}" if path else str(key)) for key, value in pairs)
    return next(filter(None, found), None)
