"""Who may import whom, read from the source."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "vaelab"

# What each part may import of vaelab; these are open to all: the package root, and what knows no other part.
FOUNDATION = {"UsageError", "Failure", "open_run", "__version__", "files", "machine", "signals", "words"}
ALLOWED = {
    **{name: set() for name in FOUNDATION},
    "config": {"bounds", "mistakes", "names"},
    "bounds": set(),
    "names": set(),
    "mistakes": {"names"},
    "arguments": {"names"},
    "user_files": {"arguments", "names"},
    "compose": {"arguments", "config", "mistakes", "names", "user_files"},
    "streams": set(),
    "older": set(),
    "data": {"bounds"},
    "models": {"bounds"},
    "losses": {"bounds"},
    "metrics": set(),
    "figures": set(),
    "checksums": set(),
    "history": set(),
    "lock": set(),
    "provenance": set(),
    "checkpoint": {"history"},
    "run": {"checkpoint", "checksums", "history", "lock", "older", "provenance"},
    "repair": {"checkpoint", "history", "run"},
    "identity": {"older", "run"},
    "asked": {"config", "identity", "lock", "run"},
    "sweep": {"asked"},
    "workers": {"asked", "job"},
    "evaluations": {"bounds", "metrics", "figures"},
    "report": {"checksums", "figures", "history", "older", "run"},
    "train": {"checkpoint", "run"},
    "build": {"config", "data", "evaluations", "losses", "models"},
    "opened": {"build", "checkpoint", "data", "losses", "run"},
    "job": {
        *("asked", "build", "checkpoint", "data", "evaluations", "figures"),
        *("history", "identity", "losses", "repair", "run", "train"),
    },
    "together": {"asked", "build", "checkpoint", "data", "job", "losses", "models", "train", "workers"},
    "launch": {"asked", "build", "job", "sweep", "together", "workers"},
    "cli": {
        "asked",
        "build",
        "compose",
        "config",
        "data",
        "mistakes",
        "names",
        "streams",
        "figures",
        "job",
        "lock",
        "opened",
        "repair",
        "report",
        "run",
        "workers",
    },
}
HYDRA = {"arguments", "cli", "compose"}
MATPLOTLIB = {"figures"}


def files() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", files(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_follow_the_layout(path: Path) -> None:
    names = imports(path)
    siblings = {n.split(".")[1] for n in names if n.startswith("vaelab.")} - FOUNDATION - {part(path)}
    assert siblings <= ALLOWED[part(path)]
    tops = {n.split(".")[0] for n in names}
    assert "hydra" not in tops or part(path) in HYDRA
    assert "matplotlib" not in tops or part(path) in MATPLOTLIB


@pytest.mark.parametrize(
    "module",
    [
        "vaelab",
        "vaelab.cli",
        "vaelab.run",
        "vaelab.config",
        "vaelab.sweep",
        "vaelab.report",
        "hydra_plugins.vaelab_ensemble.sweeper",
    ],
)
def test_what_answers_help_does_not_import_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    "path", [*files(), PACKAGE / "__init__.py"], ids=lambda p: str(p.relative_to(PACKAGE))
)
def test_every_file_says_what_it_is(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text()))
    assert docstring
    assert path.read_text().startswith('"""')
