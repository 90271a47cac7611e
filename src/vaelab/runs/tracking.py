"""What trackers are told of a run: by a process for each, which reads the run's folder and so can hold up nothing."""

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from threading import Thread
from typing import Any, NamedTuple

from omegaconf import DictConfig

from vaelab import Failure, files
from vaelab.runs.folder import Run
from vaelab.words import printable

LONGEST_WAIT = (
    120.0  # seconds for which a trained run waits for what its trackers have not yet written or sent
)
POLL = 0.05
FINISHED = "finished"  # what a tracker's process is told of a run that is measured and drawn

# Nobody's network is asked for anything beside what trackers are for.
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "WANDB_ERROR_REPORTING": "false",
    "OMP_NUM_THREADS": "1",
}


class State(NamedTuple):
    """How far a tracker is with a run: by what name it knows it, the rows that it has, and whether it has all."""

    id: str | None = None
    rows: int = 0
    done: bool = False


def state(run: Run, name: str) -> State:
    """What trackers/<name>.json of a run folder says."""
    file = run.folder / "trackers" / f"{name}.json"
    return State(**files.read_json(file)) if file.is_file() else State()


class Tracking:
    """The processes that tell trackers of one run; a tracker that fails is said once, and ends nothing."""

    def __init__(self, run: Run, names: Iterable[str]) -> None:
        self._run, self._names = run, list(dict.fromkeys(names))
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._listeners: list[Thread] = []
        self._problems: dict[str, str] = {}

    def __enter__(self) -> "Tracking":
        for name in self._names:
            self._start(name)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Leaves the processes to end by themselves."""
        self._release("")
        if kind is not None and self._problems:
            with suppress(Exception):  # the error that is on its way says more
                self._run.update(**self.facts())

    def finish(self) -> Iterator[int]:
        """Hands over the numbers and figures of a trained run; yields 0 while trackers are at it."""
        self._release(FINISHED)
        deadline = time.monotonic() + LONGEST_WAIT
        while any(listener.is_alive() for listener in self._listeners) and time.monotonic() < deadline:
            yield 0
        for name, process in self._processes.items():
            if process.poll() is None:
                self._fail(name, f"it was not done within {LONGEST_WAIT:g} s")
                process.kill()

    def facts(self) -> dict[str, Any]:
        """What run.json says of the trackers."""
        return {"trackers": {n: self._problems.get(n, "done") for n in self._names}} if self._names else {}

    def _start(self, name: str) -> None:
        log = self._run.folder / "trackers" / f"{name}.log"
        try:
            log.parent.mkdir(exist_ok=True)
            with log.open("a") as stream:
                process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "vaelab.runs.follower", str(self._run.folder), name],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stream,
                    text=True,
                    env=QUIET | os.environ,
                    start_new_session=True,  # Ctrl-C is for the training
                )
        except OSError as error:
            return self._fail(name, str(error))
        self._processes[name] = process
        self._listeners.append(Thread(target=self._listen, args=(name, process), daemon=True))
        self._listeners[-1].start()

    def _listen(self, name: str, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            reason = process.stdout.read()
        if status := process.wait():
            self._fail(name, reason or f"its process died (exit status {status})")

    def _fail(self, name: str, reason: str) -> None:
        if name in self._problems:
            return
        self._problems[name] = f"failed: {printable(' '.join(reason.split()))}"
        with suppress(Failure):
            self._run.log(f"tracker {name} {self._problems[name]}; trackers/{name}.log says more")

    def _release(self, word: str) -> None:
        for process in self._processes.values():
            assert process.stdin is not None
            if process.stdin.closed:
                continue
            with suppress(OSError):  # of one that has ended
                process.stdin.write(word)
            with suppress(OSError):
                process.stdin.close()


def hand_over(run: Run, cfg: DictConfig) -> None:
    """Tells trackers of a finished run what they have not been told of it."""
    names = [name for name in cfg.trackers if not state(run, name).done]
    with Tracking(run, names) as tracking:
        for _ in tracking.finish():
            time.sleep(POLL)
    if names:
        run.update(trackers=run.info.get("trackers", {}) | tracking.facts()["trackers"])
