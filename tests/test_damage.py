"""Damage to a run folder is named, and the remedy that is told works; nothing is silently another number."""

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, open_dict
from safetensors.torch import save_file

from vaelab import Failure, UsageError, cli, config, files, open_run
from vaelab.runs import checkpoint, history
from vaelab.runs import perform as jobs
from vaelab.runs.drawing import Drawer
from vaelab.runs.folder import LAST, PREVIOUS, Run
from vaelab.runs.job import Job
from vaelab.runs.request import Request, ask

SMALL = [
    *("model=fc_vae", "latent_dim=4", "model.hidden=[16]", "dataset.size=8", "epochs=3", "batch_size=512"),
    *(
        "trainer.device=cpu",
        "trainer.precision=fp32",
        "snapshot_epochs=[1]",
        "evaluation=[test_metrics,samples]",
    ),
]
ONE_EPOCH = "trainer.max_seconds=1e-9"  # each command does one epoch


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


def composed(name: str, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        return compose(name, list(overrides))


def asked(folder: Path, data_dir: Path, *overrides: str) -> Request:
    """What vae-train does with these overrides, but for composing them."""
    cfg = composed("train", *SMALL, *overrides, f"data_dir={data_dir}", f"output_dir={folder}")
    return ask(cfg, {"dataset": "digits", "model": "fc_vae"}, overrides, ["vae-train"])


def perform(folder: Path, data_dir: Path, *overrides: str) -> Run:
    one = asked(folder, data_dir, *overrides)
    jobs.perform(one)
    return one.run


def evaluate(run: Run, data_dir: Path) -> None:
    """vae-evaluate."""
    cfg = composed("evaluate", "run=x", f"data_dir={data_dir}", "device=cpu")
    with open_dict(cfg):
        cfg.run = str(run.folder)
    cli._evaluate(cfg)


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Run:
    """A finished run, never touched."""
    return perform(tmp_path_factory.mktemp("calm"), data_dir)


@pytest.fixture(scope="module")
def torn(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Run:
    """The same run, stopped after its second epoch; never touched."""
    folder = tmp_path_factory.mktemp("torn")
    perform(folder, data_dir, ONE_EPOCH)
    return perform(folder, data_dir, ONE_EPOCH)


def copy(run: Run, folder: Path) -> Run:
    """A copy of a run, at the same place below another output_dir."""
    return Run(shutil.copytree(run.folder, folder.joinpath(*run.folder.parts[-3:])))


def go_on(run: Run, data_dir: Path) -> Run:
    """The training command of torn, until it is done."""
    for _ in range(3):
        perform(run.folder.parents[2], data_dir, ONE_EPOCH)
        if run.is_done():
            return run
    raise AssertionError(run.info)


def is_as_calm(run: Run, calm: Run) -> bool:
    weights = [(r.folder / "model.safetensors").read_bytes() for r in (run, calm)]
    rows = [[{k: v for k, v in row.items() if k != "seconds"} for row in r.history] for r in (run, calm)]
    return weights[0] == weights[1] and rows[0] == rows[1] and run.metrics == calm.metrics


def flip(file: Path, place: float = 0.7, bit: int = 3) -> None:
    """Flips one bit at this share of a file."""
    data = bytearray(file.read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    file.write_bytes(data)


# ---- checkpoints and weights


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    checkpoint.write(file, {"a.weight": torch.randn(2, 3), "step": torch.tensor(7)}, {"epoch": 1, "step": 2})
    data = file.read_bytes()
    for place in range(len(data)):
        for bit in range(8):
            file.write_bytes(data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :])
            with pytest.raises(checkpoint.Damaged):
                checkpoint.read(file)


def test_every_length_that_is_too_short_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    checkpoint.write(file, {"a": torch.randn(5)}, {})
    data = file.read_bytes()
    for length in range(len(data)):
        file.write_bytes(data[:length])
        with pytest.raises(checkpoint.Damaged):
            checkpoint.read(file)


def test_files_of_older_versions_have_no_checksum_and_are_read(tmp_path: Path) -> None:
    tensors = {"a": torch.randn(5)}
    save_file(tensors, tmp_path / "weights.safetensors")
    save_file(tensors, tmp_path / "last.safetensors", {"vaelab": '{"epoch": 3, "step": 9}'})
    read, facts = checkpoint.read(tmp_path / "weights.safetensors")
    assert torch.equal(read["a"], tensors["a"])
    assert facts == {}
    assert checkpoint.read_state(tmp_path / "last.safetensors")[1:] == ({"epoch": 3, "step": 9}, None)


@pytest.mark.parametrize(
    "damage", [flip, lambda file: os.truncate(file, 500), lambda file: file.write_text("")]
)
def test_a_damaged_checkpoint_goes_on_from_the_one_before(
    damage: Any, torn: Run, calm: Run, data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copy(torn, tmp_path)
    damage(run.folder / LAST)
    go_on(run, data_dir)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if " is damaged (" in line]
    assert line.startswith(f"{run.folder / LAST} is damaged (")
    assert line.endswith("goes on from the checkpoint before (epoch 1)")
    assert is_as_calm(run, calm)


def test_where_both_checkpoints_are_damaged_the_remedy_works(
    torn: Run, calm: Run, data_dir: Path, tmp_path: Path
) -> None:
    run = copy(torn, tmp_path)
    flip(run.folder / LAST)
    flip(run.folder / PREVIOUS)
    with pytest.raises(
        UsageError, match=r"previous.safetensors is damaged .*: delete .*checkpoints and give"
    ):
        perform(tmp_path, data_dir, ONE_EPOCH)
    shutil.rmtree(run.folder / "checkpoints")
    assert is_as_calm(go_on(run, data_dir), calm)


def test_a_kill_between_the_renames_loses_no_checkpoint(
    torn: Run, calm: Run, data_dir: Path, tmp_path: Path
) -> None:
    run = copy(torn, tmp_path)
    os.replace(run.folder / LAST, run.folder / PREVIOUS)
    (run.folder / "checkpoints" / ".last.safetensors.77.tmp").write_bytes(b"half")
    assert run.checkpoint_facts() == torn.checkpoint_facts()
    go_on(run, data_dir)
    assert is_as_calm(run, calm)
    assert {path.name for path in (run.folder / "checkpoints").iterdir()} == {
        Path(LAST).name,
        Path(PREVIOUS).name,
    }


@pytest.mark.parametrize("number", [0, 1])
def test_whatever_rename_fails_a_checkpoint_is_left(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, renames = Run(tmp_path), count()
    for epoch in (1, 2):
        run.save_checkpoint({"a": torch.full((3,), epoch)}, {"epoch": epoch, "step": epoch}, [])
    real = os.replace

    def fails(source: Path, target: Path) -> None:
        if next(renames) == number:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(KeyboardInterrupt):
        run.save_checkpoint({"a": torch.full((3,), 3)}, {"epoch": 3, "step": 3}, [])
    left = run.load_checkpoint()
    assert left is not None
    assert left.facts["epoch"] == 2
    assert torch.equal(left.tensors["a"], torch.full((3,), 2))


def test_damaged_weights_are_refused_and_written_again_from_the_checkpoint(
    calm: Run, data_dir: Path, tmp_path: Path
) -> None:
    run = copy(calm, tmp_path)
    flip(run.folder / "model.safetensors")
    with pytest.raises(
        UsageError, match=r"model.safetensors is damaged .*: vae-evaluate run=.* writes it again"
    ):
        open_run(run.folder).model()
    evaluate(run, data_dir)
    assert is_as_calm(run, calm)
    flip(run.folder / "model.safetensors")
    shutil.rmtree(run.folder / "checkpoints")
    with pytest.raises(UsageError, match=r"no checkpoint .*: train the run again with rerun=true"):
        evaluate(run, data_dir)
    assert is_as_calm(perform(tmp_path, data_dir, "rerun=true"), calm)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_named(value: float, calm: Run, tmp_path: Path) -> None:
    run = copy(calm, tmp_path)
    weights = run.load_weights()
    name = next(iter(weights))
    weights[name].view(-1)[1] = value
    run.save_weights(weights)
    with pytest.raises(
        UsageError, match=rf"model.safetensors holds numbers that are not finite \({name}\): train"
    ):
        open_run(run.folder).model()


def test_weights_of_another_model_are_named(calm: Run, tmp_path: Path) -> None:
    run = copy(calm, tmp_path)
    run.save_weights({"other": torch.ones(3)})
    with pytest.raises(UsageError, match="holds the weights of another model"):
        open_run(run.folder).model()


# ---- what is read again


@pytest.mark.parametrize("name", ["metrics.csv", "evaluation/metrics.json", "arrays/test_metrics.npz"])
@pytest.mark.parametrize("damage", [flip, lambda file: file.write_text("")])
def test_what_is_damaged_is_named_and_written_again(
    name: str, damage: Any, calm: Run, data_dir: Path, tmp_path: Path
) -> None:
    run = copy(calm, tmp_path)
    damage(run.folder / name)
    with pytest.raises(
        UsageError, match=rf"{name} was changed or damaged .*: vae-evaluate run=.* writes it again"
    ):
        run.refuse_changed(name)
    evaluate(run, data_dir)
    run.refuse_changed(name)
    assert is_as_calm(run, calm)
    assert (run.folder / name).read_bytes() == (calm.folder / name).read_bytes()


def test_a_damaged_snapshot_stays_known_as_such(calm: Run, data_dir: Path, tmp_path: Path) -> None:
    run, name = copy(calm, tmp_path), "arrays/samples/epoch_0001.npz"
    flip(run.folder / name)
    evaluate(run, data_dir)
    with pytest.raises(UsageError, match=r"was changed or damaged .*: delete it, or train the run again"):
        run.refuse_changed(name)
    (run.folder / name).unlink()
    run.refuse_changed(name)


@pytest.mark.parametrize(
    "text", ["", "epoch,step,split\n1,2\n", "epoch,step,split,loss\n1,x,train,3\n", "\0"]
)
def test_a_history_that_is_damaged_is_healed_by_the_checkpoint(
    text: str, torn: Run, calm: Run, data_dir: Path, tmp_path: Path
) -> None:
    run = copy(torn, tmp_path)
    (run.folder / "metrics.csv").write_text(text)
    assert is_as_calm(go_on(run, data_dir), calm)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("epoch,step,split,loss\n1,2,train,abc\n", r"line 2: loss='abc' is no number"),
        ("epoch,step,split,loss\n1,2,train,1\n1.5,2,val,1\n", r"line 3: epoch='1.5' is no number"),
        ("epoch,step,split,loss\n1,2\n", r"line 2: 2 cells under 4 columns"),
        ("epoch,step,split\n1,,train\n", r"line 2: no step"),
        ("epoch,step,split\n" + "1,2,train\n" * (history.MOST_ROWS + 1), "more than 250,000 rows"),
        ("epoch,step,split," + "a," * 300 + "\n1\n", "columns"),
        (b"epoch,step,split\n\xff,1,train\n", "line 2 is not UTF-8"),
    ],
)
def test_rows_that_no_run_has_written_are_named(text: str | bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError, match=rf"metrics.csv .*{reason}"):
        _ = Run(tmp_path).history


def test_more_rows_than_are_ever_read_are_refused_before_training(data_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"epochs=100000 and log_every=1 give 400,000 rows of metrics.csv"):
        perform(tmp_path, data_dir, "epochs=100000", "log_every=1")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("text", [None, "", "epochs: [", "kl_weight: 5\n"])
def test_an_altered_configuration_begins_no_other_run(
    text: str | None, calm: Run, data_dir: Path, tmp_path: Path
) -> None:
    run = copy(calm, tmp_path)
    file = run.folder / "config.yaml"
    before = file.read_text()
    file.write_text(before.replace("epochs: 3", "epochs: 4") if text is None else text)
    with pytest.raises(
        UsageError, match=r"config.yaml was changed or damaged .*: put it back as it was, or rename"
    ):
        asked(tmp_path, data_dir)
    with pytest.raises(UsageError, match=r"config.yaml was changed or damaged"):
        Run.open(run.folder)
    assert [path.name for path in run.folder.parent.iterdir()] == ["default"]
    file.write_text(before)
    assert asked(tmp_path, data_dir).state == "done"


def test_an_altered_configuration_of_an_unfinished_run_begins_no_other(
    torn: Run, data_dir: Path, tmp_path: Path
) -> None:
    file = copy(torn, tmp_path).folder / "config.yaml"
    file.write_text(file.read_text().replace("seed: 0", "seed: 1"))
    with pytest.raises(UsageError, match=r"config.yaml was changed or damaged"):
        asked(tmp_path, data_dir, ONE_EPOCH)


def test_what_is_for_reports_alone_is_known_as_written(calm: Run, data_dir: Path, tmp_path: Path) -> None:
    run = copy(calm, tmp_path)
    run.tell_reports(composed("train", *SMALL, "+chapter=mine"))
    assert Run.open(run.folder).config.chapter == "mine"
    flip(run.folder / "config.yaml")
    with pytest.raises(UsageError, match=r"config.yaml was changed or damaged"):
        Run.open(run.folder)


@pytest.mark.parametrize("damage", [lambda text: "", lambda text: text.replace('"seed": 0', '"seed": 1')])
def test_a_damaged_run_json_is_written_again_without_training(
    damage: Any, calm: Run, data_dir: Path, tmp_path: Path
) -> None:
    run = copy(calm, tmp_path)
    file = run.folder / "run.json"
    file.write_text(damage(file.read_text()))
    with pytest.raises(UsageError, match=r"run.json .*: delete it and give the training command again"):
        asked(tmp_path, data_dir)
    file.unlink()
    perform(tmp_path, data_dir)
    assert is_as_calm(run, calm)
    assert run.history == calm.history, "the seconds, too: nothing was trained"
    assert run.is_done()


def test_run_folders_without_checksums_go_on(calm: Run, data_dir: Path, tmp_path: Path) -> None:
    run = copy(calm, tmp_path)
    (run.folder / "run.json").write_text(
        Path(run.folder / "run.json").read_text().replace('"checksums"', '"of_another_version"')
    )
    (run.folder / "config.yaml").write_text("# mine\n" + (run.folder / "config.yaml").read_text())
    assert asked(tmp_path, data_dir).state == "done"
    evaluate(run, data_dir)
    assert is_as_calm(run, calm)


# ---- the disk


def test_done_means_that_all_is_on_the_disk(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: set[tuple[int, int]] = set()  # a file, by its number, as it was last changed
    real = files.sync

    def sync(path: Path) -> None:
        real(path)
        synced.add((path.stat().st_ino, path.stat().st_mtime_ns))

    def update(run: Run, **facts: Any) -> None:
        if facts.get("status") == "done":
            everything = {path for path in run.folder.rglob("*") if path.name not in ("run.json", ".lock")}
            everything |= {run.folder, run.folder.parent, run.folder.parents[1], tmp_path}
            assert not {p for p in everything if (p.stat().st_ino, p.stat().st_mtime_ns) not in synced}
            checked.append(run)
        written(run, **facts)

    checked: list[Run] = []
    written = Run.update
    monkeypatch.setattr(files, "sync", sync)
    monkeypatch.setattr(Run, "update", update)
    assert [perform(tmp_path, data_dir).folder] == [run.folder for run in checked]


@pytest.mark.parametrize("kept", [False, True])
def test_a_folder_that_is_gone_while_it_is_trained_is_a_failure_in_words(
    kept: bool, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = jobs.draw_snapshot

    def disturbed(job: Job, run: Run, epoch: int, drawer: Drawer) -> None:
        if epoch == 2:
            os.rename(run.folder, tmp_path / "elsewhere")
            if kept:  # and another process has begun anew there
                run.folder.mkdir()
        real(job, run, epoch, drawer)

    monkeypatch.setattr(jobs, "draw_snapshot", disturbed)
    one = asked(tmp_path, data_dir)
    with pytest.raises(Failure, match="was deleted or moved while it was in use"):
        jobs.perform(one)
    assert (list(one.run.folder.iterdir()) if kept else one.run.folder.exists()) in ([], False)


def test_a_full_disk_is_named_and_the_run_goes_on_when_there_is_room(
    calm: Run, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    perform(tmp_path, data_dir, ONE_EPOCH)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(Failure, match=r"cannot write .*: the disk is full \(.* MB are free\): make room"):
            perform(tmp_path, data_dir, ONE_EPOCH)
    run = asked(tmp_path, data_dir, ONE_EPOCH).run
    assert not list(run.folder.rglob("*.tmp"))
    assert is_as_calm(go_on(run, data_dir), calm)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own of 400 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(folder)]
    try:
        made = subprocess.run(mount, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if made.returncode:
        pytest.skip(f"cannot mount: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_disk_that_is_really_full(small_disk: Path, calm: Run, data_dir: Path) -> None:
    ballast = small_disk / "ballast"
    perform(small_disk, data_dir, ONE_EPOCH)
    free = shutil.disk_usage(small_disk).free
    ballast.write_bytes(b"x" * (free - 20_000))
    with pytest.raises(Failure, match=r"cannot write .*: the disk is full \(0.0 MB are free\): make room"):
        perform(small_disk, data_dir, ONE_EPOCH)
    ballast.unlink()
    assert is_as_calm(go_on(asked(small_disk, data_dir, ONE_EPOCH).run, data_dir), calm)


def test_a_finished_run_is_told_of_on_a_disk_that_is_read_only(
    small_disk: Path, calm: Run, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copy(calm, small_disk)
    shutil.rmtree(run.folder / "figures")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    one = asked(small_disk, data_dir)
    assert one.state == "done"
    one.run.tell_reports(one.cfg)
    cli.print_summary(one.run)
    assert f"run folder: {run.folder}" in capsys.readouterr().out
    open_run(run.folder).model()
    for other in (["seed=1"], ["rerun=true"]):
        with pytest.raises(UsageError, match="no permission to write in"):
            asked(small_disk, data_dir, *other)
    with pytest.raises(UsageError, match=r"cannot write in .*Read-only"), run.locked():
        pass


def test_what_killed_processes_left_is_removed(calm: Run, tmp_path: Path) -> None:
    run = copy(calm, tmp_path)
    names = (
        "figures/.samples.png",
        "arrays/samples/.epoch_0001.npz",
        "checkpoints/.last.safetensors",
        ".run.json",
    )
    left = [run.folder / f"{name}.77.tmp" for name in names]
    for file in left:
        file.write_bytes(b"half")
    with run.locked():
        assert not any(file.exists() for file in left)


def test_a_reader_that_has_the_file_open_delays_a_rename_on_windows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, refusals = os.replace, iter([True, True, False])

    def refused(source: Path, target: Path) -> None:
        if next(refusals):
            raise PermissionError(errno.EACCES, "Access is denied")
        real(source, target)

    monkeypatch.setattr(os, "replace", refused)
    monkeypatch.setattr(files, "WINDOWS", True)
    with files.whole(tmp_path / "run.json") as path:
        path.write_text("new")
    assert (tmp_path / "run.json").read_text() == "new"
