"""Trackers: what TensorBoard, W&B, MLflow and trackio are told of a run, read back from their own files."""

import json
import sqlite3
import struct
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir

from tests.cli.conftest import QUICK, Command, started, wait_for_epoch
from vaelab import config, trackers
from vaelab.keys import flatten
from vaelab.runs import perform as jobs
from vaelab.runs import tracking
from vaelab.runs.folder import Run
from vaelab.runs.request import Request

ALL = list(trackers.CLASSES)
SETTINGS = ["model=fc_vae", "latent_dim=4", "epochs=6", "log_every=4", "snapshot_epochs=[]"]
SETTINGS += ["evaluation=[test_metrics,reconstructions]"]
Values = dict[str, Any]


@pytest.fixture(autouse=True)
def without_a_login(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_DIR", "MLFLOW_TRACKING_URI", "TRACKIO_SPACE_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))


@pytest.fixture
def resumed(
    vae: Command, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Run, Path]:
    """A run that was killed and continued, and the folder of all trackers' files."""
    for name in ALL:
        pytest.importorskip(name)
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    settings = [*SETTINGS, f"trackers=[{','.join(ALL)}]"]
    process = started("train", *settings, data_dir=data_dir, cwd=tmp_path)
    wait_for_epoch(1, tmp_path, process)
    process.kill()
    process.communicate()
    done = vae("train", *settings, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "outputs" / "digits" / "fc_vae").iterdir()
    assert "trackers" not in folder.name
    run = Run(folder)
    assert run.info["trackers"] == dict.fromkeys(ALL, "done"), done.stderr
    assert "continues after epoch" in (folder / "train.log").read_text()
    return run, tmp_path


def test_every_tracker_has_what_the_run_folder_has_once_after_a_kill_too(
    resumed: tuple[Run, Path],
) -> None:
    run, folder = resumed
    rows = [(row["step"], trackers.numbers(row)) for row in run.history]
    assert {row["split"] for row in run.history} == {"train", "val", "steps"}
    figures = set(trackers.figures(run.folder))
    assert figures == {
        "figures/reconstructions",
        "figures/reconstructions/epoch_0006",
        "figures/test_metrics",
    }
    final = {f"test/{name}": value for name, value in run.metrics.items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries
        of_tensorboard(run, rows, final, figures)
        of_mlflow(run, folder, rows, final, figures)
    of_wandb(run, rows, final, figures)
    of_trackio(run, folder, rows, final, figures)


def series(rows: list[tuple[int, Values]]) -> dict[str, list[tuple[int, float]]]:
    """Each number's values by step, in order."""
    found: dict[str, list[tuple[int, float]]] = {}
    for step, values in rows:
        for name, value in values.items():
            found.setdefault(name, []).append((step, value))
    return found


def of_tensorboard(run: Run, rows: list[tuple[int, Values]], final: Values, figures: set[str]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    events = EventAccumulator(str(run.folder / "tensorboard"), size_guidance={"scalars": 0, "images": 0})
    events.Reload()
    for name, expected in (series(rows) | series([(rows[-1][0], final)])).items():
        found = [(event.step, event.value) for event in events.Scalars(name)]
        assert [step for step, _ in found] == [step for step, _ in expected]
        assert [value for _, value in found] == pytest.approx([value for _, value in expected], rel=1e-6)
    assert set(events.Tags()["images"]) == figures
    assert {image.encoded_image_string for name in figures for image in events.Images(name)} == {
        path.read_bytes() for path in trackers.figures(run.folder).values()
    }
    told = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    hparams = HParamsPluginData.FromString(told).session_start_info.hparams
    settings = {key: value for key, value in flatten(run.stored).items() if value is not None}
    assert set(hparams) == set(settings)
    lists = {key: str(value) for key, value in settings.items() if isinstance(value, list)}
    assert lists
    assert {key: hparams[key].string_value for key in lists} == lists
    (text,) = events.Tensors("config")
    assert json.loads(text.tensor_proto.string_val[0].decode().strip("`\n")) == run.stored


def of_mlflow(
    run: Run, folder: Path, rows: list[tuple[int, Values]], final: Values, figures: set[str]
) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'outputs' / 'mlflow' / 'mlflow.db'}")
    (experiment,) = [one for one in client.search_experiments() if one.name == "vaelab"]
    (found,) = client.search_runs([experiment.experiment_id])
    assert found.info.status == "FINISHED"
    assert found.info.run_name == f"digits/fc_vae/{run.folder.name}"
    assert found.data.tags["group"] == "digits/fc_vae"
    assert found.data.params == {key: str(value) for key, value in flatten(run.stored).items()}
    expected = series(rows) | series([(rows[-1][0], final)])
    assert set(found.data.metrics) == set(expected)
    for name, values in expected.items():
        history = client.get_metric_history(found.info.run_id, name)
        assert sorted((one.step, one.value) for one in history) == sorted(values)
    artifacts = (folder / "outputs" / "mlflow").rglob("*.png")
    assert {path.read_bytes() for path in artifacts} == {
        path.read_bytes() for path in trackers.figures(run.folder).values()
    }


def of_wandb(run: Run, rows: list[tuple[int, Values]], final: Values, figures: set[str]) -> None:
    from wandb.proto.wandb_internal_pb2 import Record

    history, summary, ids, stored = [], Values(), set(), Values()
    for file in sorted(run.folder.glob("wandb/offline-run-*/*.wandb")):
        for data in leveldb_records(file.read_bytes()):
            record = Record()
            record.ParseFromString(data)
            kind = record.WhichOneof("record_type")
            if kind == "history":
                history.append(items(record.history.item))
            elif kind == "summary":
                summary |= items(record.summary.update)
            elif kind == "run":
                ids.add((record.run.run_id, record.run.display_name, record.run.run_group))
                stored |= items(record.run.config.update)
    ((_, name, group),) = ids
    assert (name, group) == (f"digits/fc_vae/{run.folder.name}", "digits/fc_vae")
    assert {key: stored[key] for key in run.stored} == run.stored
    *kept, media = history
    assert [(row["step"], {k: v for k, v in row.items() if "/" in k}) for row in kept] == rows
    assert {key: summary[key] for key in final} == final
    assert {key.rpartition("/")[0] for key in media if key.endswith("/path")} == figures


def items(entries: Any) -> Values:
    return {"/".join(one.nested_key) or one.key: json.loads(one.value_json) for one in entries}


def leveldb_records(data: bytes) -> Iterator[bytes]:
    """The records of a log of LevelDB, whose blocks of 32 KB hold pieces: whole, first, middle, last (1 to 4)."""
    place, whole = 7, b""  # after W&B's own mark
    while place + 7 <= len(data):
        if (room := 32768 - place % 32768) < 7:
            place += room
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        whole = (b"" if kind in (1, 2) else whole) + data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield whole


def of_trackio(
    run: Run, folder: Path, rows: list[tuple[int, Values]], final: Values, figures: set[str]
) -> None:
    logged = logged_by_trackio(folder)
    assert len({name for name, *_ in logged}) == 1
    *kept, (_, _, last) = logged
    assert [(step, values) for _, step, values in kept] == rows
    assert {name: last[name] for name in final} == final
    assert set(last) - set(final) == figures
    with sqlite3.connect(folder / "trackio" / "vaelab.db") as database:
        (stored,) = {text for (text,) in database.execute("select config from configs")}
    assert {key: json.loads(stored)[key] for key in run.stored} == run.stored


def logged_by_trackio(folder: Path) -> list[tuple[str, int, Values]]:
    """The name of the run, the step and the values of each row."""
    with sqlite3.connect(folder / "trackio" / "vaelab.db") as database:
        found = database.execute("select run_name, step, metrics from metrics order by id").fetchall()
    return [(name, step, json.loads(text)) for name, step, text in found]


def test_the_runs_of_a_sweep_have_their_own_in_a_group_and_finished_ones_are_handed_over(
    vae: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("trackio")
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    words = ["kl_weight=0,1", *QUICK, "evaluation=[]", "snapshot_epochs=[]", "trackers=[trackio]"]
    for strategy, added in (("parallel", []), ("interleaved", ["trackers=[trackio,tensorboard]"])):
        done = vae("sweep", *words, f"hydra.launcher.strategy={strategy}", *added, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        words[0] = "kl_weight=0,1,2"
    folders = sorted((tmp_path / "outputs" / "digits" / "fc_vae").iterdir())
    assert len(folders) == 3
    logged = logged_by_trackio(tmp_path)
    assert len({name for name, *_ in logged}) == 3
    for folder in folders:
        run = Run(folder)
        own = [(step, values) for name, step, values in logged if f"/{folder.name}-" in name]
        assert own == [(row["step"], trackers.numbers(row)) for row in run.history]
        assert run.info["trackers"] == {"trackio": "done", "tensorboard": "done"}
        assert list((folder / "tensorboard").iterdir())
    with sqlite3.connect(tmp_path / "trackio" / "vaelab.db") as database:
        configs = [json.loads(text) for (text,) in database.execute("select config from configs")]
    groups = [stored["_Group"] for stored in configs]
    assert [group.split()[:2] for group in groups] == [
        ["vae-sweep", "kl_weight=0,1"],
        ["vae-sweep", "kl_weight=0,1"],
        ["vae-sweep", "kl_weight=0,1,2"],
    ]


STUBS = {
    "wandb": "raise RuntimeError('no such host\\nand more')",  # when it is loaded
    "trackio": "import time\ntime.sleep(600)",  # a network that never answers
    "mlflow": "import os\nos._exit(7)",
}


def test_a_tracker_that_fails_or_hangs_is_said_once_and_ends_nothing(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in STUBS.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{Path(tracking.__file__).parents[2]}")
    monkeypatch.setattr(tracking, "LONGEST_WAIT", 8.0)
    one = request(tmp_path, data_dir, f"trackers=[{','.join(STUBS)}]")
    jobs.perform(one)
    assert one.run.is_done()
    told = one.run.info["trackers"]
    assert told == {
        "wandb": "failed: no such host",
        "trackio": "failed: it was not done within 8 s",
        "mlflow": "failed: its process died (exit status 7)",
    }
    said = capsys.readouterr().err
    log = (one.run.folder / "train.log").read_text()
    for name, reason in told.items():
        assert said.count(f"tracker {name} {reason}") == log.count(f"tracker {name} {reason}") == 1


def request(folder: Path, data_dir: Path, *overrides: str) -> Request:
    settings = ["model=fc_vae", "epochs=1", "evaluation=[]", "snapshot_epochs=[]", f"data_dir={data_dir}"]
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        cfg = compose("train", [*settings, *overrides])
    return Request(cfg, Run(folder / "outputs" / "digits" / "fc_vae" / "run"), ("test",))


def test_a_run_that_nothing_is_told_of_starts_no_process_and_says_nothing(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(tracking, "subprocess")
    one = request(tmp_path, data_dir)
    jobs.perform(one, processes=0)
    assert "trackers" not in one.run.info
    assert not (one.run.folder / "trackers").exists()


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (
            "[wandb,tensorbord]",
            "trackers[1]=tensorbord is not one of tensorboard, wandb, mlflow, trackio (did you mean tensorboard?)",
        ),
        ("[mlflow]", "trackers=[mlflow] needs mlflow: pip install 'vaelab[mlflow]'"),
    ],
)
def test_what_is_not_there_is_refused_before_data_are_read(given: str, line: str, tmp_path: Path) -> None:
    code = (
        "import sys; from importlib import util; find = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'mlflow' else find(name, *rest)\n"
        f"sys.argv = ['vae-train', 'dataset.path=nowhere', 'trackers={given}']\n"
        "from vaelab import cli; cli.train()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, f"vae-train: {line}\n")
    assert list(tmp_path.iterdir()) == []
