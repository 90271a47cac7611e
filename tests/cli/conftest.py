"""Runs the real commands, each in an empty folder with one shared folder of prepared data."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.forks import commands
from vaelab.runs.folder import Run

if TYPE_CHECKING:
    from playwright.sync_api import Browser

BIN = Path(sys.executable).parent

Command = Callable[..., subprocess.CompletedProcess[str]]
Process = subprocess.Popen[str]

# Small and quick, yet everything is trained, measured and drawn.
QUICK = ["model=fc_vae", "epochs=2", "latent_dim=4"]


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
RULES = ["wcag2a", "wcag2aa", "best-practice"]
AXE = {"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"]}


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright  # a machine lent for its GPU has none

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def vae(data_dir: Path) -> Iterator[Command]:
    """vae("train", "kl_weight=5", cwd=folder): the finished process."""
    with commands() as run:
        yield lambda name, *args, cwd: run(command(name, *args, data_dir=data_dir), cwd)


def command(name: str, *args: str, data_dir: Path) -> list[str]:
    complete = name in ("report", "export") or any(a.startswith("data_dir=") for a in args)
    return [str(BIN / f"vae-{name}"), *args, *([] if complete else [f"data_dir={data_dir}"])]


def started(name: str, *args: str, data_dir: Path, cwd: Path, stderr: int = subprocess.DEVNULL) -> Process:
    """A command that runs beside the test."""
    return subprocess.Popen(
        command(name, *args, data_dir=data_dir), cwd=cwd, stdout=subprocess.DEVNULL, stderr=stderr, text=True,
        preexec_fn=_heed_signals,
    )  # fmt: skip


def _heed_signals() -> None:
    # A shell's background jobs ignore Ctrl-C, and what nohup starts the end of the terminal: these tests may be either.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def calm_and_killed(
    name: str,
    settings: Sequence[str],
    moments: Sequence[Callable[[Path, Process], None]],
    data_dir: Path,
    folder: Path,
    stderr: int = subprocess.DEVNULL,
) -> tuple[Path, Path]:
    """The folders of a command that came to its end and of one that SIGKILL ended at each of the moments.

    A moment is a function of the folder and the process that returns when it has come.
    """
    calm, killed = folder / "calm", folder / "killed"
    calm.mkdir()
    killed.mkdir()
    undisturbed = started(name, *settings, data_dir=data_dir, cwd=calm, stderr=subprocess.PIPE)
    _, errors = undisturbed.communicate()
    assert undisturbed.returncode == 0, errors
    for wait in moments:
        process = started(name, *settings, data_dir=data_dir, cwd=killed, stderr=stderr)
        wait(killed, process)
        process.kill()
        process.communicate()
    return calm, killed


def wait_for_epoch(epoch: int, folder: Path, process: Process) -> None:
    """Waits until some run below the folder has a checkpoint of this epoch or a later one."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, "ended before it could be disturbed"
        for found in folder.rglob("last.safetensors"):
            checkpoint = Run(found.parents[1]).load_checkpoint()
            if checkpoint and checkpoint[1]["epoch"] >= epoch:
                return
        time.sleep(0.02)
    raise AssertionError("no checkpoint in time")


@pytest.fixture(scope="session")
def finished(vae: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of one finished run of the conv VAE."""
    cwd = tmp_path_factory.mktemp("finished")
    done = vae("train", "epochs=2", "snapshot_epochs=[1]", "trainer.precision=fp32", cwd=cwd)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip().splitlines()[-1].removeprefix("run folder: "))
    return cwd / folder
