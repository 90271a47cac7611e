"""Every named experiment composes, trains and draws all of its figures, on a few of the real images."""

import csv
import gzip
import itertools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from tests.data import published_samples
from vaelab import UsageError, build, config, open_run
from vaelab.names import experiments
from vaelab.runs import perform as jobs
from vaelab.runs.job import prepare
from vaelab.runs.request import ask

EXPERIMENTS = sorted(p.stem for p in (config.CONF / "experiment").glob("*.yaml"))
IMAGES = 60
# Small and quick; everything else is the experiment's own.
SMALL = ["epochs=1", "batch_size=8", "snapshot_epochs=[]", "trainer.device=cpu"]
SMALLER = {
    "conv": ["model.channels=4"],
    "spatial": ["model.channels=4", "model.code_channels=2"],
    "gan": ["model.generator_maps=4", "model.discriminator_maps=4", "log_every=2"],
}


@pytest.fixture(autouse=True)
def hydra() -> Iterator[None]:
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        yield


@pytest.fixture(scope="module")
def few(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with the first images of each data set, in the files that the experiments look for."""
    folder = tmp_path_factory.mktemp("few")
    with np.load(shared_data / "tibetan_mnist" / "TibetanMNIST.npz") as arrays:
        spread = np.linspace(0, len(arrays["image"]) - 1, IMAGES).astype(int)
        np.savez(folder / "TibetanMNIST.npz", image=arrays["image"][spread], label=arrays["label"][spread])
    (folder / "eyes").mkdir()
    for name in ("data", "label"):
        rows = np.load(shared_data / "eyes" / f"{name}.npy", mmap_mode="r")
        np.save(folder / "eyes" / f"{name}.npy", np.concatenate((rows[: IMAGES // 2], rows[-IMAGES // 2 :])))
    binarized = {"train": IMAGES, "valid": IMAGES // 4, "test": IMAGES // 4}
    with np.load(shared_data / "binarized_mnist" / "binarized_mnist.npz") as arrays:
        np.savez(folder / "binarized_mnist.npz", **{name: arrays[name][:n] for name, n in binarized.items()})
    unpacked = folder / "MNIST" / "raw"  # where torchvision has them, and so without a download
    published_samples.write("mnist", unpacked)
    for packed in unpacked.glob("*.gz"):
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    _first_of_zip(shared_data / "anime" / "anime_tagged_6k", folder / "anime")
    _first_of_zip(shared_data / "faces" / "genki4k_crops64", folder / "faces")
    return folder


def _first_of_zip(source: Path, target: Path) -> None:
    with source.with_suffix(".csv").open(newline="") as lines:
        header, *rows = csv.reader(lines)
    rows = [rows[place] for place in np.linspace(0, len(rows) - 1, IMAGES).astype(int)]
    with target.with_suffix(".csv").open("w", newline="") as lines:
        csv.writer(lines).writerows([header, *rows])
    whole, some = source.with_suffix(".zip"), target.with_suffix(".zip")
    with zipfile.ZipFile(whole) as every, zipfile.ZipFile(some, "w") as few:
        for name, *_ in rows:
            few.writestr(name, every.read(name))


def grid(experiment: str) -> list[list[str]]:
    """The overrides of each run that vae-sweep experiment=NAME does."""
    cfg = compose("sweep", [f"experiment={experiment}"], return_hydra_config=True)
    lists = {str(key): str(values).split(",") for key, values in cfg.hydra.sweeper.params.items()}
    return [
        [f"{key}={value}" for key, value in zip(lists, values, strict=True)]
        for values in itertools.product(*lists.values())
    ]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_run_of_an_experiment_fits_what_it_builds(experiment: str) -> None:
    for overrides in grid(experiment):
        cfg = compose("train", [f"experiment={experiment}", *overrides])
        config.check(cfg, config.Train)
        build.check(cfg)
        build.rehearse(cfg)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_what_was_reported_is_reported_of_some_run(experiment: str) -> None:
    runs = [compose("train", [f"experiment={experiment}", *overrides]) for overrides in grid(experiment)]
    for reported in runs[0].reported:
        when = reported.get("when", {})
        assert any(all(OmegaConf.select(cfg, key) == value for key, value in when.items()) for cfg in runs)


def test_what_an_experiment_sets_of_an_evaluation_is_dropped_with_the_evaluation(tmp_path: Path) -> None:
    def asked_for(*overrides: str) -> DictConfig:
        cfg = compose("train", ["experiment=faces_vae", *overrides])
        return ask(cfg, {"dataset": "faces", "model": "conv_vae"}, [], []).cfg

    assert asked_for().evaluation.prior_samples.count == 32
    assert set(asked_for("evaluation=[reconstructions]").evaluation) == {"reconstructions"}
    (tmp_path / "experiment").mkdir()
    wrong = "# @package _global_\n# a slip\nevaluation: {prior_sample: {count: 3}}\n"
    (tmp_path / "experiment" / "wrong.yaml").write_text(wrong)
    cfg = compose("train", [f"hydra.searchpath=[file://{tmp_path}]", "experiment=wrong"])
    with pytest.raises(UsageError, match=r"evaluation\.prior_sample="):
        ask(cfg, {"dataset": "digits", "model": "conv_vae"}, [], [])


def test_help_lists_every_experiment_with_one_line() -> None:
    lines = experiments().splitlines()
    assert [line.split()[0] for line in lines] == EXPERIMENTS
    assert all(len(line.split(maxsplit=1)[1]) > 20 for line in lines)


@pytest.mark.parametrize(
    ("experiment", "override", "message"),
    [
        (
            "fc_ae_edit",
            "evaluation.latent_edit.edits=[{dim:64,add:1}]",
            "dim=64 is not a dimension of a code of 64",
        ),
        ("eyes_noise", "evaluation.noise_perturbation.index=[1,1798]", "index=1798 is no image"),
    ],
)
def test_images_and_dimensions_that_are_not_there_are_refused_before_training(
    experiment: str, override: str, message: str
) -> None:
    cfg = compose("train", [f"experiment={experiment}", "dataset=digits", override, "trainer.device=cpu"])
    with pytest.raises(UsageError, match=message):
        prepare(cfg)


def reduced(experiment: str) -> tuple[DictConfig, dict[str, Any]]:
    cfg = compose("train", [f"experiment={experiment}", *SMALL], return_hydra_config=True)
    choices = dict(cfg.hydra.runtime.choices)
    smaller = [v for key, values in SMALLER.items() if key in str(choices["model"]) for v in values]
    if "noise_perturbation" in cfg.evaluation:
        smaller.append(f"evaluation.noise_perturbation.index=[1,2,{IMAGES}]")
    return compose("train", [f"experiment={experiment}", *SMALL, *smaller]), choices


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_trains_and_draws_everything(experiment: str, few: Path, tmp_path: Path) -> None:
    cfg, choices = reduced(experiment)
    cfg.data_dir, cfg.output_dir = str(few), str(tmp_path)
    asked = ask(cfg, choices, [f"experiment={experiment}"], ["vae-train"])
    jobs.perform(asked)
    run = open_run(asked.run.folder)
    assert run.info["status"] == "done"
    drawn = {path.stem for path in (asked.run.folder / "figures").glob("*.png")}
    without = {"test_metrics"} if "generator" in run.model().offers else set()
    assert drawn >= set(cfg.evaluation) - without
    assert all(np.isfinite(value) for value in run.metrics.values())
