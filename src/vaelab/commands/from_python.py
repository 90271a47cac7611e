"""A call from Python: its keys as the words of a command line, in a process that stays as it was found."""

import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.errors import HydraException
from hydra.version import VersionBase
from omegaconf.errors import OmegaConfBaseException

from vaelab import UsageError, machine, mistakes
from vaelab.commands import arguments
from vaelab.commands.arguments import ONE_FOR_ALL, PATHS, TEXTS
from vaelab.names import as_written, holds_list

PLAIN = r"(?!(?:null|true|false|nan|inf)$)[a-z_][\w./-]*"  # text that Hydra's grammar reads as it stands
PER_PROCESS = (GlobalHydra, HydraConfig, VersionBase)  # of which Hydra has one each

# Random numbers, Hydra and the digits of products on a GPU belong to the whole process.
_one_at_a_time = threading.Lock()


def words(command: str, given: Sequence[str], keys: Mapping[str, Any]) -> list[str]:
    """The words of a command line (train, sweep, ...): those given, and the keys with Python values.

    In a sweep a list is several values, but of a key that itself holds a list: there a list of lists is.
    Raises UsageError for a value that no configuration holds, and for options that only show something.
    """
    if odd := [word for word in given if not isinstance(word, str)]:
        raise UsageError(f"{odd[0]!r} is no word of a command line: give 'key=value', or key=value")
    line = [*given, *(_word(command, key, value) for key, value in keys.items())]
    options = arguments.read(command, line).options
    if told := [f"--{name}" for name in arguments.SHOW if name in options]:
        raise UsageError(f"{told[0]} is of the command line: give vae-{command} {told[0]} there")
    return line


@contextmanager
def call(command: str) -> Iterator[None]:
    """Does one call at a time, whatever thread it is of, and leaves Hydra's and torch's state as it was.

    Raises UsageError for what Hydra refuses.
    """
    with _one_at_a_time, _hydra(), _torch():
        try:
            yield
        except (HydraException, OmegaConfBaseException) as error:
            raise UsageError(mistakes.describe(error, command)) from error


def _word(command: str, key: str, value: Any) -> str:
    if key.startswith("-"):
        raise UsageError(f"{key} is an option: give it as a word, vaelab.{command}('{key}=...')")
    value = value.tolist() if hasattr(value, "tolist") else value  # of NumPy or torch
    several = [value]
    if command == "sweep" and _is_list(value) and not _has_one_value(key, value):
        several = list(value)
        if not several:
            raise UsageError(f"{key}=[] is no value: a sweep has a run for each value of a list")
    if key in TEXTS and any(_is_list(one) for one in several):
        raise UsageError(f"{key}={as_written(value)} is not a text")
    if key in PATHS:
        several = [_expanded(one) for one in several]
    return f"{key}={','.join(_written(one, key) for one in several)}"


def _has_one_value(key: str, value: Any) -> bool:
    """Whether a list is one value of its key, in a sweep."""
    if key in (*ONE_FOR_ALL, *TEXTS) or key.startswith("hydra"):
        return True
    return holds_list(key) and not any(map(_is_list, value))


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple | range)


def _expanded(value: Any) -> Any:
    return os.path.expanduser(value) if isinstance(value, str | os.PathLike) else value


def _written(value: Any, key: str) -> str:
    value = value.tolist() if hasattr(value, "tolist") else value
    if value is None or isinstance(value, bool):
        return as_written(value)
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str | os.PathLike):
        text = os.fspath(value)
        is_plain = key not in PATHS and re.fullmatch(PLAIN, text, re.ASCII | re.IGNORECASE)
        return text if is_plain else arguments.escaped(text)
    if _is_list(value):
        return f"[{','.join(_written(one, key) for one in value)}]"
    if isinstance(value, Mapping):
        if odd := [name for name in value if not re.fullmatch(PLAIN, str(name), re.ASCII | re.IGNORECASE)]:
            raise UsageError(f"{key}: {odd[0]!r} is no key of a configuration")
        pairs = (f"{name}:{_written(one, key)}" for name, one in value.items())
        return f"{{{','.join(pairs)}}}"
    kind = type(value).__name__
    raise UsageError(
        f"{key}: a value of type {kind} is in no configuration: give a number, a text, a bool, None, a list or a dict"
    )


@contextmanager
def _hydra() -> Iterator[None]:
    instances = (
        Singleton._instances
    )  # of which no copy would keep what other modules register while they load
    before: dict[type, Singleton] = {kind: instances.pop(kind) for kind in PER_PROCESS if kind in instances}
    try:
        yield
    finally:
        for kind in PER_PROCESS:
            instances.pop(kind, None)
        instances.update(before)


@contextmanager
def _torch() -> Iterator[None]:
    with machine.cores_shared():  # libraries read it when they load
        import torch

    devices = list(range(torch.cuda.device_count()))  # all of which torch.manual_seed has in view
    products = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            if devices:
                torch.set_float32_matmul_precision(products[0])
                torch.backends.cudnn.allow_tf32 = products[1]
