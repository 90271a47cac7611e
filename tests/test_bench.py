"""The pieces of scripts/bench.py on tiny sizes: what it compares computes the same; no timing is asserted."""

import json
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bench
from benches import commands, images, measuring, training
from benches.sides import Bare, PlainTraining, Training
from vaelab import hardware
from vaelab.data import Batch
from vaelab.runs.folder import Run

ROOT = Path(__file__).resolve().parent.parent
TINY = 64  # pictures


@pytest.fixture(scope="module")
def samples(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few of the real images, in files like those of all."""
    few = tmp_path_factory.mktemp("samples")
    for name in (images.ANIME, images.DIGITS, images.EYES):
        (few / name).parent.mkdir()
    with (
        zipfile.ZipFile(shared_data / images.ANIME) as every,
        zipfile.ZipFile(few / images.ANIME, "w") as some,
    ):
        for name in sorted(name for name in every.namelist() if name.endswith(".jpg"))[:TINY]:
            some.writestr(name, every.read(name))
    digits = np.load(shared_data / images.DIGITS)
    kept = np.linspace(0, len(digits["image"]) - 1, 4 * TINY).astype(int)
    np.savez(few / images.DIGITS, image=digits["image"][kept], label=digits["label"][kept])
    np.save(few / images.EYES, np.load(shared_data / images.EYES, mmap_mode="r")[:TINY])
    return few


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.fixture(scope="module", params=["anime", "tibetan_mnist"])
def pictures(request: pytest.FixtureRequest, samples: Path, folder: Path) -> tuple[str, Path]:
    """A data set and a folder with a few of its pictures."""
    extract = {"anime": images.anime_jpegs, "tibetan_mnist": images.digit_pngs}[request.param]
    return request.param, extract(samples, folder, TINY)


def trainings(pictures: tuple[str, Path], folder: Path, *overrides: str) -> Training:
    """Training as vae-train does it, on few pictures."""
    return Training(*images.on(*pictures, folder), "batch_size=8", *overrides)


def plain(ours: Training, pictures: tuple[str, Path]) -> PlainTraining:
    return PlainTraining(ours, pictures[1], workers=0)


def first_batch(ours: Training) -> Batch:
    """The first 8 training images."""
    return ours.job.loaders[0].at(torch.arange(8))


def noise(ours: Training) -> torch.Generator:
    """What torch.manual_seed(0) makes of torch's own generator."""
    return torch.Generator(ours.job.device).manual_seed(0)


def assert_same_loss(ours: Training, other: Bare | PlainTraining, network: Any) -> None:
    """Equal weights and noise give the loss of vae-train, and its gradients."""
    batch = first_batch(ours)
    hardware.allow_tf32(ours.job.device, False)
    own = list(ours.job.network.parameters())
    others = list(network.parameters())
    assert all(torch.equal(a, b) for a, b in zip(own, others, strict=True))
    ((_, terms),) = ours.job.criterion(ours.model, batch, noise(ours))
    terms["loss"].backward()
    torch.manual_seed(0)
    loss = other.loss(batch.images)
    loss.backward()
    torch.testing.assert_close(terms["loss"], loss)
    for a, b in zip(own, others, strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("model", ["conv_vae", "fc_vae"])
def test_all_ways_of_training_compute_the_same_loss(
    pictures: tuple[str, Path], folder: Path, model: str
) -> None:
    overrides = [f"model={model}", "kl_weight=3", "trainer.precision=fp32"]
    ours = trainings(pictures, folder, *overrides)
    bare = Bare(ours)
    assert_same_loss(ours, bare, bare.network)
    ours = trainings(pictures, folder, *overrides)
    other = plain(ours, pictures)
    assert_same_loss(ours, other, other.model)


def test_all_ways_of_training_see_the_same_images(pictures: tuple[str, Path], folder: Path) -> None:
    ours = trainings(pictures, folder)
    batch = first_batch(ours)
    images = batch.images.cpu()
    torch.testing.assert_close(Bare(ours).pixels[:8].cpu().permute(0, 3, 1, 2) / 255, images)
    read = plain(ours, pictures).loader.dataset
    decoded = torch.stack([read[row] for row in range(8)])
    assert decoded.shape == images.shape
    assert (decoded - images).abs().mean() < 0.02  # the resizing filters differ


def test_bare_computes_in_the_precision_of_ours(pictures: tuple[str, Path], folder: Path) -> None:
    ours = trainings(pictures, folder, "trainer.precision=bf16")
    bare = Bare(ours)
    batch = first_batch(ours)
    ((_, terms),) = ours.job.criterion(ours.model, batch, noise(ours))
    torch.manual_seed(0)
    assert bare.loss(batch.images).item() == pytest.approx(terms["loss"].item(), rel=1e-5)


def test_all_ways_of_training_learn_from_as_many_images(pictures: tuple[str, Path], folder: Path) -> None:
    ours = trainings(pictures, folder)
    bare, other = Bare(ours), plain(ours, pictures)
    assert ours.images == bare.images == other.images == ours.job.images.sizes()["train"] // 8 * 8
    before = [parameter.detach().clone() for parameter in ours.job.network.parameters()]
    for side, network in ((ours, ours.job.network), (bare, bare.network), (other, other.model)):
        side()
        assert not any(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    assert ours.means["loss"] == pytest.approx(bare.mean, rel=0.2)
    assert ours.means["loss"] == pytest.approx(other.mean, rel=0.2)


def test_runs_in_turn_learn_what_each_learns_alone(pictures: tuple[str, Path], folder: Path) -> None:
    together = [trainings(pictures, folder, f"kl_weight={weight}") for weight in (0, 5)]
    training.InTurn(together)()
    for run, weight in zip(together, (0, 5), strict=True):
        alone = trainings(pictures, folder, f"kl_weight={weight}")
        alone()
        assert run.means == alone.means


def test_psnr_and_ssim_agree_with_the_loop_over_scikit_image(samples: Path, folder: Path) -> None:
    x, y = commands.image_pairs(images.anime_jpegs(samples, folder, TINY), folder)
    expected = commands.measured_one_by_one(x, y)
    torch.testing.assert_close(commands.measured(x, y), expected, atol=1e-4, rtol=0, check_dtype=False)


SMALL = {"counts": (TINY, TINY), "rounds": 1}


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # where torch's compiler is loaded
@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("train_color", {"count": TINY, "batch_size": 8, "rounds": 1}),
        ("train_gray", {"count": TINY, "batch_size": 8, "rounds": 1}),
        ("train", {**SMALL, "batch_size": 8}),
        ("bare", {**SMALL, "batch_size": 8}),
        ("compiled", {**SMALL, "batch_size": 8}),
        ("interleaved", {**SMALL, "weights": (0, 1), "batch_size": 8}),
        ("batch_size", {"sizes": (4, 8), "rounds": 1}),
        ("precision", {**SMALL, "batch_size": 8}),
        ("prepare", {"count": TINY, "rounds": 1}),
        ("metrics", {"count": TINY, "rounds": 1}),
    ],
)
def test_every_bench_reports(
    samples: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, sizes: dict[str, Any]
) -> None:
    monkeypatch.setattr(torch, "compile", lambda method: method)  # which takes minutes here
    lines = list(bench.BENCHES[name](samples, folder, **sizes))
    assert lines
    assert all("\n" not in line for line in lines)


def test_evaluation_compares_a_run_with_one_that_draws_nothing(
    samples: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        commands, "trained", lambda out, *arguments: (8.0 if "evaluation=[]" in arguments else 10.0, 4.0)
    )
    whole, added = commands.evaluation(samples, folder, epochs=2)
    if torch.cuda.is_available():
        assert "the whole command 10 s" in whole
    else:
        assert "10.0 s, training 4.0 s" in whole
        assert added == (
            "evaluations and figures add 2.0 s, 0.5 of the training (target: at most 0.333 of the training, MISSED)"
        )


def test_a_training_is_timed_with_the_command_around_it(samples: Path, folder: Path) -> None:
    few = [*images.on("tibetan_mnist", samples / images.DIGITS, folder), "epochs=1", "batch_size=8"]
    whole, inside = commands.trained(folder, *few, *commands.NOTHING_DRAWN)
    assert 0 < inside < whole


def test_copies_of_a_run_differ_in_their_seeds(tmp_path: Path) -> None:
    commands.copy(ROOT / "tests" / "older" / "outputs" / "tibetan_mnist", tmp_path, 3)
    copies = sorted(path.parent for path in tmp_path.rglob("run.json"))
    for seed, run in enumerate(copies):
        assert f"\nseed: {seed}\n" in (run / "config.yaml").read_text()
        assert Run(run).is_done()
    assert len(copies) == 3


def test_start_ends_after_the_first_step(samples: Path, folder: Path) -> None:
    overrides = images.on("tibetan_mnist", samples / images.DIGITS, folder)
    overrides += ["batch_size=8", f"output_dir={folder / 'started'}"]
    measuring.python(commands.TRAIN_STEP, *overrides)
    (run,) = folder.glob("started/*/*/*/run.json")
    assert json.loads(run.read_text())["status"] == "running"
    assert not (run.parent / "metrics.csv").exists()
    with pytest.raises(subprocess.CalledProcessError):
        measuring.python(commands.TRAIN_STEP, *overrides, "epochs=0")


def test_sides_are_measured_in_turn_after_a_round_that_does_not_count() -> None:
    calls: list[str] = []
    seconds = measuring.side_by_side({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
    assert calls == ["a", "b"] * 3
    assert list(seconds) == ["a", "b"]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (measuring.at_least(0.9567, 0.9, "of bare"), "0.957 of bare (target: at least 0.9, reached)"),
        (measuring.at_most(3.456, 3, "s"), "3.46 s (target: at most 3 s, MISSED)"),
        (measuring.rate(12345.6, 170_000), "12,346 images/s (target: at least 170,000, MISSED)"),
        (measuring.rate(999.4), "999 images/s"),
    ],
)
def test_figures_are_held_against_targets(told: str, expected: str) -> None:
    assert told == expected


@pytest.mark.parametrize(("names", "near"), [(["train_colour"], "train_color"), (["bar"], "bare")])
def test_an_unknown_name_is_refused_in_one_line(
    names: Sequence[str], near: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(names) == 2
    refused = capsys.readouterr()
    assert refused.out == ""
    assert refused.err.count("\n") == 1
    assert f"did you mean {near}?" in refused.err


def test_missing_images_are_named_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "SAMPLES", tmp_path)
    assert bench.main([]) == 2
    refused = capsys.readouterr()
    assert refused.err.count("\n") == 1
    assert str(tmp_path) in refused.err
    assert "VAELAB_SHARED_DATA" in refused.err
