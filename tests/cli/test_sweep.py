"""vae-sweep through the real command: runs like those of vae-train, states, failures, interruption, equality."""

import signal
import subprocess
from functools import partial
from pathlib import Path

import pytest
import torch

from tests.cli.conftest import QUICK, Command, calm_and_killed, started, wait_for_epoch
from vaelab.runs.folder import Run

FEW = [*QUICK, "evaluation=[test_metrics,kl_per_dimension]"]
STRATEGIES = ["interleaved", "parallel"]


def runs(folder: Path) -> dict[str, Run]:
    """The run folders below a folder, by name."""
    return {p.parent.name: Run(p.parent) for p in sorted(folder.rglob("run.json"))}


def by_weight(folder: Path) -> dict[float, Run]:
    return {run.config.kl_weight: run for run in runs(folder).values()}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_default_sweep_leaves_five_ordinary_runs(strategy: str, vae: Command, tmp_path: Path) -> None:
    done = vae("sweep", *FEW, f"hydra.launcher.strategy={strategy}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = by_weight(tmp_path)
    assert set(found) == {0, 0.1, 1, 5, 100}
    assert {p.name for p in tmp_path.iterdir()} == {"outputs"}, "nothing beside the run folders"
    for weight, run in found.items():
        assert run.folder.parts[-3:-1] == ("digits", "fc_vae")
        assert f"kl_weight={weight:g}" in run.folder.name
        assert (run.info["status"], run.info["command"][0]) == ("done", "vae-sweep")
        assert run.info["sweep"]["strategy"] == strategy
        assert run.info["sweep"]["because"]
        assert run.metrics["loss"] == pytest.approx(
            run.metrics["reconstruction"] + weight * run.metrics["kl"], rel=1e-5
        )
    lines = [line for line in done.stdout.splitlines() if "kl_weight=" in line]
    assert len(lines) == 5
    for line in lines:
        run = Run(tmp_path / line.split()[-1])
        assert line.split()[0] == f"{run.config.kl_weight:g}"
        assert f"{-run.metrics['elbo']:.2f}" in line
        assert f"{run.metrics['psnr']:.2f}" in line
        assert f"{run.metrics['active_units']:.0f}" in line.split()
    assert "vae-report" in done.stdout


def test_a_sweeps_run_is_that_of_vae_train(vae: Command, tmp_path: Path) -> None:
    """The same folder, the same configuration: one command goes on where the other stopped."""
    assert vae("sweep", *FEW, "kl_weight=5", cwd=tmp_path).returncode == 0
    again = vae("train", *FEW, "kl_weight=5", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "already done" in again.stdout
    assert vae("train", *FEW, "kl_weight=7", cwd=tmp_path).returncode == 0
    swept = vae("sweep", *FEW, "kl_weight=5,7", cwd=tmp_path)
    assert swept.stderr.count("already done") == 2
    evaluated = vae("evaluate", f"run={by_weight(tmp_path)[5].folder}", cwd=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr


def test_a_model_without_a_kl_term_is_trained_once(vae: Command, tmp_path: Path) -> None:
    done = vae("sweep", "model=conv_ae,fc_vae", "list=true", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if "conv_ae" in line]) == 1
    assert len([line for line in done.stdout.splitlines() if "fc_vae" in line]) == 5
    assert list(tmp_path.iterdir()) == []


def test_the_list_says_how_far_each_run_is(vae: Command, tmp_path: Path) -> None:
    settings = [*FEW, "epochs=4"]
    assert vae("train", *settings, "kl_weight=1", cwd=tmp_path).returncode == 0
    assert vae("train", *settings, "kl_weight=2", cwd=tmp_path).returncode == 0
    by_weight(tmp_path)[2].update(status="running")  # as after a kill
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    listed = vae("sweep", *settings, "kl_weight=1,2,3", "list=true", cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    states = [line.rpartition("outputs")[0].strip() for line in listed.stdout.splitlines()[1:]]
    assert states == ["done", "to continue", "new"]
    assert "epoch 4 of 4" in listed.stdout
    assert before == {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_failure_is_said_at_once_and_listed_and_does_not_stop_the_others(
    strategy: str, vae: Command, tmp_path: Path
) -> None:
    settings = [*FEW, "likelihood=gaussian", "lr=1e30,1e-3", "kl_weight=1"]
    done = vae("sweep", *settings, f"hydra.launcher.strategy={strategy}", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "1 of 2 runs failed" in done.stderr
    assert done.stderr.count("the loss is not finite at step 2") == 2, "when it happened, and in the list"
    states = {run.config.lr: run.info["status"] for run in runs(tmp_path).values()}
    assert states == {1e30: "failed", 1e-3: "done"}
    again = vae("sweep", *settings, "list=true", cwd=tmp_path)
    assert "failed: the loss is not finite" in again.stdout


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["kl_weight=0,x"], "kl_weight=x is not a number at least 0"),
        (["kl_wieght=0,1"], "did you mean kl_weight?"),
        (["model=conv_vae,conv_vea"], "did you mean conv_vae?"),
        (["hydra.launcher.strategy=paralel"], "did you mean parallel?"),
        (["hydra/launcher=nowhere"], "hydra/launcher=nowhere does not exist"),
        (["batch_size=128,100000"], "batch_size=100000 is larger than"),
        (["loss=reconstruction"], "leaves the posterior of a VAE without a meaning"),
        (["trainer.max_members=2"], "trainer.max_members is now hydra.launcher.at_once"),
        (
            ["hydra.launcher.at_once=0"],
            "hydra.launcher.at_once=0 is not one of auto or a whole number at least 1",
        ),
    ],
)
def test_a_mistake_in_any_run_is_refused_before_all(
    arguments: list[str], expected: str, vae: Command, tmp_path: Path
) -> None:
    done = vae("sweep", *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert runs(tmp_path) == {}


@pytest.mark.parametrize("strategy", ["interleaved", "parallel"])
def test_a_killed_sweep_ends_with_the_same_weights(
    strategy: str, vae: Command, data_dir: Path, tmp_path: Path
) -> None:
    """SIGKILL twice, then the same command: bit for bit what an undisturbed sweep gives."""
    settings = [
        *("model=conv_vae", "model.channels=8", "epochs=4", "kl_weight=0,5", "seed=0,1"),
        *("evaluation=[test_metrics]", f"hydra.launcher.strategy={strategy}", "hydra.launcher.at_once=2"),
    ]
    moments = [partial(wait_for_epoch, epoch) for epoch in (1, 3)]
    calm, killed = calm_and_killed("sweep", settings, moments, data_dir, tmp_path)
    continued = vae("sweep", *settings, cwd=killed)
    assert continued.returncode == 0, continued.stderr
    assert "continues after epoch" in continued.stderr
    expected, found = runs(calm), runs(killed)
    assert len(expected) == 4
    assert expected.keys() == found.keys()
    for name, run in expected.items():
        assert found[name].metrics == run.metrics
        weights = "model.safetensors"
        assert (found[name].folder / weights).read_bytes() == (run.folder / weights).read_bytes(), name
        ours, theirs = found[name].load_checkpoint(), run.load_checkpoint()
        assert ours
        assert theirs
        assert ours.facts == theirs.facts
        for tensor, value in theirs.tensors.items():
            assert torch.equal(ours.tensors[tensor], value), (name, tensor)


@pytest.mark.parametrize(
    ("strategy", "number", "status"),
    [
        ("interleaved", signal.SIGINT, 130),
        ("parallel", signal.SIGINT, 130),
        ("parallel", signal.SIGTERM, 143),
    ],
)
def test_an_interrupted_sweep_says_so_and_leaves_no_process(
    strategy: str, number: int, status: int, data_dir: Path, tmp_path: Path
) -> None:
    settings = [
        *("model=fc_vae", "epochs=100000", "evaluation=[]", "kl_weight=0,1"),
        *(f"hydra.launcher.strategy={strategy}", "hydra.launcher.at_once=2"),
    ]
    process = started("sweep", *settings, data_dir=data_dir, cwd=tmp_path, stderr=subprocess.PIPE)
    wait_for_epoch(1, tmp_path, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)  # also until no worker holds the pipe
    assert process.returncode == status
    assert "Traceback" not in errors
    assert "leaked" not in errors
    assert "the same command continues" in errors
    assert {run.info["status"] for run in runs(tmp_path).values()} == {"interrupted"}


def test_a_worker_that_dies_loses_only_its_run(data_dir: Path, tmp_path: Path) -> None:
    settings = [
        *("model=fc_vae", "epochs=25", "evaluation=[]", "snapshot_epochs=[]", "kl_weight=0,1,2"),
        "hydra.launcher.strategy=parallel",
    ]
    process = started("sweep", *settings, data_dir=data_dir, cwd=tmp_path, stderr=subprocess.PIPE)
    wait_for_epoch(1, tmp_path, process)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.is_file():
        process.kill()
        pytest.skip("this system does not list the children of a process")
    workers = [
        pid
        for pid in children.read_text().split()
        if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
    ]
    subprocess.run(["kill", "-9", workers[0]], check=True)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 1
    assert "its process died (exit status -9)" in errors
    assert "Traceback" not in errors
    states = sorted(run.info["status"] for run in runs(tmp_path).values())
    assert states == ["done", "done", "failed"]


def test_a_sweep_waits_at_its_end_for_what_another_process_holds(data_dir: Path, tmp_path: Path) -> None:
    words = [
        "model=fc_vae",
        "epochs=1",
        "evaluation=[]",
        "snapshot_epochs=[]",
        "hydra.launcher.strategy=serial",
    ]
    held = Run(tmp_path / "outputs/digits/fc_vae" / ",".join(sorted([*words[1:4], "kl_weight=0"])))
    with held.locked():
        process = started(
            "sweep", *words, "kl_weight=0,1", data_dir=data_dir, cwd=tmp_path, stderr=subprocess.PIPE
        )
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if "waiting for 1 runs that another process is at" in line:
                break
        assert {run.config.kl_weight for run in runs(tmp_path).values()} == {1.0}, "".join(said)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert {weight: run.info["status"] for weight, run in by_weight(tmp_path).items()} == {
        0: "done",
        1: "done",
    }


def test_two_sweeps_at_once_do_each_run_once(data_dir: Path, tmp_path: Path) -> None:
    words = [*FEW, "kl_weight=0,1,5", "hydra.launcher.strategy=serial"]
    said = [
        tmp_path / name for name in ("one.txt", "other.txt")
    ]  # a pipe would be full while nobody reads it
    both = []
    for file in said:
        with file.open("w") as stderr:
            both.append(started("sweep", *words, data_dir=data_dir, cwd=tmp_path, stderr=stderr.fileno()))
    for process, file in zip(both, said, strict=True):
        assert process.wait(timeout=240) == 0, file.read_text()
        assert "failed" not in file.read_text()
    assert set(by_weight(tmp_path)) == {0, 1, 5}
    for run in runs(tmp_path).values():
        assert run.info["status"] == "done"
        assert [row["epoch"] for row in run.history if row["split"] == "train"] == [1, 2]
    assert len(runs(tmp_path)) == 3
