"""Every likelihood, regulariser and kind of code goes all the way: trained, opened, measured again, and reported."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from vaelab import config, metrics, open_run
from vaelab.data import Loader
from vaelab.evaluations.base import reconstruct
from vaelab.names import choices
from vaelab.report.reading import collect
from vaelab.runs import measure
from vaelab.runs.folder import Run
from vaelab.runs.perform import perform
from vaelab.runs.request import ask

PARTS = [f"{group}={choice}" for group in ("likelihood", "regulariser") for choice in choices(group)]
SMALL = {
    "fc_vae": ["model.hidden=[8]"],
    "conditional_vae": ["model.channels=4", "model.hidden=8"],
    "ladder_vae": ["model.channels=4", "model.hidden=8", "latent_dim=3"],
    "vq_vae": ["model.channels=4", "model.hidden=8", "model.codes=8", "model.code_dim=2", "latent_dim=3"],
}
CODES = {
    "conditional_vae": {"units": 32, "bits": None, "layers": None},
    "ladder_vae": {"units": 19, "bits": None, "layers": [16, 3]},
    "vq_vae": {"units": 16 * 2, "bits": 16 * 3, "layers": None},
}


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prepared")


@pytest.mark.parametrize(
    "part",
    [
        *PARTS,
        "regulariser.target=5",
        "model=conditional_vae",
        "model=ladder_vae",
        "model=vq_vae",
        "model.quantiser=fsq",
        "model.layout=vector",
    ],
)
def test_a_part_goes_all_the_way(part: str, prepared: Path, tmp_path: Path) -> None:
    group, choice = part.partition("=")[::2]
    model = choice if group == "model" else "vq_vae" if "commitment" in part or "model." in part else "fc_vae"
    overrides = [] if group == "model" else [part]
    overrides += [*SMALL[model], "epochs=1", "evaluation=[test_metrics]", "snapshot_epochs=[]"]
    common = [f"model={model}", "dataset.size=8", "trainer.device=cpu", "trainer.precision=fp32"]
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        cfg = compose("train", [*common, *overrides, f"data_dir={prepared}", f"output_dir={tmp_path}"])
    asked = ask(cfg, {"dataset": "digits", "model": model}, overrides, ["vae-train"])
    perform(asked, processes=0)
    opened = open_run(asked.run.folder)
    network, loss = opened.networks("cpu")
    images = opened.image_set()
    read = measure.context(opened.config, network, loss, images, asked.run.history, torch.device("cpu"), 1)
    before = dict(asked.run.metrics)
    evaluations = {"test_metrics": measure.build.evaluations(opened.config, network, images)["test_metrics"]}
    measure.evaluate(asked.run, evaluations, read, dpi=50)
    assert asked.run.metrics == before
    assert ("bits_per_dim" in before) == (part == "likelihood=discretized_logistic")
    (batch,) = Loader(
        images, "test", batch_size=9999, device=torch.device("cpu"), shuffle=False, drop_last=False
    )
    code = network.encode(batch.images, batch.labels)
    assert torch.isfinite(network.decode(code.mean, batch.labels)).all()
    if model == choice:
        told = asked.run.info["model"]["code"]
        assert {name: told[name] for name in CODES[model]} == CODES[model]
    (record,) = collect(str(tmp_path), tmp_path / "report").sections[0].records
    if group in ("likelihood", "regulariser"):
        assert record.line[group] == choice


def done(prepared: Path, folder: Path, dataset: str, model: str, *overrides: str) -> Run:
    """A run on a CPU in float32 that is measured by test_metrics alone."""
    common = [
        "evaluation=[test_metrics]",
        "snapshot_epochs=[]",
        "trainer.device=cpu",
        "trainer.precision=fp32",
    ]
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        chosen = [f"dataset={dataset}", f"model={model}", f"data_dir={prepared}", f"output_dir={folder}"]
        cfg = compose("train", [*chosen, *common, *overrides])
    asked = ask(cfg, {"dataset": dataset, "model": model}, overrides, ["vae-train"])
    perform(asked, processes=0)
    return Run(asked.run.folder)


@pytest.mark.parametrize(
    ("setting", "kl"),
    [
        (["regulariser.target=20"], 20),
        (["regulariser.capacity=25", "regulariser.capacity_epochs=3", "kl_weight=10"], 25),
    ],
    ids=["target", "capacity"],
)
def test_the_kl_of_tibetan_digits_is_what_was_asked_for(
    setting: list[str], kl: float, shared_data: Path, prepared: Path, tmp_path: Path
) -> None:
    """Within 0.5 nats in training, which is what is held, and within 1 on the test images."""
    source = f"dataset.path={shared_data / 'tibetan_mnist' / 'TibetanMNIST.npz'}"
    run = done(prepared, tmp_path, "tibetan_mnist", "fc_vae", source, "epochs=5", *setting)
    assert [row for row in run.history if row["split"] == "train"][-1]["kl"] == pytest.approx(kl, abs=0.5)
    assert run.metrics["kl"] == pytest.approx(kl, abs=1)
    assert "findings" not in run.info or not run.info["findings"]


def test_a_target_out_of_reach_is_said(prepared: Path, tmp_path: Path) -> None:
    settings = ["dataset.size=8", "latent_dim=2", "model.hidden=[8]", "epochs=1", "regulariser.target=80"]
    run = done(prepared, tmp_path, "digits", "fc_vae", *settings)
    (found,) = run.info["findings"]["test_metrics"]
    assert found.startswith(f"KL {run.metrics['kl']:.1f} of 80 asked for (regulariser.target), with λ at ")


def test_a_conditional_vae_told_wrong_labels_reconstructs_worse(prepared: Path, tmp_path: Path) -> None:
    settings = ["dataset.size=8", *SMALL["conditional_vae"], "latent_dim=2", "epochs=8", "lr=3e-3"]
    settings += ["batch_size=32"]
    run = done(prepared, tmp_path, "digits", "conditional_vae", *settings)
    opened = open_run(run.folder)
    model, data = opened.model(), opened.image_set()
    images, labels = opened.images("test"), torch.from_numpy(data.labels[data.indices("test")])
    with torch.inference_mode():
        right, *wrong = (
            float(metrics.mse(images, reconstruct(model, images, (labels + shift) % 10)).mean())
            for shift in range(10)
        )
    assert right == pytest.approx(run.metrics["mse"], rel=1e-3)
    assert all(right < 0.6 * error for error in wrong)
