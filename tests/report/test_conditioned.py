"""A network that is told λ in the report: its curve beside runs of one λ, what it costs, and its slider."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.report.conftest import SIDE, Make, measured
from vaelab.report import answers, conditioned, plane, write
from vaelab.report.reading import collect
from vaelab.report.records import Section

WEIGHTS = np.array([0.1, 0.5, 1.0, 2.0, 10.0])
RATES = np.array([40.0, 30.0, 20.0, 12.0, 2.0])
DISTORTIONS = np.array([60.0, 62.0, 70.0, 82.0, 120.0])
# Nats of D + λ · KL that it is above each run of one λ.
APART = {0.5: 1.0, 1.0: 2.0, 2.0: -0.3}


def curve(**changes: Any) -> dict[str, dict[str, np.ndarray]]:
    def images(*axes: int) -> np.ndarray:
        return np.full((*axes, SIDE, SIDE, 1), 0.5, np.float32)

    numbers = {"kl_weight": WEIGHTS, "rate": RATES, "distortion": DISTORTIONS}
    numbers |= {"negative_elbo": RATES + DISTORTIONS, "psnr": WEIGHTS, "active_units": WEIGHTS}
    pictures = {"original": images(3), "reconstruction": images(5, 3), "sample": images(5, 3)}
    return {"rate_distortion": numbers | pictures | changes}


@pytest.fixture
def section(run: Make, tmp_path: Path) -> Section:
    """One network for all λ, runs of one λ each, of which λ = 7 is none of its own, and one of another likelihood."""
    run("told", "conditioned", metrics=measured(-90, 20, 20, 0.5), stored=curve())
    for weight, apart in {**APART, 7.0: 0.0}.items():
        rate = 25 / weight
        own = float(np.interp(weight, WEIGHTS, DISTORTIONS) + weight * np.interp(weight, WEIGHTS, RATES))
        distortion = own - apart - weight * rate
        run(f"one-{weight:g}", weight, metrics=measured(-distortion - rate, rate, 20, 0.5))
    run("other", 1.0, metrics=measured(-10, 1, 20, 0.5), loss__likelihood="gaussian")
    return collect(str(tmp_path / "outputs"), tmp_path / "report").sections[0]


def test_the_price_is_that_at_the_weights_that_both_have(section: Section) -> None:
    (line,) = (line for line in section.lines if line.records[0].is_conditioned)
    (said,) = conditioned.prices(section, line)
    mean = sum(APART.values()) / 3
    assert f"costs {mean:.2f} nats of D + λ · KL on average over the 3 λ" in said
    assert "and 2.00 at most, at λ = 1. Below 0" in said
    assert said in dict(answers.paragraphs(section))[line.label]
    (other,) = (own for own in section.lines if len(own.records) == 4)
    assert list(conditioned.prices(section, other)) == []


def test_another_length_of_training_is_said(run: Make, tmp_path: Path) -> None:
    run("told", "conditioned", metrics=measured(-90, 20, 20, 0.5), stored=curve(), epochs=30)
    run("one", 1.0, metrics=measured(-91, 20, 20, 0.5), epochs=10)
    found = collect(str(tmp_path / "outputs"), tmp_path / "report").sections[0]
    said = [s for line in found.lines for s in conditioned.prices(found, line)]
    assert "(it was trained for 30 epochs, they for 10)" in said[0]
    assert "costs −1.00 nats" in said[0]


def test_the_curve_stands_in_the_plane_as_a_line(section: Section) -> None:
    chart = plane.rate_distortion(section, ("bernoulli",))
    assert chart
    (drawn,) = (t for t in chart.traces if "one network for all λ" in t.get("name", ""))
    assert drawn["mode"] == "lines"
    assert drawn["x"] == RATES.tolist()
    assert drawn["y"] == DISTORTIONS.tolist()
    assert drawn["text"][1] == "λ = 0.5"
    assert drawn["meta"] == "told"
    other = plane.rate_distortion(section, ("gaussian", 1.0))
    assert other
    assert not any("one network" in t.get("name", "") for t in other.traces)


def test_it_stands_on_a_line_of_its_own_at_the_weight_it_was_measured_at(section: Section) -> None:
    (record,) = (r for r in section.records if r.is_conditioned)
    assert record.kl_weight == 1.0
    assert "kl_weight=conditioned" in section.labels["told"].split()
    assert "None" not in "".join(section.labels.values())


def test_the_page_has_a_slider_over_its_weights(section: Section, tmp_path: Path) -> None:
    (found,) = conditioned.explorable(section, 1.0)
    assert found["weights"] == ["0.1", "0.5", "1", "2", "10"]
    assert (found["reconstruction"]["rows"], found["reconstruction"]["columns"]) == (5, 3)
    assert found["numbers"][1] == {"rate": "30", "distortion": "62", "−ELBO": "92", "PSNR": "0.5"}
    write(str(tmp_path / "outputs"), tmp_path / "report", ["vae-report"], dpi=40)
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert 'class="along-slider" min="0" max="4"' in page
    assert "One network for all λ costs" in (tmp_path / "report" / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "changes", [{"rate": RATES[:3]}, {"sample": np.zeros((5, 3, SIDE, SIDE, 2), np.float32)}]
)
def test_damaged_arrays_are_named(changes: dict[str, np.ndarray], run: Make, tmp_path: Path) -> None:
    run("told", "conditioned", metrics=measured(-90, 20, 20, 0.5), stored=curve(**changes))
    found = collect(str(tmp_path / "outputs"), tmp_path / "report").sections[0]
    assert conditioned.explorable(found, 1.0) == []
    (problem,) = found.records[0].problems
    assert problem.startswith("arrays/rate_distortion.npz is damaged")
