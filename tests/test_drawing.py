"""Figures drawn beside the training: the same bytes, told failures, no orphans, and nothing of it in the weights."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from vaelab import Failure, UsageError, canvas, config, machine
from vaelab.embeddings import embed
from vaelab.evaluations import Context
from vaelab.runs import drawing, measure
from vaelab.runs import perform as jobs
from vaelab.runs.drawing import Drawer, Workers
from vaelab.runs.folder import Run
from vaelab.runs.job import Job, prepare
from vaelab.runs.request import Request

SHEET = partial(
    canvas.contact_sheet, np.random.default_rng(0).random((6, 8, 8, 1)), "Samples · λ = 1", columns=3
)
LAST = 2  # epochs of a run
SMALL = (
    "model=fc_vae", "model.hidden=[16]", "latent_dim=3", f"epochs={LAST}", "dpi=40", "trainer.device=cpu",
    "trainer.precision=fp32",
)  # fmt: skip


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    """One process for all tests that do it no harm."""
    with Workers(1) as made:
        yield made


# ---- the processes


def test_calls_are_done_elsewhere_in_their_order(workers: Workers) -> None:
    elsewhere = workers.submit(os.getpid)
    results = [workers.submit(partial(pow, 2, power)) for power in range(5)]
    assert results[-1].result() == 16
    assert all(result.done() for result in results)
    assert elsewhere.result() != os.getpid()


@pytest.mark.skipif(sys.platform != "linux", reason="ranks processes, not threads")
def test_what_is_drawn_while_a_run_is_trained_gives_way_to_it(workers: Workers) -> None:
    rank = partial(os.getpriority, os.PRIO_PROCESS, 0)
    assert workers.submit(rank, background=True).result() == 19
    assert workers.submit(rank).result() == rank()  # and only that


def test_while_a_process_is_busy_the_waiting_one_helps(workers: Workers) -> None:
    sleeping = busy_with(workers, partial(time.sleep, 1.0))
    late = [workers.submit(os.getpid) for _ in range(3)]
    while not sleeping.done():
        workers.help()
    assert [result.result() for result in late] == [os.getpid()] * 3


def busy_with(workers: Workers, call: Callable[[], Any]) -> Future[Any]:
    """Returns once the process is at work on a call."""
    workers.submit(os.getpid).result()
    future = workers.submit(call)
    while workers._tasks.qsize():
        time.sleep(0.001)
    return future


def test_held_calls_wait(workers: Workers) -> None:
    with workers.held(True):
        first, second = workers.submit(os.getpid), workers.submit(os.getpid)
        time.sleep(0.2)
        assert not first.done()
        assert not second.done()
    assert first.result() > 0
    with workers.held(False):
        assert workers.submit(os.getpid).result() > 0


def test_an_exception_comes_back_as_it_was(workers: Workers) -> None:
    with pytest.raises(ZeroDivisionError):
        workers.submit(partial(divmod, 1, 0)).result()
    with pytest.raises(Exception, match="pickle"):
        workers.submit(partial(eval, "lambda: 0")).result()  # what it gives cannot be sent
    assert workers.submit(os.getpid).result() > 0  # and the process goes on


def test_a_process_that_dies_is_a_failure_of_what_it_had_and_another_takes_its_place(tmp_path: Path) -> None:
    with Workers(1) as workers:
        process = psutil.Process(workers.submit(os.getpid).result())
        sleeping = busy_with(workers, partial(time.sleep, 60))
        drawer = Drawer(workers)
        drawer.draw(SHEET, tmp_path / "a.png", 40)
        process.kill()
        told = r"a process that draws figures died \(exit status -9\); out of memory\?"
        with pytest.raises(Failure, match=told):
            sleeping.result()
        with pytest.raises(Failure, match=told):
            drawer.wait()
        assert workers.submit(os.getpid).result() != process.pid
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_sent_and_what_is_large_is_done_here(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert workers.submit(lambda: os.getpid()).result() == os.getpid()
    monkeypatch.setattr(drawing, "MOST_SENT", 10)
    assert workers.submit(os.getpid).result() == os.getpid()


def test_after_an_exception_nothing_more_is_done() -> None:
    with pytest.raises(KeyError), Workers(1) as workers:  # noqa: PT012
        process = psutil.Process(workers.submit(os.getpid).result())
        sleeping = workers.submit(partial(time.sleep, 60))
        raise KeyError
    assert not process.is_running()
    assert isinstance(sleeping.exception(), Failure)


PARENT = """
import os, sys, time
from functools import partial
from vaelab.runs.drawing import Workers
if __name__ == "__main__":
    workers = Workers(1)
    print(workers.submit(os.getpid).result(), flush=True)
    workers.submit(partial(time.sleep, 60))
    {end}
"""
ENDS: dict[str, tuple[str, Callable[[Any], None]]] = {
    "SIGKILL": ("time.sleep(60)", lambda parent: parent.kill()),
    "its end": ("", lambda parent: None),
    "Ctrl-C": ("time.sleep(60)", lambda parent: os.killpg(parent.pid, signal.SIGINT)),
}


@pytest.mark.parametrize("end", ENDS)
def test_a_process_ends_with_its_parent(end: str, tmp_path: Path) -> None:
    last, act = ENDS[end]
    program = tmp_path / "parent.py"
    program.write_text(PARENT.format(end=last))
    command = [sys.executable, str(program)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # These tests may be a job of a shell in the background, which ignores Ctrl-C.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.default_int_handler),
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        act(parent)
        _, errors = parent.communicate(timeout=120)  # the pipe is closed once no process has it
        assert parent.returncode is not None
        assert errors.count("Traceback") == (end == "Ctrl-C")  # of the parent, which does not handle it
    deadline = time.monotonic() + 10
    while psutil.pid_exists(worker) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not psutil.pid_exists(worker)


# ---- where there are none


def test_a_worker_starts_no_others(workers: Workers) -> None:
    assert workers.submit(drawing.most_processes).result() == 0


@pytest.mark.parametrize(
    ("cores", "runs", "processes"),
    [(1, 1, 0), (2, 1, 1), (4, 1, 3), (5, 1, 4), (16, 1, 4), (16, 5, 8), (2, 5, 1)],
)
def test_the_number_follows_from_the_cores_and_the_runs(
    cores: int, runs: int, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "cores", lambda: cores)
    assert drawing.most_processes(runs) == processes


def test_without_processes_all_is_done_here_and_at_once(tmp_path: Path) -> None:
    drawer = Drawer(Workers(0))
    drawer.draw(SHEET, tmp_path / "a.png", 40)
    assert (tmp_path / "a.png").is_file()
    drawer.draw(lambda: canvas.contact_sheet(np.zeros((1, 4, 4, 1)), "x"), tmp_path / "b.png", 40)
    drawer.wait()
    assert (tmp_path / "b.png").is_file()


# ---- figures


def test_a_figure_has_the_same_bytes_wherever_it_is_drawn(tmp_path: Path, workers: Workers) -> None:
    elsewhere, at_once = Drawer(workers), Drawer(Workers(0))
    for name, background in (("a", False), ("b", True)):
        elsewhere.draw(SHEET, tmp_path / f"{name}.png", 70, background).result()
    at_once.draw(SHEET, tmp_path / "c.png", 70)
    elsewhere.wait()
    a, b, c = ((tmp_path / f"{name}.png").read_bytes() for name in "abc")
    assert a == b == c


@pytest.mark.parametrize("processes", [0, 1])
def test_what_kept_a_figure_from_the_disk_is_said_in_words(tmp_path: Path, processes: int) -> None:
    (tmp_path / "file").touch()
    with Workers(processes) as workers:
        drawer = Drawer(workers)
        failed = drawer.draw(SHEET, tmp_path / "file" / "a.png", 40)
        assert isinstance(failed.exception(), UsageError)
        with pytest.raises(UsageError, match=r"cannot write .*a\.png"):
            drawer.draw(SHEET, tmp_path / "b.png", 40)  # at the next one
        with pytest.raises(UsageError, match=r"cannot write .*a\.png"):
            drawer.wait()
        other = Drawer(workers)  # of another run, which goes on
        other.draw(SHEET, tmp_path / "c.png", 40)
        other.wait()
    assert {path.name for path in tmp_path.iterdir()} == {"file", "c.png"}


# ---- runs


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prepared")


def composed(prepared: Path, *overrides: str) -> DictConfig:
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        return compose("train", [f"data_dir={prepared}", *SMALL, *overrides])


def performed(folder: Path, prepared: Path, *overrides: str) -> Run:
    run = Run(folder)
    jobs.perform(Request(composed(prepared, *overrides), run, ("test",)))
    return run


CHOSEN = "evaluation=[reconstructions,samples,latent_space,test_metrics]"


@pytest.fixture(scope="module")
def done(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run with snapshots of both epochs."""
    return performed(tmp_path_factory.mktemp("done") / "run", prepared, CHOSEN, "snapshot_epochs=[1]")


def pictures(run: Run) -> dict[str, bytes]:
    return {
        path.relative_to(run.folder).as_posix(): path.read_bytes()
        for path in sorted(run.folder.glob("figures/**/*.png"))
    }


def test_snapshots_never_change_what_is_trained(done: Run, prepared: Path, tmp_path: Path) -> None:
    without = performed(tmp_path / "run", prepared, "evaluation=[]", "snapshot_epochs=[]")
    assert (without.folder / "model.safetensors").read_bytes() == (
        done.folder / "model.safetensors"
    ).read_bytes()
    assert not pictures(without)


def test_all_figures_are_there_when_a_run_is_done(done: Run) -> None:
    assert done.is_done()
    snapshots = [f"{name}/epoch_000{n}" for name in ("reconstructions", "samples") for n in (1, LAST)]
    names = [*snapshots, "latent_space", "reconstructions", "samples", "test_metrics"]
    assert set(pictures(done)) == {f"figures/{name}.png" for name in names}


def again(run: Run, prepared: Path) -> tuple[Job, Context]:
    """What evaluates a finished run once more."""
    job = prepare(composed(prepared, CHOSEN))
    job.network.load_state_dict(run.load_weights(), strict=False)
    parts = (job.network, job.criterion, job.images, run.history, job.device, LAST)
    return job, measure.context(job.cfg, *parts)


def evaluated_again(run: Run, prepared: Path, workers: Workers) -> None:
    job, read = again(run, prepared)
    measure.evaluate(run, job.evaluations, read, job.cfg.dpi, Drawer(workers))


def test_a_process_that_draws_does_without_torch_and_computes_in_one_thread(
    done: Run, prepared: Path, workers: Workers
) -> None:
    workers.submit(partial(embed, np.eye(3), "pca")).result()
    evaluated_again(done, prepared, workers)
    loaded = partial(
        eval, "'torch' in __import__('sys').modules, __import__('os').environ['OMP_NUM_THREADS']"
    )
    assert workers.submit(loaded).result() == (False, "1")


def test_two_runs_are_evaluated_in_turns(done: Run, prepared: Path, tmp_path: Path, workers: Workers) -> None:
    """After its first turn a run needs neither its model nor the loop's time, and other runs can have theirs."""
    before, metrics = pictures(done), done.metrics
    runs = [Run(shutil.copytree(done.folder, tmp_path / name)) for name in "ab"]
    turns = []
    for run in runs:
        for path in run.folder.glob("figures/*.png"):
            path.unlink()
        job, read = again(run, prepared)
        turns.append(measure.evaluating(run, job.evaluations, read, job.cfg.dpi, Drawer(workers)))
    held, drawn = turns
    next(held)
    for _ in drawn:  # to its end, while the other has its turn to come
        workers.help()
    for _ in held:
        workers.help()
    assert [pictures(run) for run in runs] == [before, before]
    assert [run.metrics for run in runs] == [metrics, metrics]


def test_figures_and_numbers_are_the_same_drawn_here(done: Run, prepared: Path) -> None:
    before, metrics = pictures(done), done.metrics
    arrays = {path: path.read_bytes() for path in done.folder.glob("arrays/*.npz")}
    for path in done.folder.glob("figures/*.png"):
        path.unlink()
    evaluated_again(done, prepared, Workers(0))
    assert pictures(done) == before
    assert done.metrics == metrics
    for path, data in arrays.items():
        with np.load(path) as now:
            assert set(now) == set(np.load(path))
        assert path.read_bytes()[:4] == data[:4]


def test_only_snapshots_that_are_missing_are_drawn_again(done: Run, prepared: Path, workers: Workers) -> None:
    before = pictures(done)
    missing = done.folder / "figures" / "samples" / "epoch_0001.png"
    times = {path: path.stat().st_mtime_ns for path in done.folder.glob("figures/*/*.png")}
    missing.unlink()
    evaluated_again(done, prepared, workers)
    assert pictures(done) == before
    changed = {path for path, then in times.items() if path.stat().st_mtime_ns != then}
    assert changed == {missing}


def test_a_damaged_snapshot_is_not_drawn(done: Run, prepared: Path, workers: Workers) -> None:
    arrays = done.folder / "arrays" / "samples" / "epoch_0001.npz"
    figure = done.folder / "figures" / "samples" / "epoch_0001.png"
    kept, drawn = arrays.read_bytes(), figure.read_bytes()
    figure.unlink()
    for damaged in (b"", b"PK" + bytes(100), kept[:200]):
        arrays.write_bytes(damaged)
        evaluated_again(done, prepared, workers)
        assert not figure.exists()
    arrays.write_bytes(kept)
    figure.write_bytes(drawn)


def test_the_checksums_come_after_the_figures(
    done: Run, prepared: Path, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = set(pictures(done))
    for path in done.folder.glob("figures/*.png"):
        path.unlink()
    seal = Run.seal
    found: list[set[str]] = []
    monkeypatch.setattr(Run, "seal", lambda run: (found.append(set(pictures(run))), seal(run)))
    evaluated_again(done, prepared, workers)
    assert found == [expected]


def test_a_run_whose_figure_cannot_be_written_is_not_done(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = Run.save_weights
    obstacle = tmp_path / "run" / "figures"
    monkeypatch.setattr(Run, "save_weights", lambda run, tensors: (obstacle.touch(), save(run, tensors)))
    overrides = ("evaluation=[test_metrics]", "snapshot_epochs=[]")
    with pytest.raises(UsageError, match=r"cannot write .*test_metrics\.png"):
        performed(tmp_path / "run", prepared, *overrides)
    run = Run(tmp_path / "run")
    assert run.info["status"] == "failed"
    assert "cannot write" in run.info["reason"]
    assert not run.metrics
    monkeypatch.undo()
    obstacle.unlink()
    assert performed(run.folder, prepared, *overrides).is_done()


def test_the_bar_says_what_is_measured_and_drawn(
    done: Run, prepared: Path, workers: Workers, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluated_again(done, prepared, workers)
    told = capsys.readouterr().err
    for number in range(1, 5):
        assert f"measuring {number} of 4" in told
    assert "drawing 2 of 4" in told
    assert "drawing 4 of 4: 100%" in told


def test_a_snapshot_is_on_its_way_when_training_goes_on(
    prepared: Path, tmp_path: Path, workers: Workers
) -> None:
    """Its arrays are there at once, and its figure later."""
    job = prepare(composed(prepared, CHOSEN, "snapshot_epochs=[1]"))
    run = Run(tmp_path)
    drawer = Drawer(workers)
    with workers.held(True):
        measure.draw_snapshot(job, run, 1, drawer)
        assert len(list(tmp_path.glob("arrays/*/epoch_0001.npz"))) == 2
        assert not pictures(run)
    drawer.wait()
    assert set(pictures(run)) == {f"figures/{name}/epoch_0001.png" for name in ("reconstructions", "samples")}
    measure.draw_snapshot(job, run, 3, drawer)  # no snapshot's epoch
    assert len(list(tmp_path.glob("arrays/*/*"))) == 2
