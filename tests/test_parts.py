"""Every likelihood and every regulariser goes all the way: trained, opened, measured again, and told in a report."""

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


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("prepared")


@pytest.mark.parametrize("part", [*PARTS, "regulariser.target=5"])
def test_a_part_goes_all_the_way(part: str, prepared: Path, tmp_path: Path) -> None:
    overrides = [part, "model.hidden=[8]", "epochs=1", "evaluation=[test_metrics]", "snapshot_epochs=[]"]
    common = ["model=fc_vae", "dataset.size=8", "trainer.device=cpu", "trainer.precision=fp32"]
    with initialize_config_dir(str(config.CONF), version_base="1.3"):
        cfg = compose("train", [*common, *overrides, f"data_dir={prepared}", f"output_dir={tmp_path}"])
    asked = ask(cfg, {"dataset": "digits", "model": "fc_vae"}, overrides, ["vae-train"])
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
    assert torch.isfinite(network.decode(network.encode(batch.images).mean)).all()
    (record,) = collect(str(tmp_path), tmp_path / "report").sections[0].records
    group, choice = part.partition("=")[::2]
    if "." not in group:
        assert record.line[group] == choice
