"""Plain interpolations are followed as OmegaConf follows them, and no others are."""

from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from vaelab.interpolations import followed
from vaelab.names import CONF

EXPERIMENTS = sorted(file.stem for file in (CONF / "experiment").glob("*.yaml"))


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["model=dcgan", "kl_weight=3"],
        ["dataset=celeba", "model=fc_ae", "data_dir='a b'"],
        *([f"experiment={name}"] for name in EXPERIMENTS[::3]),
    ],
    ids=str,
)
def test_every_configuration_of_conf(overrides: list[str]) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("train", overrides)
    unresolved = OmegaConf.to_container(cfg, resolve=False)
    assert "${" in str(unresolved)
    assert followed(unresolved) == OmegaConf.to_container(cfg, resolve=True)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"a": 1, "b": {"c": "${a}", "d": ["${b.c}", "x"]}}, {"a": 1, "b": {"c": 1, "d": [1, "x"]}}),
        ({"a": {"x": [1]}, "b": "${a}"}, {"a": {"x": [1]}, "b": {"x": [1]}}),
        ({"a": None, "b": "${a}"}, {"a": None, "b": None}),
        ({"a": "$x {y}"}, {"a": "$x {y}"}),
    ],
)
def test_plain_ones_equal_omegaconf(values: dict[str, Any], expected: dict[str, Any]) -> None:
    assert followed(values) == expected == OmegaConf.to_container(OmegaConf.create(values), resolve=True)


@pytest.mark.parametrize(
    "value",
    [
        "${a}x",
        "${.a}",
        "${oc.env:HOME}",
        "${nothing}",
        "${missing}",
        "\\${a}",
        "${loop}",
        "${a.b}",
        "${${a}}",
    ],
)
def test_others_are_left_to_omegaconf(value: str) -> None:
    assert followed({"a": 1, "missing": "???", "loop": "${loop}", "value": value}) is None
