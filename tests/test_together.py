"""Runs trained as one ensemble: each equals its run alone, survives another's failure, and continues as it began."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, open_dict

from vaelab import UsageError, build, config
from vaelab.models import Ensemble
from vaelab.runs import perform as jobs
from vaelab.runs.folder import Run
from vaelab.runs.job import prepare
from vaelab.runs.request import Request
from vaelab.sweep import together

SMALL = {
    "fc_vae": ["model.hidden=[64]"],
    "conv_vae": ["dataset.size=12", "latent_dim=4", "model.channels=8"],
    "conv_ae": ["dataset.size=12", "latent_dim=4", "model.channels=8"],
    "fc_ae": ["dataset.size=12", "latent_dim=4", "model.hidden=[32,16]"],
    "spatial_vae": ["dataset.size=12", "model.channels=4", "model.code_channels=2"],
    "spatial_ae": ["dataset.size=12", "model.channels=4", "model.code_channels=2"],
}


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prepared")


def composed(prepared: Path, *overrides: str) -> DictConfig:
    common = ["trainer.device=cpu", "trainer.precision=fp32", "evaluation=[]", f"data_dir={prepared}"]
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        cfg = compose("train", [*common, *overrides])
    with open_dict(cfg):  # as ask() does
        return cfg


def asked(folder: Path, prepared: Path, lists: Sequence[Sequence[str]], *shared: str) -> list[Request]:
    """One run for each list of overrides."""
    return [
        Request(composed(prepared, *shared, *own), Run(folder / ",".join(own)), ("test",)) for own in lists
    ]


def differences(a: Run, b: Run) -> dict[str, float]:
    """The largest relative difference of weights, of everything in the checkpoint (by tensor), and of metrics.csv."""
    first, second = a.load_checkpoint(), b.load_checkpoint()
    assert first is not None
    assert second is not None
    assert first[0].keys() == second[0].keys()
    assert first[1] == second[1]
    rows = [
        abs(x[name] - y[name]) / max(abs(x[name]), 1e-30)
        for x, y in zip(a.history, b.history, strict=True)
        for name in x
        if name not in ("split", "seconds") and x[name] != y[name]
    ]
    return {
        "weights": furthest(a.load_weights(), b.load_weights()),
        "checkpoint": furthest(first[0], second[0]),
        "rows": max(rows, default=0.0),
    }


def furthest(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    return max(float((a[name] - b[name]).norm() / a[name].norm().clamp_min(1e-30)) for name in a)


LISTS = {
    "λ": [["kl_weight=0"], ["kl_weight=1"], ["kl_weight=5"]],
    "seed": [["seed=0"], ["seed=1"], ["seed=2"]],
    "lr": [["lr=1e-3"], ["lr=5e-4"], ["lr=1e-4"]],
    "λ and seed": [["kl_weight=0", "seed=0"], ["kl_weight=0", "seed=1"], ["kl_weight=5", "seed=0"]],
}


@pytest.mark.parametrize("listed", LISTS)
@pytest.mark.parametrize("model", ["fc_vae", "conv_vae"])
def test_members_equal_their_runs_alone_after_100_steps(
    model: str, listed: str, tmp_path: Path, prepared: Path
) -> None:
    shared = [f"model={model}", *SMALL[model], "batch_size=32", "epochs=3"]  # 44 steps in an epoch
    alone = asked(tmp_path / "alone", prepared, LISTS[listed], *shared)
    for one in alone:
        jobs.perform(one)
    members = asked(tmp_path / "together", prepared, LISTS[listed], *shared)
    assert together.perform(members) == {}
    for a, b in zip(alone, members, strict=True):
        assert a.run.history[-1]["step"] > 100
        assert all(d <= 1e-5 for d in differences(a.run, b.run).values()), differences(a.run, b.run)
        assert b.run.is_done()
    (first, *others) = [one.run.load_weights() for one in members]
    assert all(furthest(first, other) > 1e-3 for other in others), "the members are not copies of each other"


@pytest.mark.parametrize("model", SMALL)
@pytest.mark.parametrize("extra", [[], ["loss.likelihood=gaussian_learned"], ["trainer.gradient_clip=20"]])
def test_every_model_and_setting_steps_as_alone(
    model: str, extra: list[str], tmp_path: Path, prepared: Path
) -> None:
    shared = [f"model={model}", *SMALL[model], "batch_size=512", "epochs=2", *extra]  # 4 steps
    lists = [["kl_weight=1", "seed=0"], ["kl_weight=3", "seed=1"]]
    alone = asked(tmp_path / "alone", prepared, lists, *shared)
    for one in alone:
        jobs.perform(one)
    members = asked(tmp_path / "together", prepared, lists, *shared)
    assert together.perform(members) == {}
    for a, b in zip(alone, members, strict=True):
        found = differences(a.run, b.run)
        # Moments of gradients that nearly cancel have fewer digits than the weights.
        assert max(found["weights"], found["rows"], found["checkpoint"] / 10) <= 1e-5, found


def test_a_members_checkpoint_continues_alone(tmp_path: Path, prepared: Path) -> None:
    shared = ["model=conv_vae", *SMALL["conv_vae"], "batch_size=512"]
    lists = [["kl_weight=1"], ["kl_weight=3"]]
    alone = asked(tmp_path / "alone", prepared, lists, *shared, "epochs=4")
    for one in alone:
        jobs.perform(one)
    stopped = asked(tmp_path / "both", prepared, lists, *shared, "epochs=4", "trainer.max_seconds=1e-9")
    assert together.perform(stopped) == {}
    assert {(one.run.info["status"], one.run.history[-1]["epoch"]) for one in stopped} == {("interrupted", 1)}
    for a, b in zip(alone, asked(tmp_path / "both", prepared, lists, *shared, "epochs=4"), strict=True):
        finish(b)
        assert all(d <= 1e-5 for d in differences(a.run, b.run).values()), differences(a.run, b.run)


def finish(one: Request) -> None:
    """The run's own command without a limit of time, which is part of a configuration."""
    job = prepare(one.cfg)
    with one.run.locked():
        one.run.start(job.cfg, one.command, jobs.facts(job))
        jobs.train(job, one.run)


@pytest.mark.parametrize("epochs", [(2, 3, 2), (3, 2, 3), (4, 3, 4), (4, 4, 4)])
def test_members_at_different_epochs_end_as_if_undisturbed(
    epochs: tuple[int, ...], tmp_path: Path, prepared: Path
) -> None:
    """As after a kill between the checkpoints of one epoch, or after the last: bit for bit."""
    shared = ["model=conv_vae", *SMALL["conv_vae"], "batch_size=512", "loss.likelihood=gaussian_learned"]
    lists = [["kl_weight=1"], ["kl_weight=3"], ["kl_weight=0"]]
    calm = asked(tmp_path / "calm", prepared, lists, *shared, "epochs=4")
    together.perform(calm)
    kept = {
        epoch: snapshots(tmp_path / f"until {epoch}", prepared, lists, shared, epoch) for epoch in set(epochs)
    }
    torn = asked(tmp_path / "torn", prepared, lists, *shared, "epochs=4")
    for number, (one, epoch) in enumerate(zip(torn, epochs, strict=True)):
        restore(one, kept[epoch][number])
    assert together.perform(torn) == {}
    for a, b in zip(calm, torn, strict=True):
        expected = (a.run.folder / "model.safetensors").read_bytes()
        assert (b.run.folder / "model.safetensors").read_bytes() == expected
        assert differences(a.run, b.run) == {"weights": 0.0, "checkpoint": 0.0, "rows": 0.0}


def test_a_run_that_was_killed_before_it_was_measured_is_not_trained_again(
    tmp_path: Path, prepared: Path
) -> None:
    (one,) = asked(tmp_path, prepared, [["kl_weight=1"]], "model=fc_vae", *SMALL["fc_vae"], "epochs=2")
    jobs.perform(one)
    expected = (one.run.folder / "model.safetensors").read_bytes()
    (one.run.folder / "model.safetensors").unlink()
    one.run.update(status="running")
    before = one.run.history
    jobs.perform(one)
    assert one.run.is_done()
    assert (one.run.folder / "model.safetensors").read_bytes() == expected
    assert one.run.history == before


def snapshots(
    folder: Path, prepared: Path, lists: list[list[str]], shared: list[str], epoch: int
) -> list[tuple[bytes, str]]:
    """Checkpoint and metrics.csv of each member after this epoch."""
    made = asked(folder, prepared, lists, *shared, f"epochs={epoch}")
    together.perform(made)
    files = ("checkpoints/last.safetensors", "metrics.csv")
    return [
        ((one.run.folder / files[0]).read_bytes(), (one.run.folder / files[1]).read_text()) for one in made
    ]


def restore(one: Request, kept: tuple[bytes, str]) -> None:
    job = prepare(one.cfg)
    with one.run.locked():
        one.run.start(job.cfg, one.command, jobs.facts(job))
    one.run.write("checkpoints/last.safetensors", lambda path: path.write_bytes(kept[0]))
    one.run.write_text("metrics.csv", kept[1])


def test_a_member_that_is_lost_does_not_stop_the_others(tmp_path: Path, prepared: Path) -> None:
    shared = ["model=fc_vae", *SMALL["fc_vae"], "batch_size=256", "epochs=2", "loss.likelihood=gaussian"]
    good, bad = asked(tmp_path, prepared, [["lr=1e-3"], ["lr=1e30"]], *shared)
    failures = together.perform([bad, good])
    assert list(failures) == [bad.name]
    assert "the loss is not finite at step 2" in str(failures[bad.name])
    assert (bad.run.info["status"], good.run.info["status"]) == ("failed", "done")
    assert "not finite at step 2" in bad.run.info["reason"]
    (alone,) = asked(tmp_path / "alone", prepared, [["lr=1e-3"]], *shared)
    jobs.perform(alone)
    assert all(d <= 1e-5 for d in differences(alone.run, good.run).values())


def test_a_failed_member_is_told_although_the_time_was_over(tmp_path: Path, prepared: Path) -> None:
    shared = ["model=fc_vae", *SMALL["fc_vae"], "batch_size=256", "loss.likelihood=gaussian"]
    lists = [["lr=1e-3"], ["lr=1e30"]]
    good, bad = asked(tmp_path, prepared, lists, *shared, "epochs=3", "trainer.max_seconds=1e-9")
    assert list(together.perform([good, bad])) == [bad.name]
    assert (good.run.info["status"], bad.run.info["status"]) == ("interrupted", "failed")
    assert not (good.run.folder / "model.safetensors").exists()


def test_a_member_that_another_process_holds_is_named_and_left(tmp_path: Path, prepared: Path) -> None:
    shared = ["model=fc_vae", *SMALL["fc_vae"], "epochs=1"]
    free, held = asked(tmp_path, prepared, [["kl_weight=1"], ["kl_weight=2"]], *shared)
    with held.run.locked():
        failures = together.perform([free, held])
    assert free.run.is_done()
    assert isinstance(failures[held.name], UsageError)
    assert not (held.run.folder / "run.json").exists()


def test_an_interruption_is_written_to_every_member(
    tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    members = asked(tmp_path, prepared, [["seed=1"], ["seed=2"]], "model=fc_vae", *SMALL["fc_vae"])

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(together, "fit", interrupted)
    with pytest.raises(KeyboardInterrupt):
        together.perform(members)
    assert [one.run.info["status"] for one in members] == ["interrupted"] * 2


def test_chunks_are_nearly_equal_and_none_is_too_large(tmp_path: Path, prepared: Path) -> None:
    five: list[Any] = list(range(5))
    assert [len(chunk) for chunk in together.chunks(five, 5)] == [5]
    assert sorted(len(chunk) for chunk in together.chunks(five, 4)) == [2, 3]
    assert [len(chunk) for chunk in together.chunks(five, 1)] == [1] * 5
    assert [one for chunk in together.chunks(five, 2) for one in chunk] == five


def test_the_memory_of_a_member_grows_with_the_batch_and_covers_its_weights(prepared: Path) -> None:
    sizes = []
    for batch in (256, 512):
        job = prepare(composed(prepared, "model=conv_vae", f"batch_size={batch}"))
        sizes.append(together.member_bytes(job))
    weights = sum(p.numel() * 4 for p in job.network.parameters())
    assert 4 * weights < sizes[0] < sizes[1]
    # Two float32 feature maps of the first stage at least (its output and that of its activation).
    assert sizes[1] - sizes[0] > 256 * 32 * 16 * 16 * 4 * 2


def test_the_random_numbers_of_a_seed_do_not_depend_on_the_others() -> None:
    alone = together.Streams([7], torch.device("cpu"))
    alone.seed(3)
    wanted = [alone.noise(torch.empty(4, 2)) for _ in range(3)]
    three = together.Streams([5, 7, 5], torch.device("cpu"))
    three.seed(3)
    found = [three.noise(torch.empty(4, 2)) for _ in range(3)]
    for a, b in zip(wanted, found, strict=True):
        assert torch.equal(a, b[1])
        assert torch.equal(b[0], b[2])
        assert not torch.equal(b[0], b[1])


def test_an_unknown_layer_is_refused_in_words() -> None:
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        cfg = compose("train", ["model=fc_vae"])
    networks: list[Any] = [build.model(cfg, (1, 8, 8)) for _ in range(2)]
    for network in networks:
        network.encoder = torch.nn.Sequential(torch.nn.BatchNorm2d(1), network.encoder)
    with pytest.raises(ValueError, match="BatchNorm2d layers cannot be trained together"):
        Ensemble(networks, [2], torch.randn_like)
