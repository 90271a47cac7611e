"""Run folders of version 0.1.0, kept as it wrote them but for their places, are the same runs as ever."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf

from vaelab import UsageError, config, open_run
from vaelab.names import renamed
from vaelab.report.reading import collect
from vaelab.runs import older
from vaelab.runs.identity import find, identity, run_name

FOLDERS = Path(__file__).parent / "older" / "outputs"
SMALL = ["model=fc_vae", "model.hidden=[4]", "latent_dim=2"]
DONE = [*SMALL, "epochs=2", "evaluation=[test_metrics,reconstructions]", "evaluation.reconstructions.count=2"]
INTERRUPTED = [*SMALL, "epochs=3", "trainer.max_seconds=0.0001", "evaluation=[test_metrics]"]
TIBETAN = [
    "dataset=tibetan_mnist", "dataset.path=/home/someone/TibetanMNIST.npz", *SMALL, "epochs=1", "batch_size=1024",
    "evaluation=[test_metrics]",
]  # fmt: skip


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to which the older project has moved."""
    shutil.copytree(FOLDERS, tmp_path / "outputs")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def composed(overrides: list[str]) -> DictConfig:
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        return compose("train", overrides)


@pytest.mark.parametrize(
    ("dataset", "overrides"), [("digits", DONE), ("digits", INTERRUPTED), ("tibetan_mnist", TIBETAN)]
)
def test_the_same_command_finds_the_run(project: Path, dataset: str, overrides: list[str]) -> None:
    parent = project / "outputs" / dataset / "fc_vae"
    name = run_name(overrides)
    assert (parent / name).is_dir()
    assert find(parent, name, composed(overrides), rerun=False).folder == parent / name
    other = composed([*overrides, "lr=0.5"])
    assert find(parent, name, other, rerun=False).folder == parent / f"{name}-2"


ADVERSARIAL = {"_target_": "vaelab.losses.Adversarial"}
WEIGHED = {"_target_": "vaelab.losses.regularisers.KL", "kl_weight": 0.0}
ELBO = {"_target_": "vaelab.losses.ELBO"}


@pytest.mark.parametrize(
    ("info", "cfg", "family"),
    [
        (
            {"model": {"family": "GAN", "prior": None, "code": None}},
            {"loss": {"_target_": "mine.Game"}},
            "GAN",
        ),
        ({"model": {"family": "VAE"}}, {"loss": ADVERSARIAL}, "VAE"),
        ({}, {"loss": ADVERSARIAL}, "GAN"),
        ({"model": None}, {"loss": ELBO, "regulariser": WEIGHED}, "VAE"),
        ({"model": {"family": 7}}, {"loss": ELBO | {"kl_weight": 1.0}}, "VAE"),
        ({"model": {"prior": "fair coins"}}, {"loss": ELBO, "regulariser": None}, "VAE"),
        ({"model": {"prior": None, "code": {}}}, {"loss": ELBO}, "AE"),
    ],
)
def test_a_run_says_what_its_model_is_or_what_it_said_tells(
    info: dict[str, Any], cfg: dict[str, Any], family: str
) -> None:
    assert older.family(info, cfg) == family


def test_what_no_longer_is_a_setting_is_no_difference() -> None:
    was = {"dataset": {"name": "x", "url": "https://example.org/x.npz", "blob_id": "0" * 40}, "kl_weight": 1}
    assert identity(was) == identity({"dataset": {"name": "x"}, "kl_weight": 1})
    members = {"kl_weight": 1, "trainer": {"max_members": 3}}
    assert identity(members) == identity({"kl_weight": 1, "trainer": {"keep": "last"}})
    assert identity(members) != identity({"kl_weight": 1, "trainer": {"keep": "best"}})


def test_numbers_of_an_older_run_are_checked_once_it_is_measured_again(project: Path) -> None:
    run = open_run(project / "outputs" / "digits" / "fc_vae" / run_name(DONE))
    assert "verified" not in run.info
    assert run.config.evaluation.test_metrics.verify
    assert "verify" not in run.config.evaluation.reconstructions
    mine = {"mine": {"_target_": "x.Y"}, "left_out": None}
    assert identity({"evaluation": mine}) == identity({"evaluation": {"mine": {"_target_": "x.Y"}}})


def test_what_was_not_said_is_what_there_was() -> None:
    measured = {"_target_": "vaelab.evaluations.TestMetrics"}
    then = {
        "lr_schedule": "constant",
        "evaluation": {"test_metrics": {**measured, "examples": 3}, "atlas": {"steps": 15}},
    }
    added = {**measured, "examples": 3, "splits": ["test"], "verify": True}
    now = {**then, "evaluation": {**then["evaluation"], "test_metrics": added}}
    assert identity(then) == identity(now)
    assert identity({"evaluation": {"atlas": {}}})["evaluation"] == {"atlas": {}}
    assert "evaluation" not in identity({"kl_weight": 1})


def test_a_place_that_is_still_there_makes_another_run(project: Path) -> None:
    parent = project / "outputs" / "digits" / "fc_vae"
    run = find(parent, run_name(DONE), composed(DONE), rerun=False)
    file = run.folder / "config.yaml"
    file.write_text(file.read_text().replace("/home/someone/project/data", str(project)))
    assert find(parent, run_name(DONE), composed(DONE), rerun=False).folder == parent / f"{run_name(DONE)}-2"
    same = composed([*DONE, f"data_dir={project}"])
    assert find(parent, run_name(DONE), same, rerun=False).folder == run.folder


def test_a_finished_run_opens_with_its_numbers_and_images(project: Path) -> None:
    folder = project / "outputs" / "digits" / "fc_vae" / run_name(DONE)
    before = sorted(project.rglob("*"))
    run = open_run(folder)
    images = run.images("test")
    assert images.shape == (205, 1, 32, 32)
    mse = float(((run.model().decode(run.model().encode(images).mean).detach() - images) ** 2).mean())
    assert mse == pytest.approx(run.metrics["mse"], rel=1e-4)
    assert run.history[-1]["epoch"] == 2
    assert sorted(project.rglob("*")) == before, "nothing is written"


def test_the_report_reads_its_numbers(project: Path) -> None:
    collection = collect("outputs", project / "outputs" / "report")
    assert not collection.refused
    numbers = {record.folder.name: record.metric("psnr") for record in collection.records}
    assert len(numbers) == 3
    assert (
        numbers[run_name(DONE)]
        == open_run(project / "outputs/digits/fc_vae" / run_name(DONE)).metrics["psnr"]
    )
    assert np.isnan(numbers[run_name(INTERRUPTED)])


def test_images_that_are_nowhere_are_asked_for(project: Path) -> None:
    folder = project / "outputs" / "tibetan_mnist" / "fc_vae" / run_name(TIBETAN)
    with pytest.raises(
        UsageError, match=r"dataset=tibetan_mnist\) are not prepared here: .* dataset.path=PATH"
    ):
        open_run(folder).image_set()


def test_images_given_by_path_are_those_of_the_run(project: Path, shared_data: Path) -> None:
    folder = project / "outputs" / "tibetan_mnist" / "fc_vae" / run_name(TIBETAN)
    path = shared_data / "tibetan_mnist" / "TibetanMNIST.npz"
    given = open_run(folder, path=str(path)).image_set()
    assert len(given.images) == 17768
    assert (project / "data" / "prepared").is_dir()
    found = open_run(folder).image_set()  # from now on, wherever the command is given
    np.testing.assert_array_equal(found.images, given.images)
    other = shared_data / "eyes" / "data.npy"
    with pytest.raises(UsageError, match=r"are not those that .* was trained on"):
        open_run(folder, data_dir="elsewhere", path=str(other)).image_set()


def test_a_run_of_a_loss_that_held_its_parts_is_found_by_both_spellings(project: Path) -> None:
    parent = project / "outputs" / "digits" / "conv_vae"
    folder = (
        parent / "batch_size=64,kl_weight=5,loss.kl_schedule=linear,loss.likelihood=gaussian,loss.sigma=0.5"
    )
    folder.mkdir(parents=True)
    now = [
        "batch_size=64",
        "kl_weight=5",
        "likelihood=gaussian",
        "likelihood.sigma=0.5",
        "regulariser.schedule=linear",
    ]
    values = OmegaConf.to_container(composed(now), resolve=True)
    assert isinstance(values, dict)
    then = {
        key: value for key, value in values.items() if key not in ("likelihood", "regulariser", "lr_schedule")
    }
    then["loss"] = {
        "_target_": "vaelab.losses.ELBO", "kl_weight": 5, "likelihood": "gaussian", "sigma": 0.5, "reduction": "sum",
        "kl_schedule": "linear", "kl_schedule_epochs": 10,
    }  # fmt: skip
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(then)))
    before = [
        "batch_size=64",
        "kl_weight=5",
        "loss.likelihood=gaussian",
        "loss.sigma=0.5",
        "loss.kl_schedule=linear",
    ]
    assert [renamed(override) for override in before] == [*now[:4], now[4]]
    for overrides in (now, before):
        assert find(parent, run_name(overrides), composed(now), rerun=False).folder == folder
    other = composed([*now, "regulariser.capacity=5"])
    assert find(parent, run_name(now), other, rerun=False).folder == parent / run_name(now)
