"""What makes a configuration one run: its name, its identity, and the folder that it has or gets."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vaelab import UsageError
from vaelab.keys import PLACES, without
from vaelab.names import RENAMED, renamed
from vaelab.runs import older
from vaelab.runs.folder import Run

AUTO = "kl_weight=auto"  # of a sweep, whose runs have numbers
# In a name: after = or a bracket or comma, before the end, a comma or bracket, or a number that tells runs apart.
NUMBER = r"(?<=[=\[,])[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?=[,\]]|(?:-\d+)?$)"
LONGEST_NAME = 200  # file systems allow 255 bytes; this leaves room for a suffix


def run_name(overrides: Sequence[str]) -> str:
    """The overrides in alphabetical order without dataset and model, or "default"; of a key given twice the last."""
    given = [o.lstrip("+").replace("'", "") for o in overrides]
    last = {o.split("=")[0]: o for o in given}
    parts = sorted(o for key, o in last.items() if key not in without("is_named"))
    name = re.sub(r"[^\w=,.+\-\[\]~]", "_", ",".join(parts)).lstrip(".") or "default"
    encoded = name.encode()
    if len(encoded) <= LONGEST_NAME:
        return name
    return f"{encoded[:100].decode(errors='ignore')}-{hashlib.sha256(encoded).hexdigest()[:12]}"


def identity(values: Mapping[str, Any]) -> dict[str, Any]:
    """A resolved configuration without what is not part of a run, and without keys that are null.

    So a run folder stays the same run when a later version has keys that it does not know and that are off.
    """
    kept = _without_nulls(older.config(values))
    for path in without("identifies"):
        _pop(kept, path)
    return kept


def is_same(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    """Whether two resolved configurations are one run, which it stays when its data have moved since it was stored."""
    was, now = identity(stored), identity(asked)
    if was == now:
        return True
    for path in PLACES:
        place = _pop(was, path)
        if place is None or (place != "embedded" and Path(str(place)).exists()):
            if place != _pop(now, path):
                return False
        else:  # the fingerprint of the images tells whether they are still those
            _pop(now, path)
    return was == now


def find(parent: Path, name: str, config: Mapping[str, Any], rerun: bool) -> Run:
    """The run of this configuration: the folder that has it, or the first free of name, name-2, name-3, ...

    With rerun, finished runs are passed over.
    """
    asked = resolved(config)
    spellings = _spellings(parent)
    number = 1
    while True:
        own = name if number == 1 else f"{name}-{number}"
        for spelling in dict.fromkeys((own, *spellings.get(with_plain_numbers(own), ()))):
            run = Run(parent / spelling)
            if has_config(run, asked) and not (rerun and run.is_done()):
                return run
        if (run := Run(parent / own)).is_free():
            return run
        number += 1


@cache
def with_plain_numbers(name: str) -> str:
    """The name of a run with numbers and keys in one spelling: lr=1e-3 is lr=0.001, and keys have been renamed."""
    plain = re.sub(NUMBER, _plain, name)
    if not any(key in plain for key in RENAMED):
        return plain
    number = re.search(r"-\d+$", plain)  # of a run made again
    parts = re.split(r",(?=[^,\[\]]*=)", plain.removesuffix(number[0] if number else ""))
    return ",".join(sorted(map(renamed, parts))) + (number[0] if number else "")


def _plain(number: re.Match[str]) -> str:
    value = float(number[0])
    return repr(value).removesuffix(".0") if abs(value) < 2**53 else number[0]  # above, a float is no seed


def _spellings(parent: Path) -> dict[str, list[str]]:
    """The folders in this one, by their names with plain numbers."""
    found: dict[str, list[str]] = {}
    if parent.is_dir():
        for folder in sorted(os.listdir(parent)):
            found.setdefault(with_plain_numbers(folder), []).append(folder)
    return found


def has_config(run: Run, asked: Mapping[str, Any]) -> bool:
    """Whether the folder's stored configuration is this one."""
    run.refuse_changed("config.yaml")
    return (run.folder / "config.yaml").is_file() and is_same(run.stored, asked)


def refuse_change(run: Run, config: DictConfig, fingerprint: str) -> None:
    """Raises UsageError where the folder, once locked, is another run's or was trained on other images."""
    if not run.is_free() and not has_config(Run(run.folder), resolved(config)):  # as it is now
        raise UsageError(f"{run.folder} was taken by another configuration meanwhile: give the command again")
    if run.info.get("dataset", {}).get("fingerprint", fingerprint) != fingerprint:
        raise UsageError(
            f"the images have changed since {run.folder} was begun: rename that folder to start anew"
        )


def resolved(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration as plain values."""
    values = OmegaConf.to_container(config, resolve=True) if isinstance(config, DictConfig) else config
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _pop(values: dict[str, Any], path: str) -> Any:
    *groups, key = path.split(".")
    node = values
    for group in groups:
        node = node.get(group) or {}
    return node.pop(key, None)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return value
