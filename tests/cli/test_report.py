"""vae-report as users call it: on a real sweep, in words when there is nothing or something is damaged."""

import json
import shutil
from pathlib import Path

import pytest

from .conftest import QUICK, Command


@pytest.fixture(scope="module")
def swept(vae: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a sweep of two λ was done, with the line that the sweep prints at its end."""
    cwd = tmp_path_factory.mktemp("swept")
    done = vae("sweep", *QUICK, "kl_weight=0,5", cwd=cwd)
    assert done.returncode == 0, done.stderr
    line = next(line for line in done.stdout.splitlines() if "vae-report " in line)
    (cwd / "next.txt").write_text(line.partition("vae-report ")[2])
    return cwd


def test_what_a_sweep_says_to_do_next_makes_its_report(swept: Path, vae: Command) -> None:
    argument = (swept / "next.txt").read_text().replace("'", "")
    done = vae("report", argument, cwd=swept)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("2 runs on digits: a page of ")
    page = (swept / "outputs" / "report" / "index.html").read_text()
    metrics = [json.loads(p.read_text()) for p in swept.glob("outputs/*/*/*/evaluation/metrics.json")]
    best = max(metrics, key=lambda m: float(m["elbo"]))
    words = f"λ = {best['kl_weight']:g} has the best ELBO: −ELBO is {-best['elbo']:.2f} nats per image"
    assert words in page.replace("\xa0", " ")
    assert (swept / "outputs" / "report" / "report.md").read_text().count("](figures/") == 6


def test_the_report_of_everything_passes_over_itself(swept: Path, vae: Command) -> None:
    for _ in range(2):
        done = vae("report", "dpi=60", cwd=swept)
        assert (done.returncode, done.stdout[:16]) == (0, "2 runs on digits")


def test_tables_for_a_paper_are_written_and_a_name_that_is_none_is_refused(swept: Path, vae: Command) -> None:
    done = vae("report", "dpi=60", "tables=[elbo,images]", cwd=swept)
    assert (done.returncode, done.stderr) == (0, "")
    files = [line.removeprefix("table: ") for line in done.stdout.splitlines() if line.startswith("table: ")]
    assert len(files) == 4
    text = (swept / files[0]).read_text(encoding="utf-8")
    metrics = [json.loads(p.read_text()) for p in swept.glob("outputs/*/*/*/evaluation/metrics.json")]
    assert f"\\textbf{{{min(-m['elbo'] for m in metrics):.2f}}}" in text
    refused = vae("report", "tables=[elbow]", cwd=swept)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "tables=elbow: these runs have no such numbers (did you mean elbo?)" in refused.stderr


def test_no_runs_is_one_line(tmp_path: Path, vae: Command) -> None:
    done = vae("report", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "vae-report: there are no run folders in outputs/**: vae-train makes one, vae-sweep several"
    ]
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_folder_is_said_and_does_not_stop(swept: Path, tmp_path: Path, vae: Command) -> None:
    shutil.copytree(swept / "outputs", tmp_path / "outputs")
    broken = sorted((tmp_path / "outputs").glob("*/*/*/run.json"))[0]
    broken.write_text("")
    done = vae("report", "dpi=60", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("1 runs on digits")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"vae-report: {broken.parent.name}: ")
    assert "damaged" in line


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("run=outputs", "did you mean runs?"),
        ("dpi=0", "dpi=0 is not a whole number from 10 to 1200"),
        ("output_dir=file", "is a file, not a folder"),
    ],
)
def test_mistakes_are_one_line(argument: str, words: str, tmp_path: Path, vae: Command) -> None:
    (tmp_path / "file").write_text("")
    done = vae("report", argument, cwd=tmp_path)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert words in line
