"""What runs were told: in what they differ, and what they share."""

from pathlib import Path

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
