"""README and docs: each command is one, the tree is what the files say of themselves, the keys are all there."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import open_dict

from vaelab import build, config
from vaelab.commands import arguments
from vaelab.keys import SWEEP_ONLY
from vaelab.names import CONF, known_keys
from vaelab.runs.identity import AUTO

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "README.zh.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"vae-(train|sweep|evaluate|report|explore|data|export)\b")


def commands() -> Iterator[tuple[str, str]]:
    """Every command of the pages, in code blocks and in the text, but for those with a NAME to fill in."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = [line.strip() for line in text.splitlines() if line.startswith("    ")]
        inline = [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", text)]
        for line in [*blocks, *inline]:
            line = line.removeprefix("scripts/run ").partition(" #")[0].strip()
            line = re.split(r" [|>] ", line)[0]  # what a shell does with what a command prints
            if (
                "--config-dir conf" in line
            ):  # of files that are on a page: tests/cli/test_own_code.py runs them
                continue
            if COMMAND.match(line) and not re.search(r"\b[A-Z]{3,}\b|\.\.\.", line) and " " in line:
                yield page.name, line


ALL = sorted(set(commands()))


@pytest.mark.parametrize(("page", "line"), ALL, ids=[line for _, line in ALL])
def test_every_command_is_one(page: str, line: str) -> None:
    program, *words = shlex.split(line)
    name = program.removeprefix("vae-")
    if any(word.startswith("foreign=") for word in words):
        name = "foreign"
    if name == "data" and "=" not in words[0]:
        words[0] = f"action={words[0]}"
    given = arguments.read(name, words)
    if given.only_show:
        return
    if any("optuna" in override for override in given.overrides):
        pytest.importorskip("optuna")
    parser = OverridesParser.create()
    overrides = []
    for override in parser.parse_overrides(given.overrides):
        swept = override.is_sweep_override() and override.is_choice_sweep()
        first = next(override.sweep_iterator()) if swept else override.get_value_element_as_str()
        first = 1 if override.input_line == AUTO else first  # of a sweep, which finds its numbers
        overrides += [] if override.is_hydra_override() else [f"{override.key_or_group}={first}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose(name, overrides)
    with open_dict(cfg):
        for key in SWEEP_ONLY:
            cfg.pop(key, None)
    if name in ("train", "sweep"):
        config.drop_settings_of_unchosen_evaluations(cfg)
    config.check(cfg, config.schema_of(name))
    if name in ("train", "sweep"):
        build.check(cfg)


def test_there_are_commands_to_check() -> None:
    assert len(ALL) >= 25
    assert {page for page, _ in ALL} >= {"README.md", "data.md", "gans.md", "sweeps.md", "reports.md"}


def test_the_tree_is_the_first_lines_of_the_files() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    tree = re.findall(r"^ {6}([\w/.]+) {2,}(.+)$", text.partition("## The code")[2], re.MULTILINE)
    package = ROOT / "src" / "vaelab"
    for name, line in tree:
        file = package / name / "__init__.py" if name.endswith("/") else package / name
        docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        assert docstring.splitlines()[0].removesuffix(".") == line, name
    modules = {p.name for p in package.glob("*.py")} - {"__init__.py"}
    packages = {f"{p.parent.name}/" for p in package.glob("*/__init__.py")}
    assert {name for name, _ in tree} == modules | packages


def test_the_keys_of_the_readme_are_keys() -> None:
    text = (
        (ROOT / "README.md").read_text(encoding="utf-8").partition("## Configuration")[2].partition("## ")[0]
    )
    cells = [row.split("|")[1] for row in text.splitlines() if row.startswith("| `")]
    keys = [key for cell in cells for key in re.findall(r"`([\w.]+)`", cell)]
    assert len(keys) > 20
    assert set(keys) <= set(known_keys("train"))
    top = {key for key in known_keys("train") if "." not in key} - {"hydra"}
    assert top - set(keys) == set(), "every key of the first level stands in the table"


def parts(page: str) -> dict[str, list[str]]:
    """What a README has in any language: commands, keys and their defaults, code in the text, links and pictures."""
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks = [line.partition(" #")[0].strip() for line in text.splitlines() if line.startswith("    ")]
    rows = [re.split(r"(?<!\\)\|", line)[1:] for line in text.splitlines() if line.startswith("| `")]
    return {
        "commands": [line for line in blocks if re.match(r"(scripts/run )?vae-|for player", line)],
        "keys": [row[0] for row in rows],
        "defaults": [code for row in rows for code in re.findall(r"`[^`]+`|\d[\de.-]*", row[1])],
        "choices": [code for row in rows for code in sorted(re.findall(r"`[^`]+`", row[2]))],
        "links": re.findall(r"\]\(([^)]+)\)", text.partition("## ")[2]),
        "python": [
            line.partition("  #")[0]
            for line in text.partition("```python")[2].partition("```")[0].splitlines()
        ],
    }


def test_the_readmes_say_the_same_in_both_languages() -> None:
    english, chinese = parts("README.md"), parts("README.zh.md")
    for name, found in english.items():
        assert len(found) > 5
        assert chinese[name] == found or name == "links", name
    assert [link for link in chinese["links"] if link != "README.md"] == english["links"]


def test_no_blank_line_breaks_a_table() -> None:
    for page in PAGES:
        for block in page.read_text(encoding="utf-8").split("\n\n"):
            lines = block.strip("\n").splitlines()
            if lines and lines[0].startswith("| "):
                assert lines[1].startswith("|---"), f"{page.name}: {lines[0]} has no head"


def test_every_experiment_is_on_its_page() -> None:
    named = re.findall(r"`(\w+)`", (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8"))
    assert {path.stem for path in (CONF / "experiment").glob("*.yaml")} <= set(named)


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"
