"""What runs were told: in what they differ, and what they share."""

from typing import Any

from vaelab.keys import without
from vaelab.report.record import Record
from vaelab.report.records import Section
from vaelab.report.topics import Table
from vaelab.report.values import flatten

TARGET = "_target_"


def differing(section: Section) -> Table | None:
    """The settings in which the runs differ, a row for each run; None where there are none."""
    own = {record.name: _settings(record) for record in section.records}
    keys = dict.fromkeys(key for one in own.values() for key in one)
    keys = {key: None for key in keys if len({repr(one.get(key)) for one in own.values()}) > 1}
    if not keys:
        return None
    rows = [
        (section.labels[name], *("–" if one.get(key) is None else str(one[key]) for key in keys))
        for name, one in own.items()
    ]
    return Table(
        ("run", *keys),
        tuple(rows),
        names=1 + len(keys),
        title="Settings in which the runs differ",
        caption="What the runs were told differently; – is nothing",
    )


def common(section: Section) -> list[str]:
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
    for key in (f"dataset.{TARGET}", *other):
        flat.pop(key, None)
    plain = {
        key.removesuffix(f".{TARGET}"): str(value).rpartition(".")[2] if key.endswith(TARGET) else value
        for key, value in flat.items()
    }
    handed_on = {key for key in plain if "." in key and plain.get(key.rpartition(".")[2]) == plain[key]}
    return {key: value for key, value in plain.items() if key not in handed_on}
