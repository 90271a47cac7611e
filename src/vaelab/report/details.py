"""How the numbers of one run were made, and how far it is."""

import shlex
from collections.abc import Mapping
from typing import Any

from vaelab.quantities import amount
from vaelab.report.record import Record
from vaelab.report.records import Section
from vaelab.report.table import in_words, references
from vaelab.report.values import flatten
from vaelab.words import printable


def details(section: Section, record: Record) -> dict[str, Any]:
    """How the numbers of one run were made."""
    info = record.info
    command = info.get("command")
    versions = info.get("versions")
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
        "versions": _listed(versions),
        "device": info.get("device"),
        "precision": info.get("precision"),
        "weights": record.weights or None,
        "checked with": _checked(info.get("verified")),
        "seconds of training": info.get("seconds"),
        "images per second": info.get("images_per_second"),
        "sweep": _listed(info.get("sweep")),
        "findings": "; ".join(sentence for found in record.findings.values() for sentence in found),
        "reported": "; ".join(_reference(entry) for entry in references(record)) or None,
    }
    return {
        "label": section.labels[record.name],
        "record": record,
        "facts": {key: value for key, value in facts.items() if value not in (None, "")},
        "configuration": "\n".join(f"{key}: {value}" for key, value in flatten(record.config).items()),
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


def _checked(verified: Any) -> str | None:
    """By which libraries some of the numbers were computed again, and how far these differ at most."""
    if not isinstance(verified, Mapping):
        return None
    found = verified.get("largest_difference")
    largest = _listed(
        {key: amount(value) for key, value in found.items()} if isinstance(found, Mapping) else {}
    )
    return printable(
        f"{verified.get('by')}, {verified.get('images')} test images; largest difference: {largest}"
    )


def _listed(values: Any) -> str | None:
    if not isinstance(values, Mapping):
        return None
    return ", ".join(f"{key} {value}" for key, value in values.items())
