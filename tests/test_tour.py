"""The notebook of docs runs from top to bottom, as a browser would have it run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tests.conftest import ROOT

TOUR = ROOT / "docs" / "tour.ipynb"
EXECUTE = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
NotebookClient(notebook, timeout=580, resources={"metadata": {"path": "."}}).execute()
nbformat.write(notebook, "done.ipynb")
"""


def test_it_is_stored_without_outputs() -> None:
    notebook = nbformat.read(TOUR, 4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) > 8
    assert not any(cell.outputs or cell.execution_count for cell in code)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which it was run, with all cores, so that sweeps start processes from a kernel."""
    folder = tmp_path_factory.mktemp("tour")
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    command = [sys.executable, "-c", EXECUTE, TOUR]
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return folder


@pytest.mark.timeout(600)  # of a busy machine
def test_it_runs_from_top_to_bottom(done: Path) -> None:
    code = [cell for cell in nbformat.read(done / "done.ipynb", 4).cells if cell.cell_type == "code"]
    kinds = [set(output.get("data", ())) for cell in code for output in cell.outputs]
    assert sum("image/png" in kind for kind in kinds) == 6
    assert sum("text/html" in kind for kind in kinds) == 1  # the report
    said = "".join(output.text for cell in code for output in cell.outputs if output.output_type == "stream")
    assert "Warning" not in said
    assert "100%" in said
    costs = [float(line.split()[-2]) for line in said.splitlines() if "its code costs" in line]
    assert len(costs) == 4
    assert costs == sorted(costs, reverse=True)  # the larger λ, the fewer nats


def test_its_runs_are_those_of_the_commands(done: Path) -> None:
    runs = [json.loads(file.read_text()) for file in sorted(done.rglob("run.json"))]
    assert [run["status"] for run in runs] == ["done"] * 5
    swept = [run["sweep"]["strategy"] for run in runs if run["sweep"]]
    expected = "serial" if len(os.sched_getaffinity(0)) == 1 else "parallel"
    assert swept == [expected] * 4 or set(swept) == {"interleaved"}
    assert (done / "outputs" / "report" / "index.html").is_file()
