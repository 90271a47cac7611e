"""What runs were told: in what they differ, and what they share."""

from pathlib import Path
from typing import Any

import pytest

from tests.report.conftest import Make
from vaelab.report import details
from vaelab.report.reading import collect


def test_what_differs_is_a_table_and_the_rest_one_line(run: Make, tmp_path: Path) -> None:
    for weight, seed in ((0.5, 0), (2.0, 1)):
        run(
            f"{seed}",
            weight,
            seed=seed,
            model__channels=None if seed else 8,
            data_dir=f"/data/{seed}",
            dpi=100 + seed,
        )
    (section,) = collect(str(tmp_path / "outputs"), tmp_path / "report").sections
    table = details.differing_settings(section)
    assert table
    assert table.heads == ("run", "kl_weight", "model.channels", "seed")
    assert tuple(row[1:] for row in table.rows) == (("0.5", "8", "0"), ("2.0", "–", "1"))
    shared = details.common_settings(section)
    assert {"dataset=digits", "epochs=2", "latent_dim=4", "model=conv_vae"} <= set(shared)
    # Handed on, said above, or nothing that trains: where data lie, how figures are drawn.
    assert not any(one.startswith(("model.latent_dim=", "kl_weight=", "data_dir=", "dpi=")) for one in shared)


def test_runs_that_were_told_the_same_have_no_table(run: Make, tmp_path: Path) -> None:
    run("one", 1.0)
    (section,) = collect(str(tmp_path / "outputs"), tmp_path / "report").sections
    assert not details.differing_settings(section)


@pytest.mark.parametrize(
    ("weight", "told"),
    [
        (None, {}),
        (1.0, {"kl_weight": "1.0", "kl_weight_unit": "nats"}),
        (
            "conditioned",
            {
                "kl_weight": "conditioned",
                "kl_weight_unit": "nats",
                "kl_weight_at": "1.0",
                "kl_weight_range": "[0.01, 100.0]",
            },
        ),
    ],
)
def test_settings_of_a_weight_that_a_run_does_not_have_are_not_said(
    weight: Any, told: dict[str, str], run: Make, tmp_path: Path
) -> None:
    run("one", weight, kl_weight_at=1.0, kl_weight_unit="nats")
    (section,) = collect(str(tmp_path / "outputs"), tmp_path / "report").sections
    said = dict(one.split("=", 1) for one in details.common_settings(section))
    assert {key: value for key, value in said.items() if key.startswith("kl_weight")} == told
