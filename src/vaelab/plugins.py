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

from omegaconf import DictConfig, OmegaConf

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
    defined = str(getattr(found, "__module__", ""))
    if not callable(found) or not (defined == module or defined.startswith(f"{module}.")):
        raise UsageError(f"{path}._target_={target}: {_place(module)} defines no {name}")
    return found


def is_foreign(target: str) -> bool:
    """Whether a class is of neither vaelab nor torch."""
    return target.partition(".")[0] not in ("vaelab", "torch")


def foreign(cfg: DictConfig, paths: Iterable[str]) -> dict[str, str]:
    """What is built at some paths of a configuration that is neither vaelab's nor torch's."""
    targets = {path: str(OmegaConf.select(cfg, f"{path}._target_") or "") for path in paths}
    return {path: target for path, target in targets.items() if "." in target and is_foreign(target)}


def refusal(path: str, target: str) -> UsageError:
    """For a class of a module that is not allowed."""
    module = target.rpartition(".")[0]
    return UsageError(
        f"{path}._target_={target} is refused: give plugins=[{module}] if {module} is a module of your own"
    )


def hashes(names: Iterable[str]) -> dict[str, str]:
    """The hash of each module's source, without importing it; raises UsageError for one that is nowhere."""
    return {name: _hash(_source(name)) for name in names}


def recorded(info: Mapping[str, Any], folder: object) -> dict[str, str]:
    """The hashes of the modules that run.json says a run is made of; raises UsageError where these are none."""
    found = info.get("plugins") or {}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise UsageError(f"{folder}: run.json is damaged: plugins are no hashes by name")
    return dict(found)


def refuse_changed(expected: Mapping[str, str], names: Iterable[str], folder: object, remedy: str) -> None:
    """Raises UsageError where a module is not given, or is not as it was, of those with these hashes."""
    given = list(names)
    missing = [name for name in expected if name not in given]
    if missing:
        raise UsageError(f"{folder} is made of modules of a user's own: give plugins=[{','.join(expected)}]")
    for name, value in hashes(expected).items():
        if value != expected[name]:
            raise UsageError(f"{_place(name)} has changed since {folder} was trained: {remedy}")


def _imported(name: str) -> ModuleType:
    _source(name)
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise UsageError(f"plugins=[{name}] cannot be imported: {in_words(error)}") from error


def in_words(error: Exception) -> str:
    """Where in a file an error was raised, and what it says."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "importlib" not in f.filename]
    file, line = (frames[-1].filename, frames[-1].lineno) if frames else ("", None)
    if isinstance(error, SyntaxError):
        file, line = error.filename or "", error.lineno
    told = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return f"{os.path.relpath(file)}, line {line}: {told}" if file else told


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
