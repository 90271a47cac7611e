"""The checksums that run.json carries: of the files that are read again, and of itself."""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from shlex import quote
from typing import Any

from vaelab import UsageError, files

KEY = "checksums"  # of run.json: SHA-256 by the file's name
SELF = "run.json"


def recorded(info: Mapping[str, Any]) -> dict[str, str]:
    """The checksums by the file's name; none in run folders of older versions."""
    found = info.get(KEY)
    return found if isinstance(found, dict) else {}


def sealed(info: Mapping[str, Any]) -> dict[str, Any]:
    """What run.json holds, with a checksum of all the rest."""
    values = json.loads(json.dumps({**info, KEY: {**recorded(info), SELF: ""}}))
    values[KEY][SELF] = _own(values)
    return values


def refuse_broken_seal(folder: Path, info: Mapping[str, Any]) -> None:
    """Raises UsageError where run.json is not as it was written; silent where it carries no checksum of itself."""
    own = recorded(info).get(SELF)
    if own is not None and own != _own({**info, KEY: {**recorded(info), SELF: ""}}):
        raise UsageError(
            f"{folder / SELF} was changed or damaged after it was written: {remedy(folder, SELF)}"
        )


def refuse_changed(folder: Path, info: Mapping[str, Any], name: str) -> None:
    """Raises UsageError where a file is not the one that run.json has the checksum of; silent where it has none."""
    file = folder / name
    if name not in recorded(info):
        return
    if not file.is_file():
        if name == "config.yaml":  # all else is made again
            raise UsageError(f"{file} is gone: {remedy(folder, name)}")
    elif files.digest(file) != recorded(info)[name]:
        raise UsageError(f"{file} was changed or damaged after it was written: {remedy(folder, name)}")


def remedy(folder: Path, name: str) -> str:
    """What to do about a file of a run folder that is damaged or not there."""
    if name == SELF:
        return "delete it and give the training command again, which goes on from the last checkpoint"
    if name == "config.yaml":
        return "put it back as it was, or rename the folder and give the training command again"
    if name.startswith("arrays/") and name.count("/") > 1:  # of a snapshot, whose weights are gone
        return "delete it, or train the run again with rerun=true"
    return f"vae-evaluate run={quote(str(folder))} writes it again"


def _own(values: Mapping[str, Any]) -> str:
    return sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
