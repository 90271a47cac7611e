"""What a long evaluation has computed so far, so that after a kill it goes on instead of beginning anew."""

import time
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path

import numpy as np
from torch import nn

from vaelab import files

EVERY = 10.0  # seconds between two writes
MOST_BYTES = 1 << 26  # of such a file


class Unfinished:
    """Arrays in a file that are of this evaluation and these weights, or nothing; without a file none are kept."""

    def __init__(self, file: Path | None, evaluation: object, model: nn.Module) -> None:
        self._file, self._of = file, identity(evaluation, model) if file else ""
        self._written = time.perf_counter()

    def read(self) -> dict[str, np.ndarray]:
        """What was kept; nothing where that is of something else, or damaged."""
        if self._file is None or not self._file.is_file():
            return {}
        try:
            stored = files.small_arrays(self._file, MOST_BYTES)
            return stored if str(stored["of"]) == self._of else {}
        except Exception:  # a file may be damaged in many ways, and all is computed again then
            return {}

    def keep(self, arrays: Callable[[], Mapping[str, np.ndarray]]) -> None:
        """Asks for the arrays and writes them, unless that was done just now."""
        if self._file is None or time.perf_counter() - self._written < EVERY:
            return
        with files.whole(self._file) as part, part.open("wb") as stream:
            np.savez(stream, of=np.array(self._of), **arrays())  # type: ignore[arg-type]
        self._written = time.perf_counter()


def identity(evaluation: object, model: nn.Module) -> str:
    """A hash of an evaluation's settings, of a model's weights, and of the kind of device, whose noise is its own."""
    digest = sha256(f"{evaluation!r} {next(model.parameters()).device.type}".encode())
    for name, tensor in model.state_dict().items():
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
