"""vae-sweep on Ray, submitit and SLURM: the same runs, failures in words, and what is missing."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import QUICK, Command
from vaelab.runs.folder import Run

SETTINGS = [
    *(*QUICK, "evaluation=[test_metrics]", "trainer.precision=fp32", "trainer.device=cpu"),
    *("likelihood=gaussian", "kl_weight=1"),
]


def has_slurm() -> bool:
    """Whether a SLURM controller answers here."""
    return bool(
        shutil.which("sbatch")
        and subprocess.run(["sinfo", "--noheader"], capture_output=True, timeout=30).stdout.strip()
    )


@pytest.fixture(scope="module")
def alone(vae: Command, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run of vae-train that the launchers' good run must equal."""
    folder = tmp_path_factory.mktemp("alone")
    done = vae("train", *SETTINGS, "lr=1e-3", cwd=folder)
    assert done.returncode == 0, done.stderr
    (run,) = (Run(p.parent) for p in folder.rglob("run.json"))
    return run


@pytest.mark.parametrize(
    ("launcher", "package", "options"),
    [
        ("ray", "ray", ["+hydra.launcher.init.num_cpus=2"]),
        ("submitit_local", "submitit", ["hydra.launcher.n_jobs=2"]),
        ("submitit_slurm", "submitit", ["hydra.launcher.cpus_per_task=1"]),
        ("joblib", "hydra_plugins.hydra_joblib_launcher", ["hydra.launcher.n_jobs=2"]),
        ("basic", "hydra", []),
    ],
)
def test_other_launchers_do_ordinary_runs_and_tell_what_failed(
    launcher: str, package: str, options: list[str], vae: Command, alone: Run, tmp_path: Path
) -> None:
    pytest.importorskip(package)
    if launcher == "submitit_slurm" and not has_slurm():
        pytest.skip("no SLURM answers here")
    done = vae("sweep", *SETTINGS, "lr=1e-3,1e30", f"hydra/launcher={launcher}", *options, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    found = {run.config.lr: run for run in (Run(p.parent) for p in tmp_path.rglob("run.json"))}
    assert {lr: run.info["status"] for lr, run in found.items()} == {1e-3: "done", 1e30: "failed"}
    assert "1 of 2 runs failed" in done.stderr
    assert "the loss is not finite at step 2" in done.stderr
    assert "Traceback" not in done.stderr
    info = found[1e-3].info
    assert (info["command"][:2], info["sweep"]["strategy"]) == (["vae-sweep", SETTINGS[0]], launcher)
    if launcher != "basic":
        assert info["threads"] == max(1, (os.cpu_count() or 1) // 2) or info["threads"] == 1
    assert {p.name for p in tmp_path.iterdir()} == {"outputs"}
    assert found[1e-3].metrics == pytest.approx(alone.metrics, rel=1e-4)


def test_a_ray_cluster_without_the_gpus_asked_for_is_said_at_once(vae: Command, tmp_path: Path) -> None:
    pytest.importorskip("ray")
    asked = ["hydra/launcher=ray", "hydra.launcher.num_gpus=64"]
    done = vae("sweep", *SETTINGS, *asked, cwd=tmp_path)
    assert done.returncode == 2
    assert "hydra.launcher.num_gpus=64, but the ray cluster has" in done.stderr


def test_a_package_that_is_not_installed_is_named(
    vae: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "submitit.py").write_text("raise ImportError")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = vae("sweep", *SETTINGS, "hydra/launcher=submitit_local", cwd=tmp_path)
    assert done.returncode == 2
    assert "pip install 'vaelab[slurm]'" in done.stderr
    assert "Traceback" not in done.stderr
