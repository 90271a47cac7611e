"""How the numbers of runs were made: what they were told, in what they differ, how far they are."""

import shlex
from collections.abc import Mapping
from typing import Any

from vaelab.keys import flatten, without
from vaelab.quantities import amount
from vaelab.report.record import Record
from vaelab.report.records import Section
from vaelab.report.table import in_words, references
from vaelab.report.topics import Table
from vaelab.words import printable

TARGET = "_target_"
OF_WEIGHT, OF_CONDITIONED = ("kl_weight", "kl_weight_unit"), ("kl_weight_at", "kl_weight_range")


def details(record: Record) -> dict[str, Any]:
    """How the numbers of one run were made."""
    info = record.info
    command = info.get("command")
    facts = {
        "state": state(record),
        "command": shlex.join(map(str, command)) if isinstance(command, list) else None,
        "folder": printable(record.folder),
        "source of the images": info["dataset"].get("source"),
        "fingerprint": record.fingerprint,
        "images": ", ".join(f"{split} {size}" for split, size in record.sizes.items()),
        "β_eff": record.beta_eff,
        "parameters": info.get("parameters"),
        "git sha": info.get("git_sha"),
        "versions": _in_line(info.get("versions")),
        "device": info.get("device"),
        "precision": info.get("precision"),
        "weights": record.weights or None,
        "checked with": _verification(info.get("verified")),
        "seconds of training": info.get("seconds"),
        "images per second": info.get("images_per_second"),
        "sweep": _in_line(info.get("sweep")),
        "findings": "; ".join(sentence for found in record.findings.values() for sentence in found),
        "reported": "; ".join(_reference(entry) for entry in references(record)) or None,
    }
    return {
        "facts": {key: value for key, value in facts.items() if value not in (None, "")},
        "configuration": "\n".join(f"{key}: {value}" for key, value in record.flat.items()),
    }


def state(record: Record) -> str:
    """How far a run is, in words."""
    epochs = record.config.get("epochs")
    reason = record.info.get("reason")
    words = {
        "done": "done",
        "running": f"running or killed, {record.epoch} of {epochs} epochs",
        "interrupted": f"interrupted after {record.epoch} of {epochs} epochs",
        "failed": f"failed after {record.epoch} of {epochs} epochs",
    }.get(record.status, record.status)
    return f"{words}: {reason}" if reason else words


def _reference(entry: Mapping[str, Any]) -> str:
    source = f" ({entry['source']})" if entry.get("source") else ""
    return f"{in_words(entry)} {entry['value']}{source}"


def _verification(verified: Any) -> str | None:
    """By which libraries some of the numbers were computed again, and how far these differ at most."""
    if not isinstance(verified, Mapping):
        return None
    found = verified.get("largest_difference")
    largest = _in_line(
        {key: amount(value) for key, value in found.items()} if isinstance(found, Mapping) else {}
    )
    return printable(
        f"{verified.get('by')}, {verified.get('images')} test images; largest difference: {largest}"
    )


def _in_line(values: Any) -> str | None:
    if not isinstance(values, Mapping):
        return None
    return ", ".join(f"{key} {value}" for key, value in values.items())


def differing_settings(section: Section) -> Table:
    """The settings in which the runs differ, a row for each run."""
    own = {record.name: _settings(record) for record in section.records}
    every = dict.fromkeys(key for one in own.values() for key in one)
    keys = [key for key in every if len({repr(one.get(key)) for one in own.values()}) > 1]
    rows = [
        (section.labels[name], *("–" if one.get(key) is None else str(one[key]) for key in keys))
        for name, one in own.items()
    ]
    return Table(
        ("run", *keys),
        tuple(rows) if keys else (),
        names=1 + len(keys),
        title="Settings in which the runs differ",
        caption="What the runs were told differently; – is nothing",
    )


def common_settings(section: Section) -> list[str]:
    """The settings that all runs share, as they are typed; those that are nothing are left out."""
    own = {record.name: _settings(record) for record in section.records}
    first, *others = own.values()
    return [
        f"{key}={value}"
        for key, value in first.items()
        if value is not None and all(repr(one.get(key)) == repr(value) for one in others)
    ]


def _settings(record: Record) -> dict[str, Any]:
    """The configuration, flat; what a key only hands on to another one is there once."""
    other = without("trains")
    flat = {"dataset": record.dataset} | flatten(
        {key: value for key, value in record.config.items() if key not in other}
    )
    for key in (f"dataset.{TARGET}", *other, *_without_meaning(record)):
        flat.pop(key, None)
    plain = {
        key.removesuffix(f".{TARGET}"): str(value).rpartition(".")[2] if key.endswith(TARGET) else value
        for key, value in flat.items()
    }
    handed_on = {key for key in plain if "." in key and plain.get(key.rpartition(".")[2]) == plain[key]}
    return {key: value for key, value in plain.items() if key not in handed_on}


def _without_meaning(record: Record) -> tuple[str, ...]:
    """The settings of λ that every configuration has and that this run did not read."""
    if record.is_conditioned:
        return ()
    return OF_CONDITIONED if record.kl_weight is not None else (*OF_WEIGHT, *OF_CONDITIONED)
