"""What only a GPU can show: captured steps equal called ones, runs in turn runs alone, no wait inside an epoch."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from tests.test_interleaved import RUNS, left
from tests.test_interleaved import prepared as prepared  # the fixture
from vaelab import config
from vaelab.data import loader
from vaelab.runs import perform as jobs
from vaelab.runs.drawing import Workers
from vaelab.runs.folder import Run
from vaelab.runs.job import prepare
from vaelab.runs.request import Request
from vaelab.sweep import interleaved
from vaelab.training.capture import Plain

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
CUDA = torch.device("cuda")


@pytest.fixture(autouse=True)
def deterministic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels whose sums have one order; cuBLAS reads the variable when it is first used."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)


def asked(folder: Path, prepared: Path, lists: Sequence[Sequence[str]], *shared: str) -> list[Request]:
    common = ["trainer.device=cuda", "evaluation=[]", "snapshot_epochs=[]", f"data_dir={prepared}"]
    requests = []
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        for number, own in enumerate(lists):
            cfg = compose("train", [*common, "batch_size=64", "epochs=3", *shared, *own])
            requests.append(Request(cfg, Run(folder / str(number)), ("test",)))
    return requests


SMALL = ["model.channels=8", "model.hidden=16"]
OTHERS = [
    ["loss=iwae", "loss.estimator=dreg"],
    ["regulariser.schedule=linear", "trainer.gradient_clip=50"],
    ["model=conditional_vae", *SMALL],
    ["model=ladder_vae", *SMALL],
    ["model=vq_vae", "model.quantiser=fsq", *SMALL],
]


@pytest.mark.parametrize("own", [*RUNS, *OTHERS], ids=str)
def test_captured_steps_equal_called_ones(
    own: list[str], prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (captured,) = asked(tmp_path / "captured", prepared, [own])
    jobs.perform(captured)
    told = captured.run.info["training"]
    assert told["captured"] is True, told["not_captured_because"]
    monkeypatch.setattr(jobs, "lane_of", lambda chosen, noise: Plain("asked for"))
    (called,) = asked(tmp_path / "called", prepared, [own])
    jobs.perform(called)
    assert called.run.info["training"]["captured"] is False
    assert left(captured.run) == left(called.run)


def test_a_codebook_is_captured_too(prepared: Path, tmp_path: Path) -> None:
    """Not bit for bit: a GPU adds up what is encoded to a vector in no order of its own."""
    (one,) = asked(tmp_path, prepared, [["model=vq_vae", "model.codes=16", *SMALL]])
    jobs.perform(one)
    told = one.run.info["training"]
    assert told["captured"] is True, told["not_captured_because"]
    assert one.run.history[-1]["batch_codebook_use"] > 0.5


def test_members_equal_their_runs_alone_bit_for_bit(prepared: Path, tmp_path: Path) -> None:
    alone = asked(tmp_path / "alone", prepared, RUNS)
    for one in alone:
        jobs.perform(one)
    members = asked(tmp_path / "members", prepared, RUNS)
    assert interleaved.perform(members, CUDA, len(members)) == {}
    assert [left(one.run) for one in members] == [left(one.run) for one in alone]


def test_a_run_that_was_stopped_goes_on_bit_for_bit(prepared: Path, tmp_path: Path) -> None:
    whole, parts = (asked(tmp_path / name, prepared, RUNS[:1])[0] for name in ("whole", "parts"))
    jobs.perform(whole)
    steps = jobs.steps(parts, Workers(0))
    for _ in range(len(prepare(parts.cfg).loaders[0]) + 5):
        next(steps)
    steps.close()
    jobs.perform(parts)
    assert left(parts.run) == left(whole.run)


def test_streamed_data_give_what_resident_data_give(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resident, streamed = (asked(tmp_path / name, prepared, RUNS[:1])[0] for name in ("resident", "streamed"))
    jobs.perform(resident)
    monkeypatch.setattr(loader, "_free_bytes", lambda device: 0)
    jobs.perform(streamed)
    assert left(streamed.run) == left(resident.run)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype")
def test_nothing_waits_for_the_device_inside_an_epoch(prepared: Path, tmp_path: Path) -> None:
    (one,) = asked(tmp_path, prepared, [["model=conv_vae", "regulariser.schedule=linear"]])
    steps = jobs.steps(one, Workers(0))
    per_epoch = len(prepare(one.cfg).loaders[0])
    for _ in range(per_epoch + 1):  # the second epoch has begun
        next(steps)
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(per_epoch - 1):
            next(steps)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    steps.close()


def test_a_step_whose_capture_fails_is_called_and_the_reason_told(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The random numbers are then those of the same step called from the start."""
    from vaelab.losses import ELBO

    forward = ELBO.forward

    def elsewhere(self, model, batch, noise):  # type: ignore[no-untyped-def]
        torch.cuda.default_stream().wait_stream(torch.cuda.current_stream())
        yield from forward(self, model, batch, noise)

    monkeypatch.setattr(ELBO, "forward", elsewhere)
    (failed,) = asked(tmp_path / "failed", prepared, RUNS[:1])
    jobs.perform(failed)
    told = failed.run.info["training"]
    assert told["captured"] is False
    assert "its capture failed: CUDA error: operation would make" in told["not_captured_because"]
    monkeypatch.setattr(jobs, "lane_of", lambda chosen, noise: Plain("asked for"))
    (called,) = asked(tmp_path / "called", prepared, RUNS[:1])
    jobs.perform(called)
    assert left(failed.run) == left(called.run)


def test_a_step_that_waits_is_called_and_the_reason_told(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vaelab.losses import ELBO

    forward = ELBO.forward

    def waiting(self, model, batch, noise):  # type: ignore[no-untyped-def]
        float(batch.images.sum())
        yield from forward(self, model, batch, noise)

    monkeypatch.setattr(ELBO, "forward", waiting)
    (one,) = asked(tmp_path, prepared, RUNS[:1])
    jobs.perform(one)
    told = one.run.info["training"]
    assert told["captured"] is False
    assert "waits for the device" in told["not_captured_because"]
