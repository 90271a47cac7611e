"""Completion of command lines: a script for a shell that holds every key, choice and experiment, and asks no program"""

from collections.abc import Iterator
from pathlib import Path
from shlex import quote
from typing import Any, get_type_hints

from vaelab import config
from vaelab.checks import literals
from vaelab.commands.arguments import ACTIONS, PATHS, SHELLS, SHOW, VALUED
from vaelab.names import CONF, choices, groups, known_keys

TEMPLATES = Path(__file__).parent / "shells"  # each with the line COMMANDS, for what the commands take


def script(shell: str) -> str:
    """The completion of all commands for bash, zsh or fish."""
    template = (TEMPLATES / f"completion.{shell}").read_text(encoding="utf-8")
    arms = [_arm(shell, command) for command in commands()]
    names = " ".join(f"vae-{command}" for command in commands())
    paths = "|".join(f"{key}=" for key in PATHS)
    return template.replace("COMMANDS", "\n".join(arms)).replace("NAMES", names).replace("PATHS", paths)


def commands() -> list[str]:
    """The commands, each of which has a file of conf/."""
    return sorted(file.stem for file in CONF.glob("*.yaml"))


def words(command: str) -> list[str]:
    """What may begin a word of a command: keys with =, options, and the actions of vae-data."""
    options = [f"--{name}" for name in sorted({*SHOW, "config-dir", "resolve"} - {"shell-completion"})]
    actions = ACTIONS if command == "data" else ()
    keys = [key for key in known_keys(command) if key not in ("action", "hydra")]
    return [*actions, *(f"{key}=" for key in keys), *options]


def values(command: str) -> list[str]:
    """The words key=value whose values are known: choices of groups, and what a schema lists."""
    known = set(known_keys(command))
    found = {group: choices(group) for group in groups() if group in known}
    found |= {key: listed for key, listed in _listed(config.schema_of(command)) if key in known}
    found |= {"--completion": list(SHELLS), "--cfg": list(VALUED["cfg"])}
    return [f"{key}={value}" for key, listed in found.items() for value in listed]


def _listed(schema: Any, prefix: str = "") -> Iterator[tuple[str, list[str]]]:
    for key, hint in get_type_hints(schema, include_extras=True).items():
        if hint is bool:
            yield f"{prefix}{key}", ["true", "false"]
        elif listed := literals(hint):
            yield f"{prefix}{key}", [str(value) for value in listed]
        elif hint is config.Trainer:
            yield from _listed(hint, f"{key}.")


def _arm(shell: str, command: str) -> str:
    """The words and values of a command, as a case of the shell's."""
    first, then = quote(" ".join(words(command))), quote(" ".join(values(command)))
    if shell == "fish":
        return f"    case vae-{command}\n        set words {_split(first)}\n        set values {_split(then)}"
    if shell == "zsh":
        return f"    vae-{command}) starts=({_split(first)}) values=({_split(then)}) ;;"
    return f"    vae-{command}) words={first} values={then} ;;"


def _split(quoted: str) -> str:
    """The words of a quoted text: none has a sign that a shell reads."""
    return quoted.strip("'")
