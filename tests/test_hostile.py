"""A run folder of a stranger builds only models, fetches nothing, writes nothing, and asks for no memory."""

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from vaelab import UsageError, cli, open_run

RUN = next((Path(__file__).parent / "older" / "outputs" / "digits" / "fc_vae").glob("epochs=2,*"))
SECRET = "a secret of the environment"
Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def stranger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Change], Path]:
    """A function that makes a stranger's run folder, its configuration changed by what it is given."""
    monkeypatch.setenv("TOKEN", SECRET)
    monkeypatch.delenv("HYDRA_FULL_ERROR", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".bashrc").write_text("mine")

    def made(change: Change) -> Path:
        shutil.copytree(RUN, tmp_path / "run", dirs_exist_ok=True)
        config = yaml.safe_load((RUN / "config.yaml").read_text())
        change(config)
        (tmp_path / "run" / "config.yaml").write_text(yaml.safe_dump(config))
        return tmp_path / "run"

    return made


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def evaluated(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """The exit status of vae-evaluate on a folder, and what it said."""
    monkeypatch.setattr(sys, "argv", ["vae-evaluate", f"run={folder}"])
    with pytest.raises(SystemExit) as ended:
        cli.evaluate()
    said = capsys.readouterr().err.strip()
    assert SECRET not in said
    return int(str(ended.value.code or 0)), said.splitlines()[-1] if said else ""


def dataset(**changes: Any) -> Change:
    return lambda config: config["dataset"].update({"path": None, "name": "tibetan_mnist"} | changes)


FETCHING = {
    "data": dataset(url="data:text/plain,evil", blob_id="0" * 40, data_dir="home", files=[".bashrc"]),
    "file": dataset(url="file:///etc/hostname", blob_id="0" * 40, data_dir="home", files=[]),
    "http": dataset(url="http://127.0.0.1:9/.bashrc", blob_id="0" * 40, data_dir="home", files=["*"]),
    "environment": dataset(url="http://127.0.0.1:9/${oc.env:TOKEN}", data_dir="home"),
    "another key": dataset(hint="${oc.env:TOKEN}"),
    "a folder of the user's": dataset(path="home", data_dir="home"),
    "the published file": dataset(data_dir="home", files=["TibetanMNIST.npz"]),
}


@pytest.mark.parametrize("change", FETCHING.values(), ids=FETCHING)
def test_nothing_is_fetched_or_written(
    stranger: Callable[[Change], Path], change: Change, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a run folder asked for something of the network")

    monkeypatch.setattr("vaelab.data.download.urlopen", refuse)
    folder = stranger(change)
    before = everything(folder.parent)
    with pytest.raises(UsageError) as refused:
        open_run(folder).images("test")
    assert SECRET not in str(refused.value)
    assert "\n" not in str(refused.value)
    assert everything(folder.parent) == before


BUILDING = {
    "a command": (lambda c: c["model"].update(_target_="vaelab.cli.train"), "_target_=vaelab.cli.train is refused"),
    "a module": (lambda c: c["loss"].update(_target_="os.system"), "loss._target_=os.system is refused"),
    "a loss for a model": (lambda c: c["model"].update(_target_="vaelab.losses.ELBO"), "is refused"),
    "a loader": (lambda c: c["evaluation"].update(x={"_target_": "vaelab.data.load"}), "is refused"),
    "inside": (
        lambda c: c["loss"].update(likelihood="gaussian", sigma={"_target_": "os.system"}), "likelihood.sigma"
    ),
    "a name that climbs": (
        lambda c: c["evaluation"].update({"../../home/x": dict(c["evaluation"]["test_metrics"])}),
        "evaluation.../../home/x is not a name",
    ),
    "an absolute name": (
        lambda c: c["evaluation"].update({"/home/x": dict(c["evaluation"]["test_metrics"])}),
        "evaluation./home/x is not a name",
    ),
    "any size": (lambda c: c["model"].update(hidden=[65536, 65536]), "model.safetensors holds the weights of another"),
    "any layers": (lambda c: c["model"].update(hidden=[4] * 3000), "model.safetensors holds the weights of another"),
    "any pictures": (lambda c: c["evaluation"]["reconstructions"].update(count=10**12), "count"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), BUILDING.values(), ids=BUILDING)
def test_nothing_but_models_is_built(
    stranger: Callable[[Change], Path],
    change: Change,
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = stranger(change)
    before = everything(folder.parent / "home")
    status, said = evaluated(folder, monkeypatch, capsys)
    assert status == 2
    assert message in said
    assert everything(folder.parent / "home") == before
    assert not (folder.parent / "data").exists()


@pytest.mark.parametrize("name", ["config.yaml", "run.json", "model.safetensors"])
def test_a_pipe_in_a_run_folder_is_refused(
    stranger: Callable[[Change], Path],
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = stranger(lambda config: None)
    (folder / name).unlink()
    os.mkfifo(folder / name)
    status, said = evaluated(folder, monkeypatch, capsys)
    assert status == 2
    assert name in said


@pytest.mark.parametrize("shape", [[1, 10**6, 10**6], [1, 32], "x", None, [1, -32, 32], [True, 32, 32]])
def test_sizes_that_run_json_makes_up_are_refused(stranger: Callable[[Change], Path], shape: Any) -> None:
    folder = stranger(lambda config: None)
    info = json.loads((folder / "run.json").read_text())
    info["dataset"]["shape"] = shape
    (folder / "run.json").write_text(json.dumps(info))
    with pytest.raises(UsageError) as refused:
        open_run(folder).model()
    assert "\n" not in str(refused.value)
