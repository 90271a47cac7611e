"""The rows of metrics.csv: written, and read within bounds."""

import csv
import io
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from vaelab import UsageError, files

Row = dict[str, Any]

# The order of the columns; those that a loss adds come last.
COLUMNS = [
    *("epoch", "step", "split", "kl_weight", "loss", "elbo", "reconstruction", "kl"),
    *("loss_discriminator", "loss_generator", "accuracy_real", "accuracy_fake"),
    *("class_loss_real", "class_loss_fake", "class_accuracy_real", "class_accuracy_fake"),
    *("mse", "psnr", "lr", "seconds"),
]
COUNTS = ("epoch", "step")  # which every row has
MOST_ROWS, MOST_COLUMNS, MOST_CELLS = 250_000, 200, 8_000_000  # what a reader of any run can bear


def to_text(rows: Sequence[Row]) -> str:
    """CSV of the columns that some row has, the known ones first."""
    used = dict.fromkeys(key for row in rows for key in row)
    columns = [name for name in COLUMNS if name in used] + [name for name in used if name not in COLUMNS]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def read(file: Path) -> list[Row]:
    """The rows of a file, none where it is absent; raises UsageError for what no run has written."""
    return from_text(files.read_text(file), str(file)) if file.is_file() else []


def from_text(text: str, where: str) -> list[Row]:
    """The rows, numbers as numbers; a column that a row leaves empty is absent from it."""
    lines = csv.reader(io.StringIO(text, newline=""))
    try:
        columns = next(lines, [])
        most = min(MOST_ROWS, MOST_CELLS // max(1, len(columns))) if len(columns) <= MOST_COLUMNS else 0
        found = [_row(columns, cells) for cells in islice(lines, most)]
        if next(lines, None) is not None:
            raise UsageError(
                f"{where} is refused: it has more than {MOST_ROWS:,} rows, {MOST_COLUMNS} columns or"
                f" {MOST_CELLS:,} cells"
            )
    except (ValueError, csv.Error) as error:
        raise UsageError(f"{where} is damaged: line {lines.line_num}: {error}") from None
    return found


def _row(columns: Sequence[str], cells: Sequence[str]) -> Row:
    if len(cells) != len(columns):
        raise ValueError(f"{len(cells)} cells under {len(columns)} columns")
    row = {name: _value(name, cell) for name, cell in zip(columns, cells, strict=True) if cell}
    if missing := [name for name in (*COUNTS, "split") if name not in row]:
        raise ValueError(f"no {missing[0]}")
    return row


def _value(name: str, cell: str) -> Any:
    if name == "split":
        return cell
    for kind in (int, float):
        try:
            value = kind(cell)
        except ValueError:
            continue
        if name not in COUNTS or (kind is int and value >= 0):
            return value
    raise ValueError(f"{name}={cell[:40]!r} is no number of its kind")
