"""The pieces of scripts/bench.py on tiny sizes: what it compares computes the same; no timing is asserted."""

import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
TINY = 64  # pictures


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("bench", ROOT / "scripts" / "bench.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bench"] = module  # where worker processes that are not forked look for the classes
    spec.loader.exec_module(module)
    yield module
    del sys.modules["bench"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("bench")


@pytest.mark.parametrize("dataset", ["anime", "tibetan_mnist"])
def test_both_ways_of_training_see_the_same_images_and_compute_the_same_loss(
    bench: ModuleType, shared_data: Path, folder: Path, dataset: str
) -> None:
    extract = {"anime": bench.anime_jpegs, "tibetan_mnist": bench.digit_pngs}[dataset]
    pictures = extract(shared_data, folder, TINY)
    ours = bench.Training(
        *bench.on(dataset, pictures, folder), "batch_size=8", "kl_weight=3", "trainer.precision=fp32"
    )
    plain = bench.PlainTraining(ours, pictures, workers=0)

    batch = next(iter(ours.batches))
    rows = {row: place for place, row in enumerate(ours.job.images.indices("train").tolist())}
    decoded = torch.stack([plain.loader.dataset[rows[row]] for row in batch.index.tolist()])
    decoded = decoded.to(batch.images)
    assert decoded.shape == batch.images.shape
    assert (decoded - batch.images).abs().mean() < 0.02  # the resizing filters differ

    for mine, other in zip(ours.job.network.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(mine, other)
    torch.manual_seed(0)
    ((_, terms),) = ours.criterion(ours.model, batch)
    terms["loss"].backward()
    torch.manual_seed(0)
    loss = plain.loss(batch.images)
    loss.backward()
    torch.testing.assert_close(terms["loss"], loss)
    for mine, other in zip(ours.job.network.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-3, atol=1e-3)


def test_both_ways_of_training_learn_from_as_many_images(
    bench: ModuleType, shared_data: Path, folder: Path
) -> None:
    pictures = bench.digit_pngs(shared_data, folder, TINY)
    ours = bench.Training(*bench.on("tibetan_mnist", pictures, folder), "batch_size=8")
    plain = bench.PlainTraining(ours, pictures, workers=0)
    assert ours.images == plain.images == ours.job.images.sizes()["train"] // 8 * 8
    before = [parameter.clone() for parameter in plain.model.parameters()]
    ours()
    plain()
    assert ours.step == len(plain.loader)
    assert not any(torch.equal(a, b) for a, b in zip(before, plain.model.parameters(), strict=True))
    assert ours.means["loss"] == pytest.approx(plain.mean, rel=0.2)


def test_psnr_and_ssim_agree_with_the_loop_over_scikit_image(
    bench: ModuleType, shared_data: Path, folder: Path
) -> None:
    pictures = bench.anime_jpegs(shared_data, folder, TINY)
    x, y = bench.image_pairs(pictures, folder)
    expected = bench.measured_one_by_one(x, y)
    torch.testing.assert_close(bench.measured(x, y), expected, atol=1e-4, rtol=0, check_dtype=False)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("train_color", {"count": TINY, "batch_size": 8, "rounds": 1}),
        ("train_gray", {"count": TINY, "batch_size": 8, "rounds": 1}),
        ("prepare", {"count": TINY, "rounds": 1}),
        ("metrics", {"count": TINY, "rounds": 1}),
        ("batch_size", {"sizes": (256, 512), "rounds": 1}),
        ("precision", {"counts": (TINY, TINY), "rounds": 1, "batch_size": 8}),
        ("ensemble", {"counts": (200, 200), "rounds": 1, "weights": (0, 1)}),
        ("report", {"runs": 4, "epochs": 1}),
    ],
)
def test_every_bench_reports(
    bench: ModuleType, shared_data: Path, folder: Path, name: str, sizes: dict[str, object]
) -> None:
    lines = list(bench.BENCHES[name](shared_data, folder, **sizes))
    assert lines
    assert all("\n" not in line for line in lines)


def test_start_ends_after_the_first_step(bench: ModuleType, shared_data: Path, folder: Path) -> None:
    overrides = bench.on("tibetan_mnist", bench.digit_pngs(shared_data, folder, TINY), folder)
    overrides += ["batch_size=8", f"output_dir={folder / 'started'}"]
    bench.python(bench.TRAIN_STEP, *overrides)
    (run,) = folder.glob("started/*/*/*/run.json")
    assert json.loads(run.read_text())["status"] == "running"
    assert not (run.parent / "metrics.csv").exists()
    with pytest.raises(subprocess.CalledProcessError):
        bench.python(bench.TRAIN_STEP, *overrides, "epochs=0")


def test_sides_are_measured_in_turn_after_a_round_that_does_not_count(bench: ModuleType) -> None:
    calls: list[str] = []
    seconds = bench.interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
    assert calls == ["a", "b"] * 3
    assert list(seconds) == ["a", "b"]


def test_an_unknown_name_is_refused_in_one_line(
    bench: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main(["train_colour"]) == 2
    refused = capsys.readouterr()
    assert refused.out == ""
    assert refused.err.count("\n") == 1
    assert "did you mean train_color?" in refused.err


def test_missing_images_are_named_in_one_line(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench, "SAMPLES", tmp_path)
    assert bench.main([]) == 2
    refused = capsys.readouterr()
    assert refused.err.count("\n") == 1
    assert str(tmp_path) in refused.err
    assert "VAELAB_SHARED_DATA" in refused.err
