"""Signals at any moment: the right exit status, at most a line, and the same command goes on afterwards."""

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.cli.conftest import Command, Process, started, wait_for_epoch
from vaelab.commands import signals
from vaelab.runs.folder import Run

TRAINING = ["model=fc_vae", "epochs=40", "evaluation=[learning_curve]", "snapshot_epochs=[]"]
STATUS = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129}


def answers(process: Process) -> bool:
    """Whether the program has begun, and not only Python."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


def after(seconds: float) -> Callable[[Path, Process], None]:
    """A moment while libraries load or the configuration is composed."""

    def wait(folder: Path, process: Process) -> None:
        while Path("/proc").is_dir() and not answers(process):
            time.sleep(0.001)
        time.sleep(seconds)

    return wait


def while_torch_loads(folder: Path, process: Process) -> None:
    """Waits until the process has mapped torch's library."""
    maps = Path(f"/proc/{process.pid}/maps")
    if not maps.is_file():
        return time.sleep(2)
    deadline = time.monotonic() + 120
    while "libtorch" not in maps.read_text() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.01)


def at_epoch(epoch: int) -> Callable[[Path, Process], None]:
    """A moment of training; the run before may have come as far, so that this one has only to be at work."""

    def wait(folder: Path, process: Process) -> None:
        wait_for_epoch(epoch, folder, process)
        while not any(Run(file.parent).info["status"] == "running" for file in folder.rglob("run.json")):
            assert process.poll() is None
            time.sleep(0.01)

    return wait


def while_it_measures(folder: Path, process: Process) -> None:
    """Waits until the weights are there, which come before the evaluations."""
    deadline = time.monotonic() + 120
    while not list(folder.rglob("model.safetensors")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.001)


def ended(process: Process, number: signal.Signals) -> str:
    """What a command says that gets a signal and ends with its status."""
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)  # also until no child holds the pipe
    assert process.returncode == STATUS[number.name], errors
    assert "Traceback" not in errors
    assert "without an active exception" not in errors
    return errors


MOMENTS = [
    ("SIGTERM", after(0), None),
    ("SIGINT", after(0.2), None),
    ("SIGHUP", after(1), None),
    ("SIGINT", while_torch_loads, None),
    ("SIGTERM", at_epoch(1), "terminated"),
    ("SIGINT", at_epoch(5), "Ctrl-C"),
    ("SIGHUP", at_epoch(9), "terminal closed"),
    ("SIGTERM", while_it_measures, "terminated"),
]


def test_a_training_ends_at_any_moment_and_goes_on(vae: Command, data_dir: Path, tmp_path: Path) -> None:
    for name, moment, reason in MOMENTS:
        if not hasattr(signal, name):
            continue
        process = started("train", *TRAINING, data_dir=data_dir, cwd=tmp_path, stderr=subprocess.PIPE)
        moment(tmp_path, process)
        errors = ended(process, signal.Signals[name])
        last = errors.strip().splitlines()[-1] if errors.strip() else ""
        runs = [Run(file.parent) for file in tmp_path.rglob("run.json")]
        if reason is None:
            assert last == f"vae-train: {signals.REASONS[name]}"
            assert all(run.info["status"] != "running" for run in runs)
            continue
        (run,) = runs
        assert (run.info["status"], run.info["reason"]) == ("interrupted", reason)
        assert f"interrupted ({reason}); the same command continues" in errors
    done = vae("train", *TRAINING, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "continues after epoch" in done.stderr
    assert run.info["status"] == "done"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_workers_of_a_sweep_end_with_it_while_they_load(
    number: signal.Signals, data_dir: Path, tmp_path: Path
) -> None:
    words = [*TRAINING, "kl_weight=0,1", "hydra.launcher.strategy=parallel"]
    process = started("sweep", *words, data_dir=data_dir, cwd=tmp_path, stderr=subprocess.PIPE)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 120
    while children.is_file() and not children.read_text() and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.5)
    ended(process, number)


def test_who_ignores_a_signal_goes_on_doing_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """As nohup asks for."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signals.answer("SIGTERM")
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signals.answer("SIGTERM")
        assert signal.getsignal(signal.SIGTERM) is signals._end
    finally:
        signal.signal(signal.SIGTERM, before)


def test_all_that_is_at_work_is_told_of_the_end_and_one_failure_keeps_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    exits: list[int] = []
    monkeypatch.setattr(signals, "_ending", False)
    monkeypatch.setattr("os._exit", exits.append)

    def fails(reason: str) -> None:
        raise OSError(reason)

    calls: Sequence[Callable[[str], object]] = (told.append, fails, told.append)
    with signals.at_end(calls[0]), signals.at_end(calls[1]), signals.at_end(calls[2]):
        signals._end(signal.SIGTERM, None)
    assert told == ["terminated", "terminated"]
    assert exits == [143]
    assert signals._at_end == []
