"""hydra/sweeper=optuna through the real command: ranges, the best, failures, and a search that is killed."""

import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Command, command
from vaelab.run import Run

optuna = pytest.importorskip("optuna")

SEARCH = [
    *("hydra/sweeper=optuna", "hydra/launcher=basic", "model=fc_vae", "epochs=1", "evaluation=[]"),
    *("trainer.device=cpu", "snapshot_epochs=[]"),
]


def trials(folder: Path) -> list[tuple[dict[str, object], float | None, str]]:
    """What the storage holds of the only study: parameters, value and state of each trial."""
    storage = f"sqlite:///{folder / 'outputs' / 'optuna.sqlite3'}"
    (name,) = optuna.get_all_study_names(storage)
    study = optuna.load_study(study_name=name, storage=storage)
    return [(trial.params, trial.value, trial.state.name) for trial in study.trials]


def test_a_search_finds_what_its_runs_say(vae: Command, tmp_path: Path) -> None:
    asked = [*SEARCH, "latent_dim=2,4", "hydra.sweeper.metric=psnr", "hydra.sweeper.trials=4"]
    done = vae("sweep", *asked, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    found = trials(tmp_path)
    assert [state for *_, state in found] == ["COMPLETE"] * 4
    runs = {run.folder.name: run for run in (Run(p.parent) for p in tmp_path.rglob("run.json"))}
    for params, value, _ in found:
        weight = float(f"{params['kl_weight']:.4g}")
        assert 0.01 <= weight <= 100
        (run,) = (
            r
            for r in runs.values()
            if (r.config.kl_weight, str(r.config.latent_dim)) == (weight, params["latent_dim"])
        )
        assert value == run.history[-1]["psnr"]
        assert run.history[-1]["split"] == "val"
    best = max(value for _, value, _ in found if value is not None)
    last = done.stdout.splitlines()[-1]
    assert f"psnr {best:.6g}" in last
    assert Run(tmp_path / last.split()[-1]).history[-1]["psnr"] == best
    more = vae("sweep", *asked[:-1], "hydra.sweeper.trials=5", cwd=tmp_path)
    assert more.returncode == 0, more.stderr
    assert trials(tmp_path)[:4] == found
    assert len(trials(tmp_path)) == 5
    listed = vae("sweep", *asked[:-1], "hydra.sweeper.trials=9", "list=true", cwd=tmp_path)
    assert listed.stdout.startswith("5 of 9 trials")
    assert len(trials(tmp_path)) == 5


def test_a_killed_search_ends_as_an_undisturbed_one(vae: Command, data_dir: Path, tmp_path: Path) -> None:
    asked = [*SEARCH, "hydra.sweeper.trials=5", "hydra.sweeper.batch=2"]
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    calm.mkdir()
    killed.mkdir()
    assert vae("sweep", *asked, cwd=calm).returncode == 0
    process = subprocess.Popen(
        command("sweep", *asked, data_dir=data_dir),
        cwd=killed,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    ends = (line for line in process.stderr if ": done in" in line)
    for _ in range(3):  # in the middle of a batch
        assert next(ends, None), "ended before it could be disturbed"
    process.kill()
    process.communicate()
    assert len(trials(killed)) < 5
    continued = vae("sweep", *asked, cwd=killed)
    assert continued.returncode == 0, continued.stderr
    assert trials(killed) == trials(calm)


def test_a_failed_trial_does_not_stop_the_search(vae: Command, tmp_path: Path) -> None:
    asked = [
        *(*SEARCH, "kl_weight=1", "lr=choice(1e-3,1e30)", "loss.likelihood=gaussian"),
        *("hydra.sweeper.trials=4", "hydra.sweeper.seed=1"),
    ]
    done = vae("sweep", *asked, cwd=tmp_path)
    states = [state for *_, state in trials(tmp_path)]
    assert set(states) == {"COMPLETE", "FAIL"}, "the seed gives both"
    assert done.returncode == 1
    assert "the loss is not finite" in done.stderr
    assert "Traceback" not in done.stderr
    again = vae("sweep", *asked, cwd=tmp_path)
    assert again.returncode == 1
    assert "a search does not try a point again" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["hydra.sweeper.trials=0"], "hydra.sweeper.trials=0 is not a whole number at least 1"),
        (["hydra.sweeper.direction=up"], "hydra.sweeper.direction=up is not one of maximize, minimize"),
        (["kl_weight=1"], "there is nothing to search"),
        (["kl_weight=tag(log, interval(0, 1))"], "kl_weight=tag(log, interval(0, 1))"),
        (
            ["hydra.sweeper.metric=fid", "hydra.sweeper.trials=1"],
            "hydra.sweeper.metric=fid is not measured by",
        ),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], expected: str, vae: Command, tmp_path: Path) -> None:
    done = vae("sweep", *SEARCH, *arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
