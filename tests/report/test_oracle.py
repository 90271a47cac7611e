"""The best linear VAE in the report: where its numbers are those of the same images and likelihood."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.report.conftest import Make, arrays
from vaelab import spectrum
from vaelab.report import answers, dimensions, plane, with_oracles
from vaelab.report.reading import collect
from vaelab.report.records import Section

EIGENVALUES = np.array([4.0, 2.0, 1.0, 0.5, 0.25, 0.1])
GAUSSIAN = {"loss__likelihood": "gaussian", "loss__sigma": 1.0}


def section(folder: Path) -> Section:
    found = collect(str(folder / "outputs"), folder / "report")
    return with_oracles(found, folder / "spectrum").sections[0]


def predicted(folder: Path, of: Section, **changes: Any) -> None:
    (folder / "spectrum" / of.dataset).mkdir(parents=True)
    values = {
        "eigenvalues": EIGENVALUES,
        "sigma": np.array(1.0),
        "fingerprint": np.frombuffer(of.fingerprint.encode(), np.uint8),
    }
    np.savez(folder / "spectrum" / of.dataset / "spectrum.npz", **values | changes)


def swept(run: Make) -> None:
    for weight in (0.5, 1.0, 2.0):
        rate = spectrum.predict(EIGENVALUES, weight, 1.0, 4)
        kl = spectrum.kl_per_unit(EIGENVALUES, weight, 1.0, 4)
        numbers = {
            "elbo": -rate.negative_elbo + 0.25,
            "kl": rate.rate,
            "reconstruction": rate.distortion - 0.25,
        }
        run(f"kl_weight={weight:g}", weight, metrics=numbers, stored=arrays(0, 0.5, kl), **GAUSSIAN)


def test_the_prediction_stands_beside_what_was_measured(run: Make, tmp_path: Path) -> None:
    swept(run)
    predicted(tmp_path, section(tmp_path))
    found = section(tmp_path)
    best = spectrum.predict(EIGENVALUES, 1.0, 1.0, 4).negative_elbo
    assert answers.against_linear(found) == [
        f"The best linear VAE has −ELBO {best:.2f} at λ = 1, from the variances of the training images alone; conv_vae"
        f" has {best - 0.25:.2f}, 0.25 nats better. A linear one collapses from λ = 4 on."
    ]
    chart = plane.rate_distortion(found, found.records[0].convention)
    assert chart
    (curve,) = [trace for trace in chart.traces if "linear" in trace.get("name", "")]
    for x, y, told in zip(curve["x"], curve["y"], curve["text"], strict=True):
        one = spectrum.predict(EIGENVALUES, float(told.removeprefix("λ = ")), 1.0, 4)
        assert (x, y) == (pytest.approx(one.rate, abs=0.02), pytest.approx(one.distortion, abs=0.02))
    cascade = dimensions.cascade(found)
    assert cascade
    first, linear, *_ = cascade.traces
    assert first["x"] == [0.5, 1.0, 2.0]
    assert first["y"] == pytest.approx([np.log(4 / weight) / 2 for weight in first["x"]], rel=1e-3)
    assert linear["y"] == pytest.approx([np.log(max(1, 4 / x)) / 2 for x in linear["x"]], abs=2e-3)


@pytest.mark.parametrize(
    "changes",
    [
        {"fingerprint": np.frombuffer(b"others", np.uint8)},
        {"eigenvalues": EIGENVALUES[::-1]},
        {"eigenvalues": np.array([np.nan])},
        {"sigma": np.array(0.0)},
        {"sigma": np.array("text")},
    ],
)
def test_numbers_of_other_images_and_odd_ones_are_left_out(
    changes: dict[str, Any], run: Make, tmp_path: Path
) -> None:
    swept(run)
    predicted(tmp_path, section(tmp_path), **changes)
    assert section(tmp_path).oracle is None


def test_nats_of_another_likelihood_are_not_compared(run: Make, tmp_path: Path) -> None:
    run("kl_weight=1", 1.0)
    predicted(tmp_path, section(tmp_path))
    found = section(tmp_path)
    assert found.oracle is not None
    assert answers.against_linear(found) == []
