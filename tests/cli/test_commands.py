"""Help, completion, vae-data, and the wheel: what a newcomer tries first."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.cli.conftest import Command
from tests.conftest import ROOT


@pytest.mark.parametrize("name", ["train", "sweep", "evaluate", "report", "explore", "data", "export"])
def test_help_shows_groups_keys_and_three_examples(name: str, vae: Command, tmp_path: Path) -> None:
    done = vae(name, "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"vae-{name}" in done.stdout
    assert ("== Groups" in done.stdout) == (name not in ("report", "explore", "export"))
    assert "== Keys" in done.stdout
    assert "== Keys" in done.stdout
    examples = done.stdout.split("Examples:")[1].split("\n\n")[0]
    assert examples.count(f"vae-{name}") == 3
    assert not any(tmp_path.iterdir())


def test_the_whole_configuration_can_be_shown(vae: Command, tmp_path: Path) -> None:
    done = vae("train", "--cfg", "job", "--resolve", "kl_weight=5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("kl_weight: 5") == 2


def test_shell_completion(tmp_path: Path, vae: Command, data_dir: Path) -> None:
    done = vae("train", "--shell-completion", "install=bash", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "vae-train" in done.stdout
    environment = os.environ | {"COMP_LINE": "vae-train dataset=tib", "COMP_POINT": "21"}
    script = Path(sys.executable).parent / "vae-train"
    query = subprocess.run(
        [script, "-sc", "query=bash"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert "dataset=tibetan_mnist" in query.stdout, query.stderr


def test_show_describes_the_data_and_draws_a_contact_sheet(vae: Command, tmp_path: Path) -> None:
    done = vae("data", "show", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "digits: 1797 images of 32×32×1" in done.stdout
    assert "splits: train 1406, val 186, test 205" in done.stdout
    assert "0 178, 1 182" in done.stdout  # scikit-learn's own counts of the digits
    with Image.open(tmp_path / "outputs" / "digits" / "contact_sheet.png") as sheet:
        assert min(sheet.size) > 300


def test_prepared_data_are_found_without_their_source(
    vae: Command, shared_data: Path, tmp_path: Path
) -> None:
    zipped = shared_data / "anime" / "anime_tagged_6k.zip"
    data = f"data_dir={tmp_path / 'data'}"
    prepared = vae("data", "prepare", "dataset=anime", f"source={zipped}", data, cwd=tmp_path)
    assert prepared.returncode == 0, prepared.stderr
    assert "6000 images of 64×64×3" in prepared.stdout
    settings = ["dataset=anime", "model=fc_vae", "model.hidden=[16]", "epochs=1", "evaluation=[]", data]
    trained = vae("train", *settings, cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    info = json.loads(next(tmp_path.rglob("run.json")).read_text())
    assert info["dataset"]["shape"] == [3, 64, 64]
    assert sum(info["dataset"]["sizes"].values()) == 6000


@pytest.mark.parametrize(
    ("dataset", "source"),
    [
        ("tibetan_mnist", "tibetan_mnist/TibetanMNIST.npz"),
        ("eyes", "eyes"),
        ("npz", "binarized_mnist/binarized_mnist.npz"),
        ("image_folder", "faces/genki4k_crops64.zip"),
    ],
)
def test_every_real_data_set_goes_all_the_way(
    dataset: str, source: str, vae: Command, shared_data: Path, tmp_path: Path
) -> None:
    path = shared_data / source
    settings = [
        "model=fc_vae",
        "model.hidden=[32]",
        "epochs=1",
        "batch_size=512",
        "evaluation=[reconstructions,test_metrics]",
    ]
    done = vae("train", f"dataset={dataset}", f"dataset.path={path}", *settings, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (run,) = tmp_path.rglob("run.json")
    assert json.loads(run.read_text())["status"] == "done"
    assert 5 < json.loads((run.parent / "evaluation" / "metrics.json").read_text())["psnr"] < 40


def test_the_wheel_gives_the_commands_in_an_empty_folder(tmp_path: Path) -> None:
    built, installed, empty = tmp_path / "built", tmp_path / "installed", tmp_path / "empty"
    empty.mkdir()
    python = sys.executable
    build = [python, "-m", "build", "--wheel", "--no-isolation", "--outdir", built, ROOT]
    assert subprocess.run(build, capture_output=True).returncode == 0
    (wheel,) = built.glob("*.whl")
    install = [python, "-m", "pip", "install", "--no-deps", "--no-index", "--target", installed, wheel]
    assert subprocess.run(install, capture_output=True).returncode == 0
    environment = os.environ | {"PYTHONPATH": str(installed)}
    where = subprocess.run(
        [python, "-c", "import vaelab, vaelab.config; print(vaelab.__file__, vaelab.config.CONF)"],
        cwd=empty, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert where.stdout.split() == [
        str(installed / "vaelab" / "__init__.py"),
        str(installed / "vaelab" / "conf"),
    ]
    shipped = {
        p.relative_to(installed / "vaelab" / "conf") for p in (installed / "vaelab" / "conf").rglob("*.yaml")
    }
    assert shipped == {p.relative_to(ROOT / "conf") for p in (ROOT / "conf").rglob("*.yaml")}
    listed = subprocess.run(
        [installed / "bin" / "vae-sweep", "list=true"],
        cwd=empty, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert listed.stdout.count("  new  ") == 5, listed.stderr
    assert (installed / "hydra_plugins" / "vaelab_sweep" / "sweeper.py").is_file()
    done = subprocess.run(
        [installed / "bin" / "vae-train", "model=fc_vae", "epochs=1", "evaluation=[test_metrics]"],
        cwd=empty, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (
        empty / "outputs" / "digits" / "fc_vae" / "epochs=1,evaluation=[test_metrics]" / "run.json"
    ).is_file()
    reported = subprocess.run(
        [installed / "bin" / "vae-report"], cwd=empty, env=environment, capture_output=True, text=True
    )
    assert reported.returncode == 0, reported.stderr
    assert (empty / "outputs" / "report" / "index.html").stat().st_size > 4_000_000
