"""Runs the real commands, each in an empty folder with one shared folder of prepared data."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

BIN = Path(sys.executable).parent

Command = Callable[..., subprocess.CompletedProcess[str]]

# Small and quick, yet everything is trained, measured and drawn.
QUICK = ["model=fc_vae", "epochs=2", "latent_dim=4"]


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="session")
def vae(data_dir: Path) -> Command:
    """vae("train", "kl_weight=5", cwd=folder): the finished process; vae.popen starts one."""

    def run(name: str, *args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(name, *args, data_dir=data_dir), cwd=cwd, capture_output=True, text=True
        )

    return run


def command(name: str, *args: str, data_dir: Path) -> list[str]:
    return [
        str(BIN / f"vae-{name}"),
        *args,
        *([] if any(a.startswith("data_dir=") for a in args) else [f"data_dir={data_dir}"]),
    ]


def environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k != "HYDRA_FULL_ERROR"}


@pytest.fixture(scope="session")
def finished(vae: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of one finished run of the conv VAE."""
    cwd = tmp_path_factory.mktemp("finished")
    done = vae("train", "epochs=2", "snapshot_epochs=[1]", "trainer.precision=fp32", cwd=cwd)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip().splitlines()[-1].removeprefix("run folder: "))
    return cwd / folder
