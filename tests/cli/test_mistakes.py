"""Every mistake a user may make, through the real commands: one line, status 2, no traceback, nothing written."""

import io
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from PIL import Image

from tests.cli.conftest import QUICK, Command


def refused(done: CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, (done.stdout, done.stderr)
    lines = [line for line in done.stderr.replace("\r", "\n").splitlines() if line.startswith("vae-")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("epohcs=3", ["there is no key epohcs", "epochs"]),
        ("trainer.presicion=fp32", ["trainer.presicion", "trainer.precision"]),
        ("dataset=anim", ["dataset=anim", "did you mean anime"]),
        ("model=conv_vea", ["did you mean conv_vae"]),
        ("dataset_model=anime_acgan", ["dataset_model follows from dataset and model"]),
        ("evaluation.atlas=null", ["evaluation.atlas=null names nothing to build"]),
        ("kl_weight=abc", ["kl_weight=abc", "number"]),
        ("kl_weight=-1", ["kl_weight=-1", "at least 0"]),
        ("epochs=0", ["epochs=0", "at least 1"]),
        ("batch_size=0", ["batch_size=0", "at least 1"]),
        ("batch_size=5000", ["batch_size=5000", "train split", "digits", "at most"]),
        ("dataset.path=nowhere.npz", ["nowhere.npz"]),
        ("trainer.device=cuda", ["no CUDA device"]),
        ("output_dir=/proc/nowhere", ["output_dir", "/proc/nowhere"]),
        ("latent_dim=1000", ["latent_dim=1000", "512"]),
        ("loss=reconstruction", ["kl_weight=0"]),
        ("dataset.size=300", ["300", "dataset.size"]),
    ],
)
def test_on_the_command_line(override: str, words: list[str], vae: Command, tmp_path: Path) -> None:
    if override == "trainer.device=cuda":
        import torch

        if torch.cuda.is_available():
            pytest.skip("a CUDA device is there")
    dataset = ["dataset=npz"] if "path" in override else []
    refused(vae("train", *dataset, override, cwd=tmp_path), *words)
    assert not any(tmp_path.iterdir())


def test_a_misspelt_key_in_an_experiment_file(vae: Command, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nepocs: 3\n")
    done = vae("train", "--config-dir", str(tmp_path), "experiment=mine", cwd=tmp_path)
    refused(done, "there is no key epocs", "did you mean epochs")
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\ntrainer:\n  precison: fp32\n")
    done = vae("train", "--config-dir", str(tmp_path), "experiment=mine", cwd=tmp_path)
    refused(done, "there is no key trainer.precison", "did you mean trainer.precision")
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nmodel:\n  chanels: 3\n")
    done = vae("train", "--config-dir", str(tmp_path), "experiment=mine", cwd=tmp_path)
    refused(done, "there is no key model.chanels", "did you mean model.channels")
    assert not (tmp_path / "outputs").exists()


def jpeg(colour: int = 90, size: tuple[int, int] = (40, 40)) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(colour).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, "JPEG")
    return buffer.getvalue()


def no_images(folder: Path) -> Path:
    (folder / "notes.txt").write_text("no picture")
    return folder


def truncated(folder: Path) -> Path:
    for i in range(60):
        (folder / f"{i:02d}.jpg").write_bytes(jpeg(i))
    (folder / "31.jpg").write_bytes(jpeg()[:700])
    return folder


def mixed_sizes(folder: Path) -> Path:
    for i in range(60):
        (folder / f"{i:02d}.jpg").write_bytes(jpeg(i, (40, 40 + i % 2)))
    return folder


def npz_without_image(folder: Path) -> Path:
    np.savez(folder / "x.npz", pictures=np.zeros((9, 8, 8), np.uint8))
    return folder / "x.npz"


class Evil:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        import os

        return os.mkdir, ("unpickled",)


def pickled(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "x.npz", "w") as archive:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": (1,)})
        archive.writestr("image.npy", header.getvalue() + pickle.dumps(Evil()))
    return folder / "x.npz"


def zip_slip(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "x.zip", "w") as archive:
        for i in range(60):
            archive.writestr(f"{i:02d}.jpg", jpeg(i))
        archive.writestr("../../escaped.jpg", jpeg())
    return folder / "x.zip"


def labels_missing(folder: Path) -> Path:
    np.savez(folder / "x.npz", image=np.zeros((60, 8, 8), np.uint8), label=np.zeros(59, np.int64))
    return folder / "x.npz"


@pytest.mark.parametrize(
    ("make", "dataset", "words"),
    [
        (no_images, "image_folder", ["no images"]),
        (truncated, "image_folder", ["31.jpg", "dataset.on_error=skip"]),
        (mixed_sizes, "image_folder", ["dataset.size="]),
        (npz_without_image, "npz", ["image", "pictures"]),
        (pickled, "npz", ["pickle"]),
        (zip_slip, "image_folder", ["../../escaped.jpg"]),
        (labels_missing, "npz", ["59", "60"]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_in_the_data(
    make: Callable[[Path], Path], dataset: str, words: list[str], vae: Command, tmp_path: Path
) -> None:
    source, cwd = tmp_path / "source", tmp_path / "here"
    source.mkdir()
    cwd.mkdir()
    path = make(source)
    size = ["dataset.size=null"] if make is mixed_sizes else []
    refused(vae("train", f"dataset={dataset}", f"dataset.path={path}", *size, cwd=cwd), *words)
    assert not any(cwd.iterdir())
    assert not (tmp_path / "escaped.jpg").exists()


def test_damaged_images_are_skipped_when_asked(vae: Command, tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    source = truncated(tmp_path / "source")
    done = vae(
        "train", *QUICK, "dataset=image_folder", f"dataset.path={source}", "dataset.on_error=skip", "dataset.size=12",
        "batch_size=8", "evaluation=[]", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "31.jpg" in done.stderr


@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_what_is_not_a_run_folder(folder: str, vae: Command, tmp_path: Path) -> None:
    refused(vae("evaluate", f"run={folder}", cwd=tmp_path), "not a")
    assert not any(tmp_path.iterdir())


def test_a_configuration_that_is_no_longer_the_runs(finished: Path, vae: Command, tmp_path: Path) -> None:
    moved = shutil.copytree(finished, tmp_path / "run")
    config = (moved / "config.yaml").read_text()
    (moved / "config.yaml").write_text(config.replace("name: digits", "name: other_digits"))
    refused(vae("evaluate", f"run={moved}", cwd=tmp_path), "config.yaml was changed", "put it back as it was")


def test_the_traceback_is_there_when_asked_for(
    vae: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    done = vae("train", "kl_weight=-1", cwd=tmp_path)
    assert done.returncode != 0
    assert "Traceback" in done.stderr
