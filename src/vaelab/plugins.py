"""A user's own modules: those that a command allows are imported, and nothing of any other is built."""

import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

from vaelab import UsageError

_allowed: dict[str, ModuleType] = {}  # by what this process has been told on its command line, or from Python


def allow(names: Iterable[str]) -> None:
    """Imports modules, whose classes may be built from now on; raises UsageError for one that cannot be imported.

    They are looked for among the installed ones, then in the working folder. Never what a run folder says.
    """
    for name in names:
        _allowed[name] = _imported(name)


def is_of_plugin(target: str) -> bool:
    """Whether a class is of a module that is allowed."""
    return target.rpartition(".")[0] in _allowed


def find(target: str, path: str) -> Callable[..., Any]:
    """The class or function of an allowed module; raises UsageError where it has no such one of its own."""
    module, _, name = target.rpartition(".")
    found = getattr(_allowed[module], name, None)
    # What a module has only imported is no part of it: torch.load is everywhere.
    own = str(getattr(found, "__module__", "")).startswith(module)
    if not callable(found) or not own:
        raise UsageError(f"{path}._target_={target}: {_place(module)} defines no {name}")
    return found


def hashes(names: Iterable[str]) -> dict[str, str]:
    """The hash of each module's source, without importing it; raises UsageError for one that is nowhere."""
    return {name: _hash(_source(name)) for name in names}


def refuse_changed(recorded: Mapping[str, Any], names: Iterable[str], folder: object, remedy: str) -> None:
    """Raises UsageError where a module is not given, or is not as it was, of those that run.json records."""
    given = list(names)
    missing = [name for name in recorded if name not in given]
    if missing:
        raise UsageError(f"{folder} is made of modules of a user's own: give plugins=[{','.join(recorded)}]")
    for name, value in hashes(recorded).items():
        if value != recorded[name]:
            raise UsageError(f"{_place(name)} has changed since {folder} was trained: {remedy}")


def _imported(name: str) -> ModuleType:
    _source(name)
    try:
        return importlib.import_module(name)
    except Exception as error:
        frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
        where = f"{os.path.relpath(frames[-1].filename)}, line {frames[-1].lineno}" if frames else name
        if isinstance(error, SyntaxError):
            where = f"{os.path.relpath(error.filename or name)}, line {error.lineno}"
        told = " ".join(str(error).split())
        raise UsageError(
            f"plugins=[{name}] cannot be imported: {where}: {type(error).__name__}: {told}"
        ) from error


def _source(name: str) -> Path:
    """The file of a module, or the folder of a package; makes the working folder one that modules are found in."""
    if not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name):
        raise UsageError(
            f"plugins: {name!r} is no module: give names as Python imports them, plugins=[my_networks]"
        )
    here = os.getcwd()
    if here not in sys.path:
        sys.path.append(here)  # last, so that a file of the user's takes no library's place
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin in (None, "built-in", "frozen"):
        raise UsageError(f"plugins=[{name}]: there is no module {name} in {here}, nor an installed one")
    origin = Path(str(spec.origin))
    return origin.parent if spec.submodule_search_locations else origin


def _hash(source: Path) -> str:
    digest = sha256()
    for file in sorted(source.rglob("*.py")) if source.is_dir() else [source]:
        digest.update(file.relative_to(source.parent).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _place(name: str) -> str:
    source = _source(name)
    return os.path.relpath(source) if source.is_relative_to(os.getcwd()) else str(source)
