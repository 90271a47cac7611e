"""Runs that share a device in turn: each is the run that it is alone, fails alone, and continues alone."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir

from tests.tape import TapeLane
from vaelab import UsageError, config
from vaelab.runs import perform as jobs
from vaelab.runs.drawing import Workers
from vaelab.runs.folder import Run
from vaelab.runs.job import prepare
from vaelab.runs.perform import OutOfMemory
from vaelab.runs.request import Request
from vaelab.sweep import interleaved
from vaelab.sweep.interleaved import Admission, Meter

CPU = torch.device("cpu")
# Of every kind: other models, losses, likelihoods, batch sizes, seeds, learning rates.
RUNS = [
    ["model=fc_vae", "model.hidden=[16]"],
    ["model=fc_vae", "model.hidden=[16]", "seed=1", "kl_weight=5"],
    ["model=fc_vae", "model.hidden=[16]", "likelihood=gaussian_learned", "batch_size=512", "lr=1e-2"],
    ["model=conv_ae", "dataset.size=12", "model.channels=4", "trainer.ema=0.9"],
    ["model=dcgan", "dataset.size=12", "model.generator_maps=2", "model.discriminator_maps=2"],
]


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prepared")


def asked(folder: Path, prepared: Path, lists: Sequence[Sequence[str]], *shared: str) -> list[Request]:
    """One run for each list of overrides."""
    common = ["trainer.device=cpu", "trainer.precision=fp32", "evaluation=[]", "snapshot_epochs=[]"]
    requests = []
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        for number, own in enumerate(lists):
            cfg = compose("train", [*common, f"data_dir={prepared}", "batch_size=256", *shared, *own])
            requests.append(Request(cfg, Run(folder / str(number)), ("test",)))
    return requests


def left(run: Run) -> tuple[bytes, list[dict[str, Any]]]:
    """What a run has learnt: its weights, and its rows without the seconds."""
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in run.history]
    return (run.folder / "model.safetensors").read_bytes(), rows


@pytest.fixture(scope="session")
def alone(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """The runs, one after the other."""
    requests = asked(tmp_path_factory.mktemp("alone"), prepared, RUNS, "epochs=4")
    for one in requests:
        jobs.perform(one)
    return [one.run for one in requests]


@pytest.mark.parametrize("at_once", [2, 5])
@pytest.mark.parametrize("captured", [False, True])
def test_members_equal_their_runs_alone_bit_for_bit(
    at_once: int,
    captured: bool,
    alone: list[Run],
    prepared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if captured:
        monkeypatch.setattr(jobs, "lane_of", lambda chosen, noise: TapeLane())
    members = asked(tmp_path, prepared, RUNS, "epochs=4")
    assert interleaved.perform(members, CPU, at_once) == {}
    for run, one in zip(alone, members, strict=True):
        assert one.run.is_done()
        assert one.run.info["training"]["captured"] is captured
        assert left(one.run) == left(run)


def test_dropout_of_a_users_network_is_that_of_its_run_alone(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Torch's own generators, which no loss is given, are each run's own while it steps."""
    activation = torch.nn.ReLU.forward
    monkeypatch.setattr(
        torch.nn.ReLU, "forward", lambda self, x: torch.dropout(activation(self, x), 0.5, self.training)
    )
    single = asked(tmp_path / "single", prepared, RUNS[:2], "epochs=2")
    for one in single:
        jobs.perform(one)
    members = asked(tmp_path / "members", prepared, RUNS[:2], "epochs=2")
    assert interleaved.perform(members, CPU, 2) == {}
    assert [left(one.run) for one in members] == [left(one.run) for one in single]


def test_a_member_that_is_lost_does_not_stop_the_others(
    alone: list[Run], prepared: Path, tmp_path: Path
) -> None:
    lost = ["model=fc_vae", "model.hidden=[16]", "likelihood=gaussian", "lr=1e30"]
    good, bad = asked(tmp_path, prepared, [RUNS[0], lost], "epochs=4")
    failures = interleaved.perform([bad, good], CPU, 2)
    assert list(failures) == [bad.name]
    assert "the loss is not finite at step 2" in str(failures[bad.name])
    assert (bad.run.info["status"], good.run.info["status"]) == ("failed", "done")
    assert left(good.run) == left(alone[0])


def test_members_at_different_epochs_end_as_if_undisturbed(
    alone: list[Run], prepared: Path, tmp_path: Path
) -> None:
    """As after a kill: each goes on from its own epoch."""
    requests = asked(tmp_path, prepared, RUNS, "epochs=4")
    for number, one in enumerate(requests):
        steps = jobs.steps(one, Workers(0))
        for _ in range((1438 // one.cfg.batch_size) * (number % 4) + 1):  # into the epoch after that one
            next(steps)
        steps.close()
        assert one.run.info["status"] == "interrupted"
        assert len(one.run.history) == 2 * (number % 4)
    assert interleaved.perform(requests, CPU, 3) == {}
    for run, one in zip(alone, requests, strict=True):
        assert left(one.run) == left(run)


def test_a_member_that_another_process_holds_is_named_and_left(prepared: Path, tmp_path: Path) -> None:
    free, held = asked(tmp_path, prepared, RUNS[:2], "epochs=1")
    with held.run.locked():
        failures = interleaved.perform([free, held], CPU, 2)
    assert free.run.is_done()
    assert isinstance(failures[held.name], UsageError)
    assert not (held.run.folder / "run.json").exists()


def test_an_interruption_is_written_to_every_member(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = asked(tmp_path, prepared, RUNS[:2], "epochs=2")
    counted = Admission.stepped

    def interrupted(self: Admission, images: int, present: int) -> None:
        counted(self, images, present)
        if all(one.run.history for one in members):
            raise KeyboardInterrupt

    monkeypatch.setattr(Admission, "stepped", interrupted)
    with pytest.raises(KeyboardInterrupt):
        interleaved.perform(members, CPU, 2)
    assert [one.run.info["status"] for one in members] == ["interrupted"] * 2


def test_a_run_that_waits_for_its_figures_has_no_place_among_those_that_train(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = asked(tmp_path, prepared, RUNS[:2])
    turns = list[str]()

    def steps(one: Request, workers: Workers) -> Iterator[int]:
        turns.append(f"{one.run.folder.name} trains")
        yield 256
        while one is first and "1 is done" not in turns:  # its figures take until the other one is done
            assert turns.count("0 waits") < 9
            turns.append("0 waits")
            yield 0
        turns.append(f"{one.run.folder.name} is done")

    monkeypatch.setattr(jobs, "steps", steps)
    assert interleaved.perform([first, second], CPU, at_once=1) == {}
    waits = "0 waits"
    assert turns == ["0 trains", waits, waits, "1 trains", "1 is done", "0 is done"]


def test_a_run_without_memory_beside_others_is_done_alone(
    alone: list[Run], prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = asked(tmp_path, prepared, RUNS[:2], "epochs=4")
    train, tries = jobs.train, list[str]()

    def crowded(job: Any, run: Run, drawer: Any) -> Any:
        tries.append(run.folder.name)
        steps = train(job, run, drawer)
        for number, images in enumerate(steps):
            if tries.count("1") == 1 and run.folder.name == "1" and number == 7:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
            yield images

    monkeypatch.setattr(jobs, "train", crowded)
    assert interleaved.perform(members, CPU, 2) == {}
    assert tries == ["0", "1", "1"]
    assert [left(one.run) for one in members] == [left(run) for run in alone[:2]]


def test_out_of_memory_is_one_line_with_a_remedy(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = asked(tmp_path, prepared, RUNS[:1], "epochs=1")

    def full(job: Any, run: Run, drawer: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2.00 GiB.")
        yield

    monkeypatch.setattr(jobs, "train", full)
    failures = interleaved.perform([one], CPU, 2)
    assert isinstance(failures[one.name], OutOfMemory)
    assert "with batch_size=256: take a smaller batch_size" in str(failures[one.name])
    assert one.run.info["status"] == "failed"


class Clock(Meter):
    """A device on which so many runs at once bring these images per second, in memory of 100 of which each takes 10."""

    def __init__(self, rates: Sequence[float], free: int = 100) -> None:
        super().__init__(CPU)
        self.rates, self.total, self.time, self.present = rates, free, 0.0, 0

    def now(self) -> float:
        return self.time

    def free(self) -> int:
        return self.total - 10 * self.present


def admitted(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many runs are at work after each of a thousand steps, where there is no end of runs."""
    admission = Admission(clock, None)
    monkeypatch.setattr(interleaved.time, "perf_counter", lambda: clock.time)
    counts = []
    for _ in range(1000):
        clock.present = admission.at_once
        clock.time += 100 / clock.rates[min(clock.present, len(clock.rates)) - 1]
        admission.stepped(100, clock.present)
        counts.append(admission.at_once)
    return counts


@pytest.mark.parametrize(
    ("rates", "free", "most"),
    [
        ([1000, 1900, 2500, 2900, 3000], 100, 5),  # the fifth brought no more: no sixth is let in
        ([1000, 1010], 100, 2),
        ([1000, 2000, 3000, 4000, 5000, 6000], 55, 5),  # of memory there is no more
    ],
)
def test_runs_are_let_in_while_they_pay_and_fit(
    rates: list[float], free: int, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = admitted(Clock(rates, free), monkeypatch)
    assert counts[0] == 1
    assert counts == sorted(counts)
    assert counts[-1] == most


def test_a_device_of_a_cpu_has_time_and_memory() -> None:
    meter = Meter(CPU)
    assert meter.now() <= meter.now()
    assert meter.free() > 2**20


def test_a_run_goes_on_in_the_precision_in_which_it_began(
    prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, moved = (asked(tmp_path / name, prepared, RUNS[:1], "epochs=2")[0] for name in ("whole", "moved"))
    for one in (whole, moved):
        one.cfg.trainer.precision = "auto"
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    jobs.perform(whole)
    steps = jobs.steps(moved, Workers(0))
    for _ in range(len(prepare(moved.cfg).loaders[0]) + 1):  # the second epoch has begun
        next(steps)
    steps.close()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {})  # on another machine
    jobs.perform(moved)
    assert left(moved.run) == left(whole.run)
    assert moved.run.info["precision"] == "bf16"
    assert moved.run.info["chosen_because"]["precision"] == "the run began in it"
