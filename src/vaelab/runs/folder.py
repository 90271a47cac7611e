"""The run folder: its files, its checkpoints and its lock."""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from vaelab import Failure, UsageError, files, interpolations
from vaelab.commands.signals import at_end
from vaelab.keys import FOR_REPORTS
from vaelab.runs import checkpoint, checksums, history, lock, older, provenance
from vaelab.runs.history import Row

if TYPE_CHECKING:
    from torch import Tensor

LAST, PREVIOUS = "checkpoints/last.safetensors", "checkpoints/previous.safetensors"


class Run:
    """One run folder; reading never creates, and every file is written whole or not at all."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._held: tuple[int, int] | None = (
            None  # device and number of the folder, while this process has it
        )

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
        run.refuse_changed("config.yaml")
        if "dataset" not in run.info:
            raise UsageError(f"{run.folder / 'run.json'} is damaged: it does not say what data the run has")
        return run

    @cached_property
    def stored(self) -> dict[str, Any]:
        """What config.yaml holds; UsageError where it is damaged, or holds interpolations, which are never resolved."""
        self.refuse_changed("config.yaml")
        values = files.read_yaml(self.folder / "config.yaml")
        if path := interpolations.first(values):
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
        values = self._json(checksums.SELF)
        checksums.refuse_broken_seal(self.folder, values)
        return values

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of the test split; empty before the run is evaluated."""
        self.refuse_changed("evaluation/metrics.json")
        return self._json("evaluation/metrics.json")

    @property
    def history(self) -> list[Row]:
        """The rows of metrics.csv, numbers as numbers; a column that a row leaves empty is absent from it."""
        self.refuse_changed("metrics.csv")
        return history.read(self.folder / "metrics.csv")

    def refuse_changed(self, name: str) -> None:
        """Raises UsageError where a file differs from its checksum in run.json; silent where there is none."""
        checksums.refuse_changed(self.folder, self.info, name)

    def is_free(self) -> bool:
        """Whether nothing but a lock, or what a killed process had not finished, is in the folder."""
        return not self.folder.exists() or (
            self.folder.is_dir() and all(p.name.startswith(".") for p in self.folder.iterdir())
        )

    def is_done(self) -> bool:
        """Whether the run has finished."""
        return bool(self.info.get("status") == "done")

    def load_weights(self, expected: "Mapping[str, Tensor] | None" = None) -> "dict[str, Tensor]":
        """The final weights, refused unless they have the names and shapes of `expected`; `loss.` begins the loss's."""
        file = self.folder / "model.safetensors"
        if not file.is_file():
            raise UsageError(f"{self.folder} has no model.safetensors: its training has not finished")
        try:
            return checkpoint.read(file, expected)[0]
        except checkpoint.Damaged as reason:
            raise UsageError(
                f"{file} is damaged ({reason}): {checksums.remedy(self.folder, file.name)}"
            ) from None

    def checkpoint_facts(self) -> dict[str, Any] | None:
        """The epoch and step of the checkpoint, or None where there is none that can be read."""
        for name in (LAST, PREVIOUS):  # between two checkpoints there is only the previous one
            with suppress(FileNotFoundError, checkpoint.Damaged):
                return checkpoint.read_facts(self.folder / name)
        return None

    def load_checkpoint(self) -> checkpoint.Checkpoint | None:
        """The last checkpoint, or None before the first; raises checkpoint.Damaged."""
        for name in (LAST, PREVIOUS):
            with suppress(FileNotFoundError):
                return checkpoint.read_state(self.folder / name)
        return None

    # ---- writing

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Makes the folder and holds it; a second process is refused."""
        with lock.hold(self.folder):
            self._held = lock.number(self.folder)
            try:
                yield
            finally:
                self._held = None

    def start(self, config: DictConfig, command: Sequence[str], facts: Mapping[str, Any]) -> None:
        """Writes config.yaml and run.json with status running."""
        self._write_config(config)
        self.update(
            status="running",
            reason=None,
            command=list(command),
            git_sha=provenance.git_sha(),
            versions=provenance.versions(),
            checksums={"config.yaml": files.digest(self.folder / "config.yaml")},
            **facts,
        )

    def tell_reports(self, config: DictConfig) -> None:
        """Takes over what a configuration says for reports alone, which a finished run need not be trained anew for."""
        own = older.config(self.stored)
        given = [(key, config.get(key)) for key in FOR_REPORTS]
        told = {
            key: OmegaConf.to_container(v, resolve=True) if OmegaConf.is_config(v) else v for key, v in given
        }
        if any(own.get(key) != told.get(key) for key in FOR_REPORTS):
            new = own | told
            self._write_config(OmegaConf.create(new))
            self.seal()

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Writes to run.json how the work within ended, when it ended early and has not said so itself."""
        try:
            with at_end(self.pause):
                yield
        except BaseException as error:
            if not isinstance(error, Exception):
                self.pause("Ctrl-C" if isinstance(error, KeyboardInterrupt) else "terminated")
            elif self.info.get("status") == "running":
                self.fail(error)
            raise

    def fail(self, error: Exception) -> None:
        """Marks the run as failed, with the reason; train.log has the traceback."""
        # Of a disk that is full, say: the error itself says more.
        with suppress(OSError, UsageError, Failure):
            self.update(status="failed", reason=str(error) or type(error).__name__)
            self.log("".join(traceback.format_exception(error)), show=False)

    def pause(self, reason: str) -> None:
        """Marks a run that is at work as interrupted and says how to continue."""
        if self.info.get("status") == "running":
            self.update(status="interrupted", reason=reason)
            self.log(f"interrupted ({reason}); the same command continues: {self.folder}")

    def update(self, **facts: Any) -> None:
        """Changes entries of run.json."""
        self.write_json(checksums.SELF, self.info | facts)

    def seal(self) -> None:
        """Puts the checksums of what is read again into run.json; all of the folder is then on the disk."""
        known = checksums.recorded(self.info)
        arrays = [path.relative_to(self.folder).as_posix() for path in self.folder.glob("arrays/**/*.np[yz]")]
        names = ["config.yaml", "metrics.csv", "evaluation/metrics.json", *sorted(arrays)]
        there = [name for name in names if (self.folder / name).is_file()]
        sums = {name: known.get(name) or files.digest(self.folder / name) for name in there}
        for path in (*self.folder.rglob("*"), self.folder, *self.folder.absolute().parents):
            files.sync(path)
        self.update(checksums=sums)

    def _write_config(self, config: DictConfig) -> None:
        self.write_text("config.yaml", OmegaConf.to_yaml(config, resolve=True))
        for read in ("config", "stored"):
            self.__dict__.pop(read, None)

    def write_json(self, name: str, values: Mapping[str, Any]) -> None:
        """Writes a JSON file of the folder."""
        values = checksums.sealed(values) if name == checksums.SELF else values
        self.write_text(name, json.dumps(values, indent=2, ensure_ascii=False) + "\n")

    def log(self, line: str, show: bool = True) -> None:
        """Adds a line to train.log and, if asked, prints it beside a progress bar."""
        self._refuse_gone()
        file = self.folder / "train.log"
        try:
            with file.open("a", encoding="utf-8", errors="backslashreplace") as stream:
                stream.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {line}\n")
        except OSError as error:
            raise files.cannot_write(file, error) from error
        if show:
            tqdm.write(line, file=sys.stderr)

    def write_history(self, rows: Sequence[Row]) -> None:
        """Writes metrics.csv."""
        self.write("metrics.csv", lambda path: path.write_bytes(history.to_text(rows).encode()))

    def save_checkpoint(
        self, tensors: "Mapping[str, Tensor]", facts: Mapping[str, Any], rows: Sequence[Row]
    ) -> None:
        """Makes the state after an epoch, in one file, the last checkpoint, and the last the previous one."""

        def write(path: Path) -> None:
            checkpoint.save_state(path, tensors, facts, rows)
            files.sync(path)  # before the last checkpoint loses its name
            with suppress(FileNotFoundError):
                files.replace(self.folder / LAST, self.folder / PREVIOUS)

        self.write(LAST, write)

    def save_weights(self, tensors: "Mapping[str, Tensor]") -> None:
        """Writes model.safetensors."""
        self.write("model.safetensors", lambda path: checkpoint.write(path, tensors, {}))

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
        self.write(name, lambda path: path.write_text(text, "utf-8", "backslashreplace"))

    def write(self, name: str, write: Callable[[Path], Any]) -> None:
        """Calls write(temporary path), then gives the file its name: it is there whole or not at all."""
        self._refuse_gone()
        known = checksums.recorded(self.info) if name != checksums.SELF else {}
        if name in known:  # what a kill leaves half of has no checksum, rather than a wrong one
            self.update(checksums={other: known[other] for other in known if other != name})
        with files.whole(self.folder / name) as temporary:
            write(temporary)

    def _refuse_gone(self) -> None:
        if self._held not in (None, lock.number(self.folder)):
            raise Failure(f"{self.folder} was deleted or moved while it was in use: give the command again")

    def _json(self, name: str) -> dict[str, Any]:
        file = self.folder / name
        try:
            return files.read_json(file) if file.is_file() else {}
        except UsageError as error:
            raise UsageError(f"{error}: {checksums.remedy(self.folder, name)}") from None
