"""All runs as one pandas table: what they are, what was measured, and what was reported."""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd
from pandas.api.types import is_numeric_dtype

from vaelab.keys import flatten, without
from vaelab.report import columns
from vaelab.report.record import Record
from vaelab.report.records import Collection
from vaelab.report.values import number

FIRST = ("dataset", "model", "label", "kl_weight", "seed", "epochs", "status")  # columns, before the numbers
FACTS = ("beta_eff", "parameters", "seconds", "images_per_second", "peak_memory_bytes", "device", "git_sha")
REPORTED = " (reported)"  # ends the head of a column
FORMULA = tuple("=+-@\t\r＝＋－＠")  # how it begins for a spreadsheet


def frame(collection: Collection) -> pd.DataFrame:
    """One row for each run, by dataset, model and λ; a column for each setting, metric and reported value."""
    rows = [
        _row(record, section.labels[record.name])
        for section in collection.sections
        for record in section.records
    ]
    table = pd.DataFrame(rows).dropna(axis="columns", how="all")
    return table[[*dict.fromkeys([*main_columns(collection, table), *table.columns])]]


def main_columns(collection: Collection, table: pd.DataFrame) -> list[str]:
    """The columns of a table that are shown at first, reported values beside their own; the others can be chosen."""
    declared = columns.quantities(collection.records)
    first = dict.fromkeys([*FIRST, *(name for name, one in declared.items() if one.shown)])
    return [name for own in first for name in (own, own + REPORTED) if name in table]


def _row(record: Record, label: str) -> dict[str, Any]:
    settings = {k: v for k, v in record.config.items() if k not in without("is_tabled")}
    groups = ("dataset", "evaluation", "trainer", "model", "loss", "optimizer", "experiment")
    simple = {k: _plain(v) for k, v in settings.items() if k not in groups}
    nested = flatten({k: settings[k] for k in ("model", "loss", "optimizer") if k in settings})
    nested = {k: _plain(v) for k, v in nested.items() if not k.endswith("_target_")}
    nested = {k: v for k, v in nested.items() if k.rpartition(".")[2] not in simple}
    return {
        "dataset": record.dataset,
        "model": record.model,
        "label": label,
        "folder": record.name,
        "status": record.status,
        **simple,
        "kl_weight": record.kl_weight,  # an autoencoder's configuration has the key, its loss has not
        **({} if not record.is_evaluated else record.metrics | {"kl_weight": record.kl_weight}),
        **reported_columns(record),
        **{key: _plain(record.info.get(key)) for key in FACTS},
        "fingerprint": record.fingerprint,
        **{f"images_{split}": size for split, size in record.sizes.items()},
        **nested,
        "reason": record.info.get("reason"),
    }


def as_csv(table: pd.DataFrame) -> str:
    """The table as text, in which no cell is a formula to a spreadsheet."""
    texts = {n: [quote(cell) for cell in table[n]] for n in table if not is_numeric_dtype(table[n])}
    return table.assign(**texts).rename(columns=quote).to_csv(index=False, lineterminator="\n")


def quote(cell: Any) -> Any:
    """A text that a spreadsheet would compute, behind the apostrophe that makes it a text there; others as they are."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) and not _is_number(cell) else cell


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def reported_columns(record: Record) -> dict[str, float]:
    """The reported values that apply to this run, by the name of their column."""
    return {
        f"{'train_' if is_of_training(entry) else ''}{entry['metric']}{REPORTED}": entry["value"]
        for entry in references(record)
    }


def in_words(entry: Mapping[str, Any]) -> str:
    """The metric of a reported number, and whose images it is of where these are not the test images."""
    return f"{entry['metric']}{' of training images' if is_of_training(entry) else ''}"


def is_of_training(entry: Mapping[str, Any]) -> bool:
    """Whether a reported number is one of the training images."""
    return entry.get("split") == "train"


def references(record: Record) -> list[dict[str, Any]]:
    """The entries of `reported:` whose conditions this run meets."""
    return [
        entry
        for entry in record.reported
        if isinstance(entry.get("metric"), str)
        and number(entry.get("value")) is not None
        and isinstance(when := entry.get("when") or {}, dict)
        and all(record.flat.get(key) == value for key, value in when.items())
    ]


def _plain(value: Any) -> Any:
    """Lists as text, so that a cell holds one value."""
    return value if isinstance(value, str | int | float | bool | None) else str(value)
