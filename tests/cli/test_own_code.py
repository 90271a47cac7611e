"""docs/own_code.md does as it says: its files are written and its commands run, word for word."""

import re
import shlex
from pathlib import Path

import pytest

from tests.cli.conftest import Command
from vaelab.runs.folder import Run

PAGE = Path(__file__).resolve().parents[2] / "docs" / "own_code.md"


@pytest.fixture(scope="module")
def text() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_the_page_does_as_it_says(text: str, vae: Command, tmp_path: Path) -> None:
    files = re.findall(r"```\w+\n# ([\w./]+)\n(.*?)```", text, re.DOTALL)
    for name, body in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(body, encoding="utf-8")
    commands = re.findall(r"^    vae-(\w+) ?(.*)$", text, re.MULTILINE)
    assert [verb for verb, _ in commands] == ["sweep", *["train"] * 4, "evaluate", "train", "report"]
    for verb, words in commands:
        done = vae(verb, *shlex.split(words), cwd=tmp_path)
        assert done.returncode == 0, f"{words}: {done.stderr}"
    runs = {run.folder.name: run for run in (Run(f.parent) for f in tmp_path.rglob("run.json"))}
    assert len(runs) == 7
    assert all(run.is_done() for run in runs.values())
    used = {target for run in runs.values() for target in re.findall(r"my_\w+\.\w+", str(run.stored))}
    defined = set(re.findall(r"^(?:class|def) (\w+)", "\n".join(body for _, body in files), re.MULTILINE))
    assert {target.partition(".")[2] for target in used} >= defined - {"CodeNorms"}
    assert "code_norm" in runs["epochs=2,kl_weight=5"].metrics
    assert "l1" in runs["epochs=2,kl_weight=2,regulariser=sparse"].history[-1]


def test_each_part_takes_fewer_than_thirty_lines(text: str) -> None:
    bodies = re.findall(r"```python\n# my_\w+\.py\n(.*?)```", text, re.DOTALL)
    assert len(bodies) == 6
    for body in bodies:
        assert len(body.splitlines()) < 30
        compile(body, "page", "exec")
