"""The run folder: names, choice of folder, atomic writes, lock, checkpoints, history."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from vaelab import UsageError
from vaelab.runs.folder import Run
from vaelab.runs.identity import LONGEST_NAME, find, has_config, refuse_change, run_name
from vaelab.runs.lock import refuse_unwritable


def config(**changes: object) -> DictConfig:
    return OmegaConf.create({"kl_weight": 1.0, "output_dir": "outputs", "rerun": False} | changes)


def started(folder: Path, status: str = "running", **changes: object) -> Run:
    run = Run(folder)
    run.start(config(**changes), ["vae-train"], {})
    run.update(status=status)
    return run


@pytest.mark.parametrize(
    ("overrides", "name"),
    [
        ([], "default"),
        (["dataset=anime", "model=fc_ae"], "default"),
        (["kl_weight=5", "dataset=anime", "epochs=30"], "epochs=30,kl_weight=5"),
        (["rerun=true", "output_dir=/x", "data_dir=/y", "seed=2"], "seed=2"),
        (["dataset.path=/a b/c.zip"], "dataset.path=_a_b_c.zip"),
        (["+experiment=x", "epochs=1"], "epochs=1,experiment=x"),
        (["list=true", "+reported=[{metric: loss, value: 1}]", "seed=2"], "seed=2"),
    ],
)
def test_run_name_is_the_overrides_in_order(overrides: list[str], name: str) -> None:
    assert run_name(overrides) == name


def test_long_names_stay_distinct_and_short() -> None:
    names = {run_name([f"dataset.path={'字' * 150}{i}"]) for i in range(3)}
    assert len(names) == 3
    assert all(len(name.encode()) <= LONGEST_NAME for name in names)


def test_the_folder_of_the_same_configuration_is_found_again(tmp_path: Path) -> None:
    started(tmp_path / "default")
    assert find(tmp_path, "default", config(), rerun=False).folder == tmp_path / "default"
    assert (
        find(tmp_path, "default", config(output_dir="elsewhere"), rerun=False).folder == tmp_path / "default"
    )


def test_a_reference_that_is_added_later_belongs_to_the_same_run(tmp_path: Path) -> None:
    reported = [{"metric": "loss", "value": 120, "when": {"kl_weight": 1}}]
    started(tmp_path / "default")
    assert "reported" not in Run(tmp_path / "default").config, "as in folders of before there was the key"
    for value in ([], reported):
        assert find(tmp_path, "default", config(reported=value), rerun=False).folder == tmp_path / "default"
    started(tmp_path / "other", reported=reported)
    assert Run(tmp_path / "other").config.reported == reported
    for changes in ({}, {"reported": []}, {"reported": [*reported, *reported]}):
        assert find(tmp_path, "other", config(**changes), rerun=False).folder == tmp_path / "other"


def test_what_is_for_reports_alone_reaches_a_finished_run(tmp_path: Path) -> None:
    run = started(tmp_path / "default", kl_weight=2.0)
    before = OmegaConf.to_container(run.config)
    told = {"chapter": "A", "reported": [{"finding": "all is blurred"}]}
    run.tell_reports(config(kl_weight=3.0, **told))  # no other key may change
    file = tmp_path / "default" / "config.yaml"
    assert OmegaConf.to_container(run.config) == OmegaConf.to_container(OmegaConf.load(file)) == before | told
    written = file.stat().st_mtime_ns
    run.tell_reports(config(**told))
    assert file.stat().st_mtime_ns == written


def test_another_configuration_is_never_touched(tmp_path: Path) -> None:
    started(tmp_path / "default", kl_weight=2.0)
    (tmp_path / "default-2").mkdir()
    (tmp_path / "default-2" / "notes.txt").write_text("mine")
    assert find(tmp_path, "default", config(), rerun=False).folder == tmp_path / "default-3"


def test_what_a_killed_process_left_is_cleaned_up_and_its_folder_used_again(tmp_path: Path) -> None:
    (tmp_path / "default" / "checkpoints").mkdir(parents=True)
    left = tmp_path / "default" / ".config.yaml.77.tmp"
    left.write_text("half")
    run = find(tmp_path, "default", config(), rerun=False)
    assert run.folder == tmp_path / "default" or not run.folder.exists()
    with Run(tmp_path / "default").locked():
        assert not left.exists()


def test_a_folder_taken_or_data_changed_meanwhile_is_refused(tmp_path: Path) -> None:
    run = started(tmp_path / "default", kl_weight=2.0)
    with pytest.raises(UsageError, match="taken by another configuration"):
        refuse_change(run, config(), "f00d")
    run.update(dataset={"fingerprint": "f00d"})
    refuse_change(run, config(kl_weight=2.0), "f00d")
    with pytest.raises(UsageError, match="the images have changed"):
        refuse_change(run, config(kl_weight=2.0), "beef")


def test_rerun_passes_over_finished_runs_and_continues_its_own(tmp_path: Path) -> None:
    started(tmp_path / "default", status="done")
    assert find(tmp_path, "default", config(), rerun=True).folder == tmp_path / "default-2"
    started(tmp_path / "default-2", status="interrupted")
    assert find(tmp_path, "default", config(rerun=True), rerun=True).folder == tmp_path / "default-2"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.write_text("run.json", "old")

    def fail(path: Path) -> None:
        path.write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        run.write("run.json", fail)
    assert (tmp_path / "run.json").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


def test_history_round_trip(tmp_path: Path) -> None:
    rows = [
        {"epoch": 1, "step": 7, "split": "train", "loss": 1.5, "lr": 1e-3},
        {"epoch": 1, "step": 7, "split": "val", "loss": 0.1 + 0.2, "psnr": 20.0, "extra": 1.0},
    ]
    run = Run(tmp_path)
    run.write_history(rows)
    assert run.history == rows
    header = (tmp_path / "metrics.csv").read_text().splitlines()[0]
    assert header == "epoch,step,split,loss,psnr,lr,extra"


def test_checkpoint_round_trip(tmp_path: Path) -> None:
    run = Run(tmp_path)
    assert run.load_checkpoint() is None
    tensors = {"model.w": torch.randn(3, 4).t(), "optimizer.model.0.step": torch.tensor(7.0)}
    rows = [{"epoch": 3, "step": 21, "split": "train", "loss": 0.1 + 0.2}]
    run.save_checkpoint(tensors, {"epoch": 3, "step": 21}, rows)
    loaded, facts, history = run.load_checkpoint() or ({}, {}, [])
    assert (facts, history) == ({"epoch": 3, "step": 21}, rows)
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[k], tensors[k]) for k in tensors)


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    code = "import sys; from vaelab.runs.folder import Run\nwith Run(sys.argv[1]).locked(): pass"
    with Run(tmp_path).locked():
        second = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True)
    assert "is in use by another process" in second.stderr
    assert subprocess.run([sys.executable, "-c", code, tmp_path]).returncode == 0


def test_reading_creates_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path / "absent")
    assert (run.info, run.metrics, run.history, run.load_checkpoint(), run.is_free()) == (
        {},
        {},
        [],
        None,
        True,
    )
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("missing", ["config.yaml", "run.json"])
def test_what_is_not_a_run_folder_is_refused_by_name(tmp_path: Path, missing: str) -> None:
    started(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(UsageError, match=f"not a run folder: it has no {missing}"):
        Run.open(tmp_path)


def test_a_damaged_run_json_is_named(tmp_path: Path) -> None:
    run = started(tmp_path)
    (tmp_path / "run.json").write_text('{"status": ')
    with pytest.raises(UsageError, match=r"run\.json is damaged"):
        _ = run.info


def test_an_ended_run_says_how(tmp_path: Path) -> None:
    run = started(tmp_path)
    with pytest.raises(KeyboardInterrupt), run.recorded():
        raise KeyboardInterrupt
    assert (run.info["status"], run.info["reason"]) == ("interrupted", "Ctrl-C")
    run.update(status="running")
    with pytest.raises(ZeroDivisionError), run.recorded():
        _ = 1 / 0
    assert (run.info["status"], run.info["reason"]) == ("failed", "division by zero")
    assert "ZeroDivisionError" in (tmp_path / "train.log").read_text()


def test_a_file_in_the_way_of_the_output_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file")
    with pytest.raises(UsageError, match="is a file, not a folder"):
        refuse_unwritable(tmp_path / "outputs" / "digits" / "conv_vae")


def test_paths_that_are_not_utf_8_are_stored(tmp_path: Path) -> None:
    path = "caf\udce9"
    config = OmegaConf.create({"dataset": {"path": path}})
    Run(tmp_path).start(config, ["vae-train", f"dataset.path={path}"], {"dataset": {"source": path}})
    run = Run.open(tmp_path)
    assert has_config(run, {"dataset": {"path": path}})
    assert (run.info["command"][1], run.info["dataset"]) == (f"dataset.path={path}", {"source": path})
    run.log(f"read {path}", show=False)
    assert "read caf\\udce9" in (tmp_path / "train.log").read_text(encoding="utf-8")


def test_a_configuration_that_is_gone_begins_no_other_run(tmp_path: Path) -> None:
    (started(tmp_path / "default").folder / "config.yaml").unlink()
    with pytest.raises(UsageError, match=r"config.yaml is gone: put it back as it was, or rename the folder"):
        find(tmp_path, "default", config(), rerun=False)
