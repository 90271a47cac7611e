"""Every likelihood, regulariser and kind of code goes all the way: trained, opened, measured again, and reported."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from vaelab import config, open_run
from vaelab.data import Loader
from vaelab.names import choices
from vaelab.report.reading import collect
from vaelab.runs import measure
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
