"""The Python functions train, sweep and report: what the commands do, with the keys of the command line."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from vaelab import cli
from vaelab.commands import compose, from_python
from vaelab.runs.open_run import OpenedRun


def train(given: Sequence[str], keys: Mapping[str, Any]) -> OpenedRun:
    """One run."""
    words = from_python.words("train", given, keys)
    with from_python.call("train"):
        request = compose.perform("train", words, partial(cli.request_of, ["vae-train", *words]))
        cli.perform(request)
    return OpenedRun(request.run.folder.absolute(), own_modules=request.cfg.plugins)


def sweep(given: Sequence[str], keys: Mapping[str, Any]) -> list[OpenedRun]:
    """One run for each combination of listed values."""
    words = from_python.words("sweep", given, keys)
    with from_python.call("sweep"):
        requests = compose.perform("sweep", words, partial(cli.sweep_one, ["vae-sweep", *words]))
    return [OpenedRun(one.run.folder.absolute(), own_modules=one.cfg.plugins) for one in requests]


def report(given: Sequence[str], keys: Mapping[str, Any]) -> Path:
    """One page of run folders, or of opened runs."""
    if isinstance(keys.get("runs"), OpenedRun):
        keys = {**keys, "runs": [keys["runs"]]}
    if isinstance(runs := keys.get("runs"), list | tuple):
        keys = {**keys, "runs": [one.run.folder if isinstance(one, OpenedRun) else one for one in runs]}
    words = from_python.words("report", given, keys)
    with from_python.call("report"):
        written = compose.perform("report", words, partial(cli.report_of, ["vae-report", *words]))
    return Path(written.page.absolute())
