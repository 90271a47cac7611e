"""Runs are put into lines along λ, and units are read from a run where its images are not prepared."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf

from vaelab import UsageError
from vaelab.explore import lines, units


def run(name: str, kl_weight: float | None, *, model: str = "fc_vae", data: str = "x", **config: Any) -> Any:
    values = {
        "kl_weight": 1,
        "regulariser": None if kl_weight is None else {"kl_weight": kl_weight},
        "loss": {},
    }
    values |= {"model": {"_target_": f"vaelab.models.{model}"}, "seed": 0, "epochs": 2, **config}
    return SimpleNamespace(
        config=OmegaConf.create(values),
        metrics={"kl_weight": 3.14159},
        info={"dataset": {"name": "squares", "fingerprint": data, "shape": [1, 8, 8], "classes": ["a"]}},
        run=SimpleNamespace(folder=Path("outputs") / name),
    )


def found(*runs: Any) -> list[tuple[str, tuple[float | None, ...]]]:
    return [(line.name, line.weights) for line in lines._lines(runs)]


def test_runs_that_differ_in_lambda_alone_are_one_line() -> None:
    sweep = [run(f"kl_weight={weight:g}", weight) for weight in (5.0, 0.0, 1.0)]
    elsewhere = run("kl_weight=2", 2.0, data_dir="/moved", output_dir="other", dpi=300, evaluation={"a": {}})
    assert found(run("default", None, model="fc_ae"), *sweep, elsewhere) == [
        ("fc_vae", (0.0, 1.0, 2.0, 5.0)),
        ("fc_ae", (None,)),
    ]


def test_a_run_that_is_told_lambda_is_a_line_of_its_own() -> None:
    told = run("kl_weight=conditioned", 0.0, regulariser={"kl_weight": "conditioned"})
    for runs in ((told, run("a", 1.0), run("b", 2.0)), (run("a", 1.0), run("b", 2.0), told)):
        assert [weights for _, weights in found(*runs)] == [(1.0, 2.0), (None,)]


def test_lines_of_one_model_are_told_apart_by_their_settings() -> None:
    runs = [
        run("dpi=40,epochs=2,evaluation=[a,b],kl_weight=1", 1.0),
        run("epochs=9,kl_weight=1", 1.0, epochs=9),
        run("kl_weight=1,seed=3", 1.0, seed=3),
        run("kl_weight=1-2", 1.0),
        run("kl_weight=1", 1.0, data="y"),
    ]
    names = [name for name, _ in found(*runs)]
    assert names == ["fc_vae: epochs=2", "fc_vae: default", "fc_vae: epochs=9", "fc_vae: seed=3", "fc_vae"]


def test_lambda_is_that_to_which_a_target_has_driven_it() -> None:
    assert lines.kl_weight(run("a", 1.0, regulariser={"kl_weight": 1.0, "target": 20})) == 3.14
    assert lines.kl_weight(run("a", 0.25)) == 0.25
    assert lines.kl_weight(run("a", None)) is None


def test_units_are_those_that_the_run_has_stored(tmp_path: Path) -> None:
    stored: Any = SimpleNamespace(folder=tmp_path, refuse_changed=lambda name: None)
    assert units.stored(stored, 3).measure is None
    (tmp_path / "arrays").mkdir()
    file = tmp_path / units.STORED
    np.savez(file, kl=np.array([0.1, 2.0, 1.0]), active=np.array([False, True, True]))
    assert units.stored(stored, 3).order.tolist() == [1, 2, 0]
    assert units.stored(stored, 3).active.tolist() == [False, True, True]
    assert units.stored(stored, 4).measure is None  # of another network
    file.write_bytes(b"PK no archive")
    with pytest.raises(UsageError, match=r"kl_per_dimension.npz is damaged: vae-evaluate"):
        units.stored(stored, 3)
