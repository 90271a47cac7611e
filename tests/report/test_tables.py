"""Tables for papers: their numbers are those of the runs, their LaTeX is whole, their best is the best."""

import csv
import math
import re
import statistics
from pathlib import Path

import pytest

from vaelab import UsageError, report
from vaelab.report import tables
from vaelab.report.reading import collect

from .conftest import Make, measured, of_samples


def written(folder: Path, *names: str) -> dict[str, str]:
    found = report.write(str(folder), folder / "report", ["vae-report"], 60, names)
    return {file.name: file.read_text(encoding="utf-8") for file in found.tables}


def body(text: str) -> list[list[str]]:
    """The cells of each row between the rules."""
    inside = text.partition("\\midrule\n")[2].partition("\\bottomrule")[0]
    return [line.removesuffix(" \\\\").split(" & ") for line in inside.splitlines()]


@pytest.fixture
def seeds(run: Make, tmp_path: Path) -> Path:
    for seed, (elbo, psnr) in enumerate(((-100.0, 20.0), (-102.0, 21.0), (-101.0, 22.0))):
        run(f"vae/one-{seed}", 1.0, seed=seed, metrics=measured(elbo, 20.0 + seed, psnr, 0.8))
    run("vae/five", 5.0, metrics=measured(-120.0, 5.0, 18.0, 0.7))
    run("ae/default", None, metrics={"reconstruction": 70.0, "psnr": 25.0, "ssim": 0.9})
    return tmp_path / "outputs"


def test_seeds_are_a_mean_with_its_deviation_and_the_best_is_bold(seeds: Path) -> None:
    found = written(seeds, "rate_distortion")
    assert set(found) == {"1-digits-rate_distortion.tex", "1-digits-rate_distortion.csv"}
    text = found["1-digits-rate_distortion.tex"]
    deviation = statistics.stdev([80.0, 81.0, 79.0])
    assert body(text) == [
        [
            "conv\\_vae",
            "1",
            "21.00 $\\pm$ 1.00",
            rf"80.00 $\pm$ {deviation:.2f}",
            "\\textbf{101.00} $\\pm$ 1.00",
        ],
        ["conv\\_vae", "5", "5.00", "115.00", "120.00"],
        ["conv\\_ae", "--", "--", "\\textbf{70.00}", "--"],
    ]
    assert text.splitlines()[0].startswith(
        "% digits, test split; mean ± standard deviation of 3 runs; needs \\usepackage{booktabs}"
    )
    assert text.count("{") == text.count("}")


def test_the_csv_has_the_same_numbers_in_full(seeds: Path) -> None:
    rows = list(csv.DictReader(written(seeds, "elbo")["1-digits-elbo.csv"].splitlines()))
    assert [(row["model"], row["kl_weight"], row["runs"]) for row in rows] == [
        ("conv_vae", "1", "3"), ("conv_vae", "5", "1"), ("conv_ae", "", "1"),
    ]  # fmt: skip
    assert float(rows[0]["elbo"]) == -101
    assert float(rows[0]["elbo_std"]) == 1
    assert rows[1]["elbo_std"] == rows[2]["elbo"] == ""


def test_images_samples_and_single_numbers_are_tables(seeds: Path, run: Make) -> None:
    run("vae/hundred", 100.0, metrics=measured(-200.0, 0.0, 10.0, 0.2) | of_samples(0.31, 0.012, 0.021))
    found = written(seeds, "images", "samples", "ssim")
    heads = {name: text.splitlines()[3] for name, text in found.items() if name.endswith("tex")}
    assert "PSNR (dB) & SSIM" in heads["1-digits-images.tex"]
    assert "MS-SSIM of pairs & sharpness & distance to training images" in heads["1-digits-samples.tex"]
    assert heads["1-digits-ssim.tex"] == "model & $\\lambda$ & SSIM \\\\"
    assert len(body(found["1-digits-samples.tex"])) == 1, "rows without a number are left out"
    best = [row[2] for row in body(found["1-digits-ssim.tex"]) if "textbf" in row[2]]
    assert best == ["\\textbf{0.900}"]


def test_nats_of_two_likelihoods_have_no_best(run: Make, tmp_path: Path) -> None:
    run("vae/bernoulli", 1.0, metrics=measured(-100.0, 20.0, 20.0, 0.8))
    run("vae/gaussian", 5.0, loss__likelihood="gaussian", metrics=measured(-90.0, 20.0, 21.0, 0.8))
    found = written(tmp_path / "outputs", "elbo", "psnr")
    assert "textbf" not in found["1-digits-elbo.tex"]
    assert "textbf" in found["1-digits-psnr.tex"]


def test_what_no_run_has_is_refused_with_the_nearest_name(seeds: Path) -> None:
    with pytest.raises(UsageError, match=r"tables=psnrr: .*did you mean psnr\?.*rate_distortion") as refused:
        written(seeds, "psnrr")
    assert "\n" not in str(refused.value)
    assert not (seeds / "report" / "index.html").exists()


def test_letters_that_latex_reads_are_escaped(run: Make, tmp_path: Path) -> None:
    run("vae/odd", 1.0, chapter="50% of $x$ & {more}_~^\\#", metrics=measured(-1.0, 1.0, 1.0, 0.1))
    (section,) = collect(str(tmp_path / "outputs"), tmp_path / "report").sections
    (quantity,) = tables.choose(section, "psnr")
    text = tables.latex(section, [quantity])
    assert text.splitlines()[0].startswith("% 50%")
    for line in text.splitlines()[1:]:
        assert not re.search(r"(?<!\\)[%#~^]", line)
    assert tables._plain("a_b%λ") == "a\\_b\\%$\\lambda$"
    assert math.isnan(tables._best(tables.rows(section, [quantity]), quantity))
