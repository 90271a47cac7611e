"""How far differences are known, against scipy's tests."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tests.report.conftest import Make, arrays
from vaelab.report import answers, differences
from vaelab.report.reading import collect
from vaelab.report.records import Line


def line(folder: Path) -> Line:
    return collect(str(folder), folder / "report").sections[0].lines[0]


def test_over_images_it_is_the_paired_interval(run: Make, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(20, 3, 500), rng.normal(19, 3, 500)
    for weight, values in ((0.0, a), (1.0, b)):
        stored = arrays(0, 0.5, np.ones(4)) | {"test_metrics": {"index": np.arange(500), "psnr": values}}
        run(f"kl_weight={weight:g}", weight, metrics={"psnr": float(values.mean())}, stored=stored)
    found = differences.between(*line(tmp_path / "outputs").groups(), "psnr")
    assert found is not None
    interval = stats.ttest_rel(a, b).confidence_interval(0.95)
    assert found.value - found.half_width == pytest.approx(interval.low, abs=2e-3)
    assert found.value + found.half_width == pytest.approx(interval.high, abs=2e-3)
    (said,) = (s for s in answers.paragraph(line(tmp_path / "outputs")) if "interval" in s)
    assert said.startswith(
        f"PSNR at λ = 0 is {found.value:.2f} ± {found.half_width:.2f} dB (95% interval, paired over"
    )


def test_over_three_seeds_it_is_students(run: Make, tmp_path: Path) -> None:
    elbos = {0.0: (-120.0, -121.0, -119.5), 1.0: (-118.0, -120.5, -119.0)}
    for weight, values in elbos.items():
        for seed, elbo in enumerate(values):
            run(f"{weight:g}-{seed}", weight, metrics={"elbo": elbo}, seed=seed)
    found = differences.between(*line(tmp_path / "outputs").groups(), "elbo", sign=-1)
    assert found is not None
    interval = stats.ttest_rel(*elbos.values()).confidence_interval(0.95)
    assert -found.value - found.half_width == pytest.approx(interval.low)
    assert -found.value + found.half_width == pytest.approx(interval.high)
    assert not found.is_sure
    (said,) = (s for s in answers.paragraph(line(tmp_path / "outputs")) if "interval" in s)
    assert said.endswith("paired over 3 seeds) above that at λ = 1, so there may be none.")


def test_of_other_images_nothing_is_said(run: Make, tmp_path: Path) -> None:
    for weight in (0.0, 1.0):
        index = np.arange(500) + int(weight)
        stored = arrays(0, 0.5, np.ones(4)) | {"test_metrics": {"index": index, "psnr": np.ones(500)}}
        run(f"kl_weight={weight:g}", weight, metrics={"psnr": 20.0 + weight}, stored=stored)
    assert differences.between(*line(tmp_path / "outputs").groups(), "psnr") is None
