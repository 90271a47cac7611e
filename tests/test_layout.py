"""Who may import whom, read from the source."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "src" / "vaelab"

# The floors of the house, from the ground up: a part imports what lies on floors below its own, never above. The
# package root is open to all.
FLOORS = (
    {
        "files",
        "machine",
        "words",
        "bounds",
        "interpolations",
        "gaussians",
        "names",
        "keys",
        "quantities",
        "views",
        "fonts",
    },
    {
        "metrics",
        "mistakes",
        "checks",
        "plugins",
        "embeddings",
        "spectrum",
        "probes",
        "codes",
        "units",
        "trackers",
        "canvas",
    },
    {"config", "moving", "models", "losses", "hardware"},
    {"data", "evaluations", "commands", "conditioning"},
    {"build"},
    {"training", "runs"},
    {"report", "sweep", "schema", "explore", "export", "foreign", "datasets"},
    {"cli"},
    {"functions"},
)
HYDRA = {"cli", "commands"}
MATPLOTLIB = {"canvas", "fonts", "datasets", "report"}


def files() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def part(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def floors() -> set[str]:
    return set().union(*FLOORS)


def floor(name: str) -> int:
    return next(number for number, parts in enumerate(FLOORS) if name in parts)


def module(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


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
    own = floor(part(path))
    for name in names:
        if name.startswith("vaelab.") and name.split(".")[1] in floors():
            other = name.split(".")[1]
            assert other == part(path) or floor(other) < own or {other, part(path)} == FLOORS[5], name
    tops = {n.split(".")[0] for n in names}
    assert "hydra" not in tops or part(path) in HYDRA
    assert "matplotlib" not in tops or part(path) in MATPLOTLIB


def test_no_module_imports_itself_by_a_detour() -> None:
    modules = {module(path): path for path in files()}
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        found = {
            known
            for known in imports(path)
            for known in (known, known.rpartition(".")[0])
            if known in modules
        }
        graph[name] = {other for other in found if other != name and not name.startswith(f"{other}.")}
    assert len(list(TopologicalSorter(graph).static_order())) >= len(modules) > 100


@pytest.mark.parametrize(
    "module",
    [
        "vaelab",
        "vaelab.cli",
        "vaelab.runs.folder",
        "vaelab.config",
        "vaelab.sweep.progress",
        "vaelab.report",
        "vaelab.explore",
        "vaelab.canvas",
        "vaelab.moving",
        "hydra_plugins.vaelab_sweep.sweeper",
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


@pytest.mark.parametrize(
    "path", sorted(PACKAGE.parent.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE.parent))
)
def test_no_file_is_longer_than_300_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 300
