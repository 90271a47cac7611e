"""Run folders are found and read, so that whatever is wrong with one of them is named and ends nothing."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vaelab import UsageError, files
from vaelab.keys import CONDITIONED, flatten
from vaelab.report.record import Record
from vaelab.report.records import Collection, sections
from vaelab.report.values import number
from vaelab.runs import checksums, history, older
from vaelab.runs.find import find
from vaelab.words import UNPRINTABLE, printable

MOST_BYTES = 8 << 20  # of run.json and metrics.json; one of 100,000 classes has 2 MB
MOST_KEYS = 2000  # of a configuration, and of metrics: each is a column of the table
MOST_BITS = 1000  # of a whole number


def collect(runs: str | Sequence[str], report: Path) -> Collection:
    """Reads the run folders that a glob pattern, or one of several, matches, or that lie below a folder it matches.

    `report` is passed over. Raises UsageError where there is no run that can be read, or none of a pattern.
    """
    patterns = [runs] if isinstance(runs, str) else runs
    found: dict[str, Path] = {}
    for pattern in patterns:
        folders = find(pattern, report)
        if not folders:
            raise UsageError(f"there are no run folders in {pattern}: vae-train makes one, vae-sweep several")
        found |= {os.path.realpath(folder): folder for folder in folders}
    folders, pattern = sorted(found.values()), ", ".join(patterns)
    common = os.path.commonpath([folder.absolute().parent for folder in folders])
    records: list[Record] = []
    refused: list[tuple[str, str]] = []
    for folder in folders:
        name = printable(os.path.relpath(folder, common))
        try:
            records.append(read(folder, name))
        except Exception as error:  # what others wrote may be wrong in any way
            refused.append((name, _reason(folder, error)))
    if not records:
        name, reason = refused[0]
        raise UsageError(f"none of {len(refused)} run folders in {pattern} can be read; {name}: {reason}")
    return Collection(tuple(sections(records)), tuple(refused))


def read(folder: Path, name: str) -> Record:
    """Reads a run folder; raises UsageError that names what makes it unreadable."""
    for needed in ("config.yaml", "run.json"):
        files.refuse_irregular(folder / needed)
        if not (folder / needed).is_file():
            raise UsageError(f"{folder} is not a run folder: it has no {needed}")
    with _with_remedy(folder, "run.json"):
        info = _plain(stored := files.read_json(folder / "run.json", MOST_BYTES))
        checksums.refuse_broken_seal(folder, stored)
    with _with_remedy(folder, "config.yaml"):
        checksums.refuse_changed(folder, stored, "config.yaml")
        config = _plain(older.config(files.read_yaml(folder / "config.yaml")))
    _check(folder, config, info)
    record = Record(folder, name, config, info)
    for part, read_part in (("evaluation/metrics.json", _metrics), ("metrics.csv", _history)):
        try:
            with _with_remedy(folder, part):
                checksums.refuse_changed(folder, stored, part)
                read_part(record)
        except Exception as error:
            record.problems.append(_reason(folder / part, error))
    return record


def _metrics(record: Record) -> None:
    file = record.folder / "evaluation" / "metrics.json"
    files.refuse_irregular(file)
    found = _plain(files.read_json(file, MOST_BYTES)) if file.is_file() else {}
    if len(found) > MOST_KEYS:
        raise UsageError(f"{file} is refused: it has {len(found):,} numbers, which no evaluation writes")
    record.metrics.update({key: value for key, value in found.items() if number(value) is not None})
    record.problems.extend(map(printable, _missing_numbers(record, file)))


def _history(record: Record) -> None:
    file = record.folder / "metrics.csv"
    files.refuse_irregular(file)
    record.history.extend(row for row in history.read(file) if number(row.get("epoch")) is not None)


def _missing_numbers(record: Record, file: Path) -> Iterator[str]:
    """Why a finished run has no numbers, where its file is not damaged."""
    # Of a GAN, pictures alone may have been asked for.
    if record.status != "done" or record.metrics or (record.kind == "GAN" and file.is_file()):
        return
    if not file.is_file():
        yield f"its evaluation is missing: vae-evaluate run='{record.folder}' measures it again"
    elif "test_metrics" not in record.evaluations:
        yield (
            "it has no numbers, for test_metrics was not among its evaluations:"
            f" vae-evaluate run='{record.folder}' 'evaluation=[test_metrics]' adds them"
        )


@contextmanager
def _with_remedy(folder: Path, name: str) -> Iterator[None]:
    """Adds to what is wrong with a file what to do about it."""
    remedy = checksums.remedy(folder, name)
    try:
        yield
    except UsageError as error:
        raise UsageError(str(error) if remedy in str(error) else f"{error}: {remedy}") from None


def _reason(path: Path, error: Exception) -> str:
    """What is wrong, in one line."""
    if isinstance(error, UsageError):
        return printable(error)
    if isinstance(error, OSError) and error.strerror:
        return printable(f"{error.filename or path} cannot be read: {error.strerror}")
    if isinstance(error, MemoryError):
        return printable(f"{path} takes more memory than there is")
    return printable(f"{path} is damaged: it holds what no version of vaelab has written")


def _plain(value: Any) -> Any:
    """A stored value as a page can show it: texts in one line, dates and the like as texts, no endless numbers."""
    if isinstance(value, dict):
        return {_line(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return value if value.bit_length() < MOST_BITS else "a number of more than 300 digits"
    return _line(str(value))


def _line(text: str) -> str:
    return printable(" ".join(text.split())) if UNPRINTABLE.search(text) else text


def _check(folder: Path, config: Mapping[str, Any], info: Mapping[str, Any]) -> None:
    """Raises UsageError for what every version of vaelab has written and this folder lacks."""
    made_by = info["versions"].get("vaelab") if isinstance(info.get("versions"), dict) else None
    version = f" (made by vaelab {made_by})" if made_by else ""
    run, data = f"{folder / 'run.json'} is damaged{version}", info.get("dataset")
    if not isinstance(data, dict) or not isinstance(data.get("name"), str):
        raise UsageError(f"{run}: dataset.name is missing")
    for key, kind in (("sizes", dict), ("classes", list), ("shape", list)):
        if not isinstance(data.get(key) or kind(), kind):
            raise UsageError(f"{run}: dataset.{key} is no {kind.__name__}")
    for group in ("model", "loss"):
        if not isinstance(config.get(group), dict) or "_target_" not in config[group]:
            raise UsageError(f"{folder / 'config.yaml'} is damaged{version}: {group}._target_ is missing")
    for group in ("likelihood", "regulariser"):
        if not isinstance(config.get(group) or {}, dict):
            raise UsageError(
                f"{folder / 'config.yaml'} is damaged{version}: {group} holds no keys and values"
            )
    weights = [(config.get(group) or {}).get("kl_weight") for group in ("regulariser", "loss")]
    if any(weight not in (None, CONDITIONED) and number(weight) is None for weight in weights):
        raise UsageError(f"{folder / 'config.yaml'} is damaged{version}: kl_weight is no number")
    if len(flatten(config)) > MOST_KEYS:
        raise UsageError(f"{folder / 'config.yaml'} is refused: no run has more than {MOST_KEYS:,} keys")
