"""What others bring, each a plugin file of its own: swept, stopped, continued, measured again and reported."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from vaelab import open_run
from vaelab.runs.folder import Run

EXTENSIONS = Path(__file__).resolve().parent.parent / "extensions"
MEASURED = ["test_metrics", "reconstructions", "interpolations"]
# By module: what chooses it, what else is measured, and a number that it must have left.
BROUGHT: dict[str, tuple[list[str], list[str], str]] = {
    "tc_like": (["model=fc_vae", "regulariser=tc_like"], [], "my_tc"),
    "mmd_like": (["model=fc_vae", "regulariser=mmd_like"], [], "my_mmd"),
    "checkers": (["model=fc_vae", "dataset=checkers"], ["prior_samples"], "psnr"),
    "laplace_like": (["model=fc_vae", "likelihood=laplace_like"], [], "elbo"),
    "told": (["model=told"], ["prior_samples", "class_pairs"], "kl"),
    "two_layer": (["model=two_layer"], ["prior_samples", "kl_per_dimension", "traversals"], "kl"),
    "discrete": (
        ["model=discrete", "regulariser=of_bits"],
        ["prior_samples", "diversity"],
        "diversity_ms_ssim",
    ),
    "correlations": (["model=fc_vae"], ["correlations"], "correlation"),
}

# What the report has of it with no edit outside its file: a curve, a number at a run that is pointed at, a sentence.
SAID = {
    "tc_like": ['data-chart="curve-my_tc"', "total correlation of my own (nats per image) by epoch"],
    "mmd_like": ['data-chart="curve-my_mmd"', "my mmd by epoch"],
    "correlations": [
        "mean correlation",
        "of the pairs of units are correlated",
        'data-chart="view-correlations-0-0"',
        "Correlations of units: ",
    ],
}


PARTS = ("tc_like", "mmd_like", "checkers", "laplace_like")  # the others have a file of tests of their own


@pytest.mark.parametrize("module", PARTS)
def test_an_extension_goes_all_the_way(module: str, vae: Command, tmp_path: Path) -> None:
    goes_all_the_way(module, vae, tmp_path)


def goes_all_the_way(module: str, vae: Command, tmp_path: Path) -> None:
    """Swept, stopped, continued to the same bytes, measured again and reported."""
    chosen, measured, number = BROUGHT[module]
    shutil.copytree(EXTENSIONS, tmp_path, dirs_exist_ok=True)
    size = [] if module == "checkers" else ["dataset.size=8"]
    evaluation = f"evaluation=[{','.join([*MEASURED, *measured])}]"
    own = ["--config-dir", "conf", f"plugins=[{module}]"]
    # On a CPU runs go to processes, which import the module themselves; taken in turn, the others are done sooner.
    strategy = "parallel" if module == "discrete" else "interleaved"
    common = [
        *own,
        *chosen,
        *size,
        evaluation,
        "kl_weight=0.5,2",
        "trainer.max_seconds=1e-3,1000",
        "epochs=2",
    ]

    # Those of little time stop after the first epoch; continued, they end as those that never stopped.
    for statuses in ({1e-3: "interrupted", 1000: "done"}, {1e-3: "done", 1000: "done"}):
        swept = vae(
            "sweep", *common, f"hydra.launcher.strategy={strategy}", "trainer.device=cpu", cwd=tmp_path
        )
        assert swept.returncode == 0, swept.stderr
        runs = [Run(file.parent) for file in sorted(tmp_path.rglob("run.json"))]
        assert len(runs) == 4
        for run in runs:
            assert run.info["status"] == statuses[run.config.trainer.max_seconds]
    of_time = {
        seconds: {run.config.kl_weight: run for run in runs if run.config.trainer.max_seconds == seconds}
        for seconds in (1e-3, 1000)
    }
    for weight, run in of_time[1e-3].items():
        calm = of_time[1000][weight]
        bytes_of = [(one.folder / "model.safetensors").read_bytes() for one in (run, calm)]
        assert bytes_of[0] == bytes_of[1]
        assert run.metrics == calm.metrics
        assert number in run.metrics
        assert set(run.info["plugins"]) == {module} - {"correlations"}  # which the run itself is not made of
        assert {file.stem for file in (run.folder / "figures").glob("*.png")} == {*MEASURED, *measured}
    assert of_time[1000][0.5].metrics[number] != of_time[1000][2].metrics[number]

    # Measured again from its folder, to the same numbers.
    run = of_time[1000][2]
    before = run.metrics
    name = module if module in measured else "test_metrics"
    again = vae("evaluate", *own, f"run={run.folder}", f"evaluation=[{name}]", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert Run(run.folder).metrics == before

    # In a report, beside each other.
    reported = vae("report", "runs=outputs/**", cwd=tmp_path)
    assert reported.returncode == 0, reported.stderr
    assert not reported.stderr
    with (tmp_path / "outputs/report/table.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4
    for row in rows:
        told = of_time[1000][float(row["kl_weight"])].metrics[number]
        assert float(row[number]) == pytest.approx(told, rel=1e-4)
    page = (tmp_path / "outputs/report/index.html").read_text(encoding="utf-8")
    assert "λ = 0.5" in page
    for words in SAID.get(module, ()):
        assert words in page
    if module == "correlations":
        assert "mean correlation" in swept.stdout.splitlines()[0], "in the sweep's table"


def test_a_module_that_has_changed_is_refused(vae: Command, tmp_path: Path) -> None:
    shutil.copytree(EXTENSIONS, tmp_path, dirs_exist_ok=True)
    settings = [
        *("--config-dir", "conf", "plugins=[told]", "model=told", "dataset.size=8", "epochs=1"),
        "evaluation=[test_metrics]",
    ]
    assert vae("train", *settings, cwd=tmp_path).returncode == 0
    (run,) = (Run(file.parent) for file in tmp_path.rglob("run.json"))
    recorded = json.loads((run.folder / "run.json").read_text())["plugins"]
    with (tmp_path / "told.py").open("a") as file:
        file.write("# changed\n")
    changed = "told.py has changed since"
    for message, command, *given in (
        [changed, "train", *settings],
        [changed, "evaluate", f"run={run.folder}", "plugins=[told]"],
        ["give plugins=[told]", "evaluate", f"run={run.folder}"],
    ):
        refused = vae(command, *given, cwd=tmp_path)
        assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
        assert message in refused.stderr
    anew = vae("train", *settings, "rerun=true", cwd=tmp_path)
    assert anew.returncode == 0, anew.stderr
    assert Run(Path(f"{run.folder}-2")).info["plugins"] != recorded


def test_from_python_a_module_is_given_too(
    vae: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(EXTENSIONS, tmp_path, dirs_exist_ok=True)
    settings = ["--config-dir", "conf", "plugins=[discrete]", "model=discrete", "regulariser=of_bits"]
    done = vae("train", *settings, "dataset.size=8", "epochs=1", "evaluation=[test_metrics]", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = (file.parent for file in tmp_path.rglob("run.json"))
    assert open_run(folder).info["model"] == {
        "family": "VAE",
        "prior": "fair coins",
        "code": {"shape": [12], "units": 12, "bits": 12.0, "layers": None},
    }
    monkeypatch.chdir(tmp_path)
    run = open_run(folder, plugins=["discrete"])
    images = run.images("test")[:4]
    code = run.model().encode(images)
    assert code.bits == 12
    assert run.model().decode(code.mean).shape == images.shape
