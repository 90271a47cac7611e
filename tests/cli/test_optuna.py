"""hydra/sweeper=optuna through the real command: ranges, the best, failures, and a search that is killed."""

import math
import re
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from hydra_plugins.vaelab_optuna.sweeper import OptunaSweeper, distribution, rounded, written
from tests.cli.conftest import Command, Process, calm_and_killed, started
from vaelab.runs.folder import Run

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


def wait_for_runs(count: int, folder: Path, process: Process) -> None:
    """Waits until a search has said of so many runs that they are done."""
    assert process.stderr is not None
    ends = (line for line in process.stderr if ": done in" in line)
    for _ in range(count):
        assert next(ends, None), "ended before it could be disturbed"


def test_a_search_finds_what_its_runs_say(vae: Command, tmp_path: Path) -> None:
    asked = [*SEARCH, "latent_dim=2,4", "hydra.sweeper.metric=psnr", "hydra.sweeper.trials=4"]
    done = vae("sweep", *asked, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
    found = trials(tmp_path)
    assert [state for *_, state in found] == ["COMPLETE"] * 4
    runs = {run.folder.name: run for run in (Run(p.parent) for p in tmp_path.rglob("run.json"))}
    for params, value, _ in found:
        weight = params["kl_weight"]
        assert isinstance(weight, float)
        assert 0.01 <= weight <= 100
        assert weight == float(f"{weight:.4g}"), "what was run is what optuna was told"
        (run,) = (
            r
            for r in runs.values()
            if (r.config.kl_weight, r.config.latent_dim) == (weight, params["latent_dim"])
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
    moments = [partial(wait_for_runs, 3)]  # in the middle of a batch
    calm, killed = calm_and_killed("sweep", asked, moments, data_dir, tmp_path, subprocess.PIPE)
    assert len(trials(killed)) < 5
    continued = vae("sweep", *asked, cwd=killed)
    assert continued.returncode == 0, continued.stderr
    assert trials(killed) == trials(calm)


def test_a_failed_trial_does_not_stop_the_search(vae: Command, tmp_path: Path) -> None:
    asked = [
        *(*SEARCH, "kl_weight=1", "lr=choice(1e-3,1e30)", "likelihood=gaussian"),
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
        (["kl_weight=range(1, 1)"], "kl_weight=range(1, 1) holds no value"),
        (["kl_weight=shuffle(1, 2)"], "leave shuffle out"),
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


def test_the_trials_can_be_listed_while_a_search_runs(vae: Command, data_dir: Path, tmp_path: Path) -> None:
    asked = [*SEARCH, "hydra.sweeper.trials=200", "output_dir=a?b{c}"]  # a path that no URL may hold as it is
    process = started("sweep", *asked, data_dir=data_dir, cwd=tmp_path, stderr=subprocess.PIPE)
    wait_for_runs(1, tmp_path, process)
    listed = vae("sweep", *asked, "list=true", cwd=tmp_path)
    running = process.poll() is None
    process.kill()
    process.communicate()
    assert running, "ended before it was listed"
    assert listed.returncode == 0, listed.stderr
    assert re.match(r"[1-9]\d* of 200 trials\n", listed.stdout)
    assert (tmp_path / "a?b{c}" / "optuna.sqlite3").is_file()
    assert not (tmp_path / "a").exists()


def test_a_named_study_is_not_mixed_with_another_search(vae: Command, tmp_path: Path) -> None:
    asked = [*SEARCH, "hydra.sweeper.study=mine", "hydra.sweeper.trials=1"]
    assert vae("sweep", *asked, cwd=tmp_path).returncode == 0
    for other in ("hydra.sweeper.direction=minimize", "kl_weight=1,2"):
        done = vae("sweep", *asked, other, cwd=tmp_path)
        assert done.returncode == 2
        assert "hydra.sweeper.study=mine" in done.stderr
    assert len(trials(tmp_path)) == 1


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("8,16,32", [8, 16, 32]),
        ("a,true,null,1e-3,[1]", ["a", True, None, 0.001, "[1]"]),
        ("range(1,10,3)", [1, 4, 7]),
        ("range(0,1,0.25)", [0.0, 0.25, 0.5, 0.75]),
        ("range(0,1,0.1)", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
        ("int(interval(1, 3))", [1, 2, 3]),
        ("tag(log, range(1, 4))", [1, 2, 3]),
    ],
)
def test_a_range_gives_each_of_its_values(asked: str, expected: list[object]) -> None:
    (override,) = OverridesParser.create().parse_overrides([f"key={asked}"])
    among = distribution(override)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    found = [rounded(study.ask({"key": among}).params["key"], among) for _ in range(100)]
    assert {(type(value), value) for value in found} == {(type(value), value) for value in expected}
    for value in found:
        (again,) = OverridesParser.create().parse_overrides([f"key={written(value)}"])
        assert again.value() == ([1] if value == "[1]" else value)


def test_a_rounded_number_stays_in_its_range() -> None:
    among = optuna.distributions.FloatDistribution(0.99991, 0.99999)
    assert rounded(0.999961234, among) == 0.999961234
    assert rounded(0.123456, optuna.distributions.FloatDistribution(0.01, 100)) == 0.1235


class Killed(BaseException):
    """Stands for SIGKILL between two writes."""


def searched(file: Path, writes: float = math.inf) -> list[tuple[dict[str, object], float | None]]:
    """The trials of a search over a known function, which is killed before a write beyond this number."""
    space = {key: optuna.distributions.FloatDistribution(0.01, 100, log=True) for key in ("a", "b")}
    study = optuna.create_study(storage=f"sqlite:///{file}", study_name="s", load_if_exists=True)
    sweeper = OptunaSweeper({}, "elbo", "minimize", 18, 4, 0, str(file), None, None)
    done = 0

    def counted(write: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            nonlocal done
            if done >= writes:
                raise Killed
            done += 1
            return write(*args, **kwargs)

        return call

    def perform(study: Any, waiting: Any, fixed: Any) -> None:
        for trial in waiting:
            a, b = trial.params["a"], trial.params["b"]
            study.tell(trial.number, math.log(a / 3) ** 2 + math.log(b) ** 2)

    storage = study._storage
    storage.create_new_trial = counted(storage.create_new_trial)
    storage.set_trial_param = counted(storage.set_trial_param)
    storage.set_trial_state_values = counted(storage.set_trial_state_values)
    sweeper._perform = perform  # type: ignore[method-assign]
    sweeper._search(study, space, [])
    return [(trial.params, trial.value) for trial in study.trials]


def test_the_sampler_asks_for_the_same_after_every_kill(tmp_path: Path) -> None:
    calm = searched(tmp_path / "calm")
    assert len(calm) == 18, "more than the 10 that TPE draws blindly"
    for writes in (0, 1, 26, 29, 35):  # before, in and after a batch, also where TPE knows enough to model
        file = tmp_path / f"{writes}"
        with pytest.raises(Killed):
            searched(file, writes)
        assert searched(file) == calm
