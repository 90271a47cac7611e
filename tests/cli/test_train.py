"""vae-train through the real command: the run folder, doneness, interruption, equality."""

import json
import signal
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import load_file

import vaelab
from tests.cli.conftest import QUICK, Command, calm_and_killed, started, wait_for_epoch
from vaelab.runs.folder import Run

CONTRACT = [
    *("config.yaml", "run.json", "metrics.csv", "train.log", "model.safetensors"),
    *("checkpoints/last.safetensors", "evaluation/metrics.json"),
]
FIGURES = [
    *("learning_curve", "reconstructions", "prior_samples", "interpolations", "traversals", "latent_space"),
    *(
        "latent_space_tsne",
        "atlas",
        "kl_per_dimension",
        "test_metrics",
        "diversity",
        "sharpness",
        "nearest_neighbours",
        "reconstructions/epoch_0001",
        "reconstructions/epoch_0002",
    ),
]


def test_the_run_folder_holds_the_contract(finished: Path) -> None:
    assert finished.parts[-4:-1] == ("outputs", "digits", "conv_vae")
    assert finished.name == "epochs=2,snapshot_epochs=[1],trainer.precision=fp32"
    assert all((finished / name).is_file() for name in CONTRACT)
    for name in FIGURES:
        assert (finished / "arrays" / f"{name}.npz").is_file()
        with Image.open(finished / "figures" / f"{name}.png") as figure:
            assert min(figure.size) > 200
    leftovers = [p for p in finished.rglob(".*") if p.name != ".lock"]
    assert leftovers == []


def test_run_json_says_how_the_numbers_were_made(finished: Path) -> None:
    info = json.loads((finished / "run.json").read_text())
    assert info["status"] == "done"
    assert info["command"][0] == "vae-train"
    assert info["dataset"]["shape"] == [1, 32, 32]
    assert sum(info["dataset"]["sizes"].values()) == 1797
    assert info["beta_eff"] == 1
    assert info["precision"] == "fp32"
    weights = load_file(finished / "model.safetensors")
    assert info["parameters"] == sum(w.numel() for w in weights.values())
    assert {
        "git_sha",
        "versions",
        "device",
        "seed",
        "seconds",
        "images_per_second",
        "peak_memory_bytes",
    } <= info.keys()
    verified = info["verified"]
    assert verified["by"].startswith("scikit-image ")
    assert verified["images"] == 128
    assert verified["largest_difference"].keys() == {"psnr", "ssim", "kl", "reconstruction"}
    assert all(0 <= difference < 1e-4 for difference in verified["largest_difference"].values())


def test_metrics_csv_has_both_splits_of_each_epoch(finished: Path) -> None:
    rows = Run(finished).history
    assert [(r["epoch"], r["split"]) for r in rows] == [(1, "train"), (1, "val"), (2, "train"), (2, "val")]
    for row in rows:
        assert row["elbo"] == pytest.approx(-(row["reconstruction"] + row["kl"]), rel=1e-5)
        assert row["kl_weight"] == 1
    assert {"mse", "psnr"} <= rows[1].keys()
    assert rows[2]["loss"] < rows[0]["loss"]


def test_metrics_json_is_what_the_arrays_say(finished: Path) -> None:
    metrics = Run(finished).metrics
    with np.load(finished / "arrays" / "test_metrics.npz") as arrays:
        for name in ("mse", "psnr", "ssim"):
            assert metrics[name] == pytest.approx(float(arrays[name].mean()), rel=1e-5)
    assert {"loss", "elbo", "reconstruction", "kl", "active_units"} <= metrics.keys()


def test_the_same_command_again_does_not_train_again(finished: Path, vae: Command) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished.rglob("*")}
    again = vae("train", "epochs=2", "snapshot_epochs=[1]", "trainer.precision=fp32", cwd=finished.parents[3])
    assert again.returncode == 0
    assert "already done" in again.stdout
    assert "psnr" in again.stdout
    assert before == {p: p.stat().st_mtime_ns for p in finished.rglob("*")}


def test_evaluate_from_the_folder_alone_gives_the_same_numbers(
    finished: Path, vae: Command, tmp_path: Path
) -> None:
    moved = tmp_path / "somewhere else"
    assert subprocess.run(["cp", "-r", finished, moved]).returncode == 0
    before = Run(moved).metrics
    (moved / "evaluation" / "metrics.json").unlink()
    for file in [*(moved / "arrays").glob("*.npz"), *(moved / "figures").glob("*.png")]:
        file.unlink()
    done = vae("evaluate", f"run={moved}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert Run(moved).metrics == pytest.approx(before, rel=1e-5)
    figures = {p.name for p in (moved / "figures").glob("*.png")}
    assert figures == {f"{name}.png" for name in FIGURES if "/" not in name}


def test_evaluate_measures_the_best_epoch_as_the_training_did(vae: Command, tmp_path: Path) -> None:
    schedule = ["regulariser.schedule=linear", "regulariser.schedule_epochs=12"]
    settings = [
        *(*QUICK, *schedule, "epochs=6", "trainer.keep=best", "evaluation=[test_metrics]"),
        *("lr=0.1", "lr_warmup_epochs=6"),  # which rises until the steps are too long
        *("train_images=400", "evaluation.test_metrics.splits=[test,train]"),
    ]
    assert vae("train", *settings, cwd=tmp_path).returncode == 0
    (file,) = tmp_path.rglob("run.json")
    run = Run(file.parent)
    kept, before = run.info["training"]["weights_of_epoch"], run.metrics
    assert kept < 6, "this learning rate does better before it is at its full"
    assert before["kl_weight"] == pytest.approx(kept / 12)
    assert run.info["dataset"]["sizes"]["train"] == len(vaelab.open_run(run.folder).images("train")) == 400
    done = vae("evaluate", f"run={run.folder}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert run.metrics == before


def test_evaluate_weighs_the_kl_as_the_run_did_at_its_end(vae: Command, tmp_path: Path) -> None:
    settings = [
        *QUICK,
        "regulariser.schedule=linear",
        "regulariser.schedule_epochs=4",
        "evaluation=[test_metrics]",
    ]
    assert vae("train", *settings, cwd=tmp_path).returncode == 0
    (run,) = (Run(p.parent) for p in tmp_path.rglob("run.json"))
    before = run.metrics
    assert before["kl_weight"] == 0.5
    done = vae("evaluate", f"run={run.folder}", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert run.metrics == pytest.approx(before, rel=1e-5)


def test_evaluate_does_the_chosen_evaluations_only(finished: Path, vae: Command, tmp_path: Path) -> None:
    moved = tmp_path / "run"
    assert subprocess.run(["cp", "-r", finished, moved]).returncode == 0
    for file in (moved / "figures").glob("*.png"):
        file.unlink()
    done = vae("evaluate", f"run={moved}", "evaluation=[reconstructions]", "dpi=40", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [p.name for p in (moved / "figures").glob("*.png")] == ["reconstructions.png"]
    assert Run(moved).metrics == Run(finished).metrics


def test_the_python_door(finished: Path) -> None:
    run = vaelab.open_run(finished)
    images = run.images("test")
    assert images.shape == (run.info["dataset"]["sizes"]["test"], 1, 32, 32)
    model = run.model()
    with torch.no_grad():
        reconstruction = model.decode(model.encode(images).mean)
    mse = (images - reconstruction).square().mean(dim=(1, 2, 3))
    assert run.metrics["mse"] == pytest.approx(float(mse.mean()), rel=1e-4)
    assert run.metrics["psnr"] == pytest.approx(float((-10 * mse.log10()).mean()), rel=1e-4)
    assert run.config.kl_weight == 1
    assert run.history[-1]["epoch"] == 2


def test_the_docstring_of_the_python_door_is_true(finished: Path) -> None:
    import doctest

    parsed = doctest.DocTestParser().get_doctest(
        vaelab.open_run.__doc__ or "", {"open_run": vaelab.open_run, "folder": finished}, "open_run", None, 0
    )
    results = doctest.DocTestRunner().run(parsed)
    assert results.attempted == 6
    assert results.failed == 0


@pytest.mark.parametrize(
    "model", ["conv_ae", "fc_ae", "linear_vae", "resnet_vae", "spatial_ae", "spatial_vae"]
)
def test_every_model_goes_all_the_way(model: str, vae: Command, tmp_path: Path) -> None:
    small = ["model.channels=2", "model.code_channels=2"] if "spatial" in model else []
    done = vae("train", f"model={model}", "epochs=1", "dataset.size=12", *small, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (run,) = (Run(p.parent) for p in tmp_path.rglob("run.json"))
    assert run.info["status"] == "done"
    posterior = model.endswith("vae")
    assert (run.folder / "figures" / "prior_samples.png").exists() == posterior
    assert (run.info["beta_eff"] is not None) == posterior
    assert ("kl" in run.metrics) == ("elbo" in run.history[0]) == posterior


@pytest.mark.parametrize(("seen", "length"), [(1, ["epochs=4"]), (2, ["epochs=12", "batch_size=8"])])
def test_a_killed_run_continues_to_the_same_weights(
    seen: int, length: list[str], vae: Command, data_dir: Path, tmp_path: Path
) -> None:
    """SIGKILL after the first checkpoint or the next, then the same command: bit for bit an undisturbed run."""
    settings = [
        "model=conv_vae",
        "model.channels=8",
        *length,
        "likelihood=gaussian_learned",
        "evaluation=[]",
    ]
    moments = [partial(wait_for_epoch, seen)]
    calm, killed = calm_and_killed("train", settings, moments, data_dir, tmp_path)
    (run,) = (Run(p.parent) for p in killed.rglob("run.json"))
    assert run.info["status"] == "running"
    assert not (run.folder / "model.safetensors").exists()
    continued = vae("train", *settings, cwd=killed)
    assert continued.returncode == 0, continued.stderr
    assert "continues after epoch" in continued.stderr
    (other,) = (Run(p.parent) for p in calm.rglob("run.json"))
    assert (run.folder / "model.safetensors").read_bytes() == (
        other.folder / "model.safetensors"
    ).read_bytes()
    timeless = [[{k: v for k, v in row.items() if k != "seconds"} for row in r.history] for r in (run, other)]
    assert timeless[0] == timeless[1]


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_says_so(number: int, status: int, data_dir: Path, tmp_path: Path) -> None:
    settings = ["model=fc_vae", "epochs=100000", "evaluation=[]"]
    process = started("train", *settings, data_dir=data_dir, cwd=tmp_path, stderr=subprocess.PIPE)
    wait_for_epoch(1, tmp_path, process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status
    assert "Traceback" not in errors
    assert "the same command continues" in errors
    (run,) = (Run(p.parent) for p in tmp_path.rglob("run.json"))
    assert run.info["status"] == "interrupted"


def test_two_processes_in_one_run_folder(data_dir: Path, vae: Command, tmp_path: Path) -> None:
    settings = ["model=fc_vae", "epochs=100000", "evaluation=[]"]
    first = started("train", *settings, data_dir=data_dir, cwd=tmp_path)
    try:
        wait_for_epoch(1, tmp_path, first)
        second = vae("train", *settings, cwd=tmp_path)
    finally:
        first.kill()
        first.wait()
    assert second.returncode == 2
    assert "is in use by another process" in second.stderr


def test_max_seconds_pauses_and_the_same_command_goes_on(vae: Command, tmp_path: Path) -> None:
    settings = [*QUICK, "trainer.max_seconds=0.001", "evaluation=[]"]
    first = vae("train", *settings, cwd=tmp_path)
    (run,) = (Run(p.parent) for p in tmp_path.rglob("run.json"))
    assert (first.returncode, run.info["status"]) == (0, "interrupted")
    assert "max_seconds" in run.info["reason"]
    assert vae("train", *settings, cwd=tmp_path).returncode == 0
    assert run.info["status"] == "done"


def test_rerun_and_changed_configurations_take_new_folders(vae: Command, tmp_path: Path) -> None:
    for extra in ([], ["rerun=true"], ["rerun=true"]):
        assert vae("train", *QUICK, "evaluation=[]", *extra, cwd=tmp_path).returncode == 0
    names = sorted(p.parent.name for p in tmp_path.rglob("run.json"))
    base = "epochs=2,evaluation=[],latent_dim=4"
    assert names == [base, f"{base}-2", f"{base}-3"]
    weights = {p.read_bytes() for p in tmp_path.rglob("model.safetensors")}
    assert len(weights) == 1, "the same seed gives the same weights"


def test_a_loss_that_is_not_finite_stops_with_its_step(vae: Command, tmp_path: Path) -> None:
    done = vae("train", *QUICK, "lr=1e30", "likelihood=gaussian", cwd=tmp_path)
    assert done.returncode == 1
    assert "the loss is not finite at step" in done.stderr
    assert "Traceback" not in done.stderr
    (run,) = (Run(p.parent) for p in tmp_path.rglob("run.json"))
    assert run.info["status"] == "failed"
    assert "the loss is not finite at step" in run.info["reason"]


def test_a_collapsed_posterior_is_said_in_words(vae: Command, tmp_path: Path) -> None:
    done = vae("train", *QUICK, "kl_weight=10000", "epochs=6", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "collapsed: 0 of 4 units active" in done.stdout
    (run,) = (Run(p.parent) for p in tmp_path.rglob("run.json"))
    assert run.info["findings"]["kl_per_dimension"] == ["collapsed: 0 of 4 units active"]
    assert run.info["findings"]["diversity"][0].startswith("mode collapse: the samples are all alike")


def test_kl_weight_reaches_the_sum(vae: Command, tmp_path: Path) -> None:
    assert vae("train", *QUICK, "kl_weight=5", "evaluation=[test_metrics]", cwd=tmp_path).returncode == 0
    (run,) = (Run(p.parent) for p in tmp_path.rglob("run.json"))
    metrics = run.metrics
    assert metrics["loss"] == pytest.approx(metrics["reconstruction"] + 5 * metrics["kl"], rel=1e-5)
    assert metrics["elbo"] == pytest.approx(-(metrics["reconstruction"] + metrics["kl"]), rel=1e-5)
    assert run.info["beta_eff"] == 5
    assert OmegaConf.load(run.folder / "config.yaml").regulariser.kl_weight == 5


def test_an_acgan_is_trained_evaluated_opened_and_continued(
    vae: Command, data_dir: Path, tmp_path: Path
) -> None:
    settings = [
        "model=acgan",
        "model.generator_maps=4",
        "model.discriminator_maps=4",
        "epochs=6",
        "log_every=4",
    ]
    settings += ["snapshot_epochs=[1]", "evaluation.gan_test.epochs=1", "dpi=60"]
    moments = [partial(wait_for_epoch, 2)]
    calm, killed = calm_and_killed("train", settings, moments, data_dir, tmp_path)
    done = vae("train", *settings, cwd=killed)
    assert done.returncode == 0, done.stderr
    assert "gan_test_accuracy" in done.stdout
    (folder,) = calm.glob("outputs/digits/acgan/*")
    same = (killed / folder.relative_to(calm) / "model.safetensors").read_bytes()
    assert (folder / "model.safetensors").read_bytes() == same
    figures = {path.stem for path in (folder / "figures").rglob("*.png")}
    assert figures >= {"adversarial_curves", "samples", "epoch_0001", "class_pairs", "gan_test", "diversity"}
    evaluated = vae("evaluate", f"run={folder}", "evaluation=[class_pairs,diversity]", cwd=tmp_path)
    assert evaluated.returncode == 0, evaluated.stderr
    run = vaelab.open_run(folder, data_dir=str(data_dir))
    model = run.model()
    z = model.draw(3, torch.Generator().manual_seed(0))
    image = model.generate(z, torch.tensor([0, 1, 2]))
    stored = np.load(folder / "arrays" / "class_pairs.npz")["image"]
    np.testing.assert_allclose(image[1].detach().movedim(0, -1), stored[1, 1], atol=1e-6)
    trained = sum(p.numel() for player in model.players().values() for p in player)
    assert run.info["parameters"] == trained
    assert {row["split"] for row in run.history} == {"steps", "train", "val"}


def test_an_acgan_of_images_without_classes_is_refused_in_one_line(vae: Command, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 16, 16), dtype=np.uint8)
    np.save(tmp_path / "images.npy", images)
    done = vae("train", "model=acgan", "dataset=npz", "dataset.path=images.npy", "batch_size=8", cwd=tmp_path)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("vae-train:")]
    assert "acgan needs labelled images of two or more classes: give dataset.attribute=COLUMN" in line
    assert not (tmp_path / "outputs").exists()


def test_moving_pictures_are_of_the_arrays(finished: Path) -> None:
    found = {path.relative_to(finished / "figures").as_posix() for path in finished.rglob("*.gif")}
    assert found == {"interpolations.gif", "traversals.gif", "snapshots/reconstructions.gif"}
    arrays = np.load(finished / "arrays" / "traversals.npz")
    with Image.open(finished / "figures" / "traversals.gif") as picture:
        assert picture.n_frames == 2 * len(arrays["value"]) - 2
        first = np.asarray(picture.convert("L"))[:32, :32]
    assert np.array_equal(first, np.round(arrays["image"][0, 0, ..., 0] * 255))
    with Image.open(finished / "figures" / "snapshots" / "reconstructions.gif") as picture:
        for epoch in (1, 2):
            picture.seek(epoch - 1)
            kept = np.load(finished / "arrays" / "reconstructions" / f"epoch_{epoch:04d}.npz")
            shown = np.asarray(picture.convert("L"))[34:66, :32]
            assert np.array_equal(shown, np.round(kept["reconstruction"][0, ..., 0] * 255))
