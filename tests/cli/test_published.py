"""The commands on a published data set: fetched from this machine, trained on, and then without a network."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import command
from tests.data.published_samples import addresses, images_of, served, write
from vaelab import open_run

QUICK = [
    "dataset=mnist",
    "model=fc_vae",
    "latent_dim=2",
    "epochs=1",
    "batch_size=16",
    "evaluation=[test_metrics]",
]
# Python imports a module of this name at its start, from PYTHONPATH.
SITECUSTOMIZE = """
import json, os
from torchvision import datasets
for kind, name, value in json.loads(os.environ["PUBLISHED"]):
    setattr(getattr(datasets, kind), name, value)
"""


def run(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command whose data lie in cwd/data."""
    return subprocess.run(
        command(*words, data_dir=cwd / "data"),
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def published(tmp_path: Path) -> dict[str, str]:
    """The environment of a command for which MNIST is what a folder of this machine holds."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(SITECUSTOMIZE)
    write("mnist", tmp_path / "served")
    return {"PYTHONPATH": str(tmp_path / "site"), "no_proxy": "*"}


@pytest.mark.timeout(600)  # three starts of torch and torchvision, where many tests run side by side
def test_train_fetches_once_and_is_offline_ever_after(tmp_path: Path, published: dict[str, str]) -> None:
    with served(tmp_path / "served") as site:
        published["PUBLISHED"] = json.dumps(addresses("mnist", tmp_path / "served", site))
        first = run("train", *QUICK, cwd=tmp_path, **published)
    assert first.returncode == 0, first.stderr
    assert "train-images-idx3-ubyte" in str(sorted((tmp_path / "data" / "MNIST" / "raw").iterdir()))
    shutil.rmtree(tmp_path / "data" / "MNIST")
    second = run("train", *QUICK, "seed=1", cwd=tmp_path, **published)
    assert second.returncode == 0, second.stderr
    folders = [
        tmp_path / done.stdout.strip().splitlines()[-1].removeprefix("run folder: ")
        for done in (first, second)
    ]
    runs = [open_run(folder, tmp_path / "data") for folder in folders]
    assert runs[0].info["dataset"]["fingerprint"] == runs[1].info["dataset"]["fingerprint"]
    tested = images_of("mnist")[-40:]
    np.testing.assert_array_equal((runs[1].images("test") * 255).round().numpy()[:, 0], tested[..., 0])

    shutil.rmtree(tmp_path / "data")
    third = run("data", "prepare", "dataset=mnist", cwd=tmp_path, **published)
    assert third.returncode == 2
    line = third.stderr.strip().splitlines()[-1]
    assert line.startswith("vae-data: dataset=mnist is not in")
    assert "Connection refused" in line
    assert "train-images-idx3-ubyte.gz" in line
    assert "Traceback" not in third.stderr


def test_list_shows_all_data_sets(tmp_path: Path) -> None:
    (tmp_path / "data" / "prepared" / "stl10-0123456789abcdef").mkdir(parents=True)
    (tmp_path / "data" / "prepared" / "stl10-0123456789abcdef" / "meta.json").write_text("{}")
    (tmp_path / "data" / "svhn").mkdir()
    for split in ("train", "test"):
        (tmp_path / "data" / "svhn" / f"{split}_32x32.mat").touch()
    (tmp_path / "data" / "anime.zip").touch()
    done = run("data", "list", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if not line.startswith(" ")}
    configurations = Path(__file__).resolve().parents[2] / "conf" / "dataset"
    assert {file.stem for file in configurations.glob("*.yaml")} == lines.keys() - {"dataset="}
    states = {name: line.split()[1] for name, line in lines.items()}
    expected = {"stl10": "prepared", "svhn": "files", "anime": "files", "mnist": "no", "npz": "yours"}
    assert expected.items() <= states.items()
    assert "licence: MIT" in done.stdout
    assert "raw" in done.stdout
    assert sorted(file.name for file in (tmp_path / "data").iterdir()) == ["anime.zip", "prepared", "svhn"]
