"""Slopes of the rate–distortion curve, against the optimum of a linear VAE in closed form."""

from pathlib import Path

import numpy as np
import pytest

from tests.report.conftest import Make
from vaelab import spectrum
from vaelab.report import answers, slopes
from vaelab.report.reading import collect
from vaelab.report.records import Section

EIGENVALUES = np.geomspace(100, 0.01, 40)
WEIGHTS = (0.05, 0.1, 0.2, 0.4, 0.8)


def optimum(kl_weight: float) -> dict[str, float]:
    found = spectrum.predict(EIGENVALUES, kl_weight, 1.0, 40)
    return {"kl": found.rate, "reconstruction": found.distortion, "elbo": -found.negative_elbo}


def section(folder: Path) -> Section:
    return collect(str(folder), folder / "report").sections[0]


def test_at_the_optimum_each_slope_is_that_of_its_weight(run: Make, tmp_path: Path) -> None:
    for weight in WEIGHTS:
        for seed in range(2):
            run(f"{weight:g}-{seed}", weight, metrics=optimum(weight), seed=seed)
    found = section(tmp_path / "outputs")
    points = slopes.points(found.lines[0])
    assert [point.kl_weight for point in points] == list(WEIGHTS)
    for point in points[1:-1]:
        # Central differences over a factor of 4 in λ.
        assert point.slopes == pytest.approx([point.kl_weight] * 2, rel=0.15)
    assert points[0].slopes == points[-1].slopes == ()
    (said,) = (s for s in answers.paragraph(found.lines[0]) if "slope" in s)
    assert said.startswith(
        "Between neighbouring λ the slope of distortion against rate lies between the two −λ in 4 of 4 pairs"
    )
    table = slopes.table(found)
    assert table
    assert [row[1] for row in table.rows] == list(WEIGHTS)
    for row, following in zip(table.rows, WEIGHTS[1:], strict=False):
        assert -following <= row[6] <= -row[1]  # type: ignore[operator]


def test_the_training_that_fell_short_of_its_own_loss_is_named(run: Make, tmp_path: Path) -> None:
    """By construction the run of λ = 0.2 has a loss 1 nat above that of the run of λ = 0.1, by its own λ."""
    for weight in WEIGHTS:
        metrics = optimum(weight)
        if weight == 0.2:
            other = optimum(0.1)
            metrics["reconstruction"] = other["reconstruction"] + 0.2 * (other["kl"] - metrics["kl"]) + 1
        run(f"{weight:g}", weight, metrics=metrics)
    said = slopes.sentences(section(tmp_path / "outputs").lines[0])
    assert "2 of 4 pairs" in said[0]
    assert len(said) == 3, "its neighbours on both sides are better"
    assert said[1].startswith("By the loss of λ = 0.2 the runs of λ = 0.1 are 1 nats better")
    assert said[2].startswith("By the loss of λ = 0.2 the runs of λ = 0.4 are")


def test_a_rate_that_rises_with_its_weight_is_no_pair_of_optima(run: Make, tmp_path: Path) -> None:
    """Whatever its slope: 20 is better than 100 by the loss of 100, and the slope from 5 to 20 is sound."""
    for weight, rate, distortion in ((5.0, 10.0, 100.0), (20.0, 0.001, 180.0), (100.0, 0.003, 180.1)):
        metrics = {"kl": rate, "reconstruction": distortion, "elbo": -rate - distortion}
        run(f"{weight:g}", weight, metrics=metrics)
    said = slopes.sentences(section(tmp_path / "outputs").lines[0])
    assert "1 of 2 pairs" in said[0]
    assert said[1:] == [
        "By the loss of λ = 100 the runs of λ = 20 are 0.3 nats better on the test images than those that were trained"
        " for it."
    ]


@pytest.mark.parametrize(
    "changes",
    [{"loss__reduction": "mean"}, {"kl_weight_unit": "pythae"}],
    ids=["mean", "unit"],
)
def test_no_slope_is_told_where_weights_count_in_something_else(
    run: Make, tmp_path: Path, changes: dict[str, str]
) -> None:
    for weight in WEIGHTS:
        run(f"{weight:g}", weight, metrics=optimum(weight), **changes)
    assert slopes.points(section(tmp_path / "outputs").lines[0]) == []


def test_two_weights_are_no_curve(run: Make, tmp_path: Path) -> None:
    for weight in (0.0, 0.1, 1.0):
        run(f"{weight:g}", weight, metrics=optimum(weight or 1e-3))
    assert slopes.sentences(section(tmp_path / "outputs").lines[0]) == []
