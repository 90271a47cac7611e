"""The JSON schema for editors: it takes every file of conf/, and refuses files that are wrong."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from omegaconf import OmegaConf

from vaelab import schema
from vaelab.names import CONF, choices, known_keys

COMMANDS = ("train", "sweep", "evaluate", "foreign", "report", "data", "explore", "export")
FILES = [path for path in sorted(CONF.rglob("*.yaml")) if path.relative_to(CONF).parts[0] != "hydra"]


@pytest.fixture(scope="session")
def validators() -> dict[str, Draft7Validator]:
    found = {name: json.loads(json.dumps(schema.of(name))) for name in COMMANDS}
    for one in found.values():
        Draft7Validator.check_schema(one)
    return {name: Draft7Validator(one) for name, one in found.items()}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(CONF)))
def test_every_file_of_conf_is_taken(file: Path, validators: dict[str, Draft7Validator]) -> None:
    name = file.stem if file.parent == CONF else "train"
    values = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    assert [error.message for error in validators[name].iter_errors(values)] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"kl_wieght": 1},
        {"kl_weight": -1},
        {"kl_weight": "much"},
        {"epochs": 0},
        {"epochs": 1.5},
        {"rerun": 3},
        {"lr_schedule": "cosin"},
        {"dpi": 5000},
        {"trackers": ["tensorbord"]},
        {"reported": [{"metrik": "loss"}]},
        {"trainer": {"device": "gpu"}},
        {"trainer": {"ema": 1}},
        {"model": {"hiden": [400]}},
        {"model": {"_target_": "vaelab.models.fc_vae", "hidden": [400], "latent_dim": 0}},
        {"evaluation": {"prior_samples": {"seeds": 1}}},
        {"defaults": [{"override /model": "conv_va"}]},
        {"defaults": [{"override /modell": "conv_vae"}]},
        {"_target_": "vaelab.losses.ELBO", "reduction": "average"},
        {"_target_": "vaelab.losses.ELBO", "reduktion": "sum"},
    ],
    ids=str,
)
def test_a_wrong_file_is_refused(wrong: Any, validators: dict[str, Draft7Validator]) -> None:
    assert list(validators["train"].iter_errors(wrong))


def test_a_weight_of_a_sweep_may_be_found(validators: dict[str, Draft7Validator]) -> None:
    assert not list(validators["sweep"].iter_errors({"kl_weight": "auto"}))
    assert list(validators["train"].iter_errors({"kl_weight": "auto"}))


def test_an_own_class_and_an_own_choice_are_taken(
    validators: dict[str, Draft7Validator], tmp_path: Path
) -> None:
    assert not list(validators["train"].iter_errors({"_target_": "my_networks.TwoLayers", "width": 200}))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "two_layers.yaml").touch()
    chosen = {"defaults": [{"override /model": "two_layers"}]}
    assert list(validators["train"].iter_errors(chosen))
    assert not list(Draft7Validator(schema.of("train", tmp_path)).iter_errors(chosen))


def test_the_command_prints_types_defaults_and_comments() -> None:
    program = Path(sys.executable).parent / "vae-train"
    done = subprocess.run([program, "--schema"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout)
    run = printed["else"]["else"]["else"]["properties"]
    assert {key for key in known_keys("train") if "." not in key} - {"experiment", "dataset_model"} <= set(
        run
    )
    assert run["kl_weight"]["description"].startswith("λ, the weight of the KL term")
    assert (run["epochs"]["default"], run["epochs"]["anyOf"][0]["minimum"]) == (30, 1)
    models = run["defaults"]["items"]["anyOf"][1]["patternProperties"]
    (chosen,) = [value for key, value in models.items() if "/?model(" in key]
    assert chosen["anyOf"][0]["enum"] == choices("model")
