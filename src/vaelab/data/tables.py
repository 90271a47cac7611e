"""Tables with one row for each image: .csv, however it was saved, and CelebA's own lists."""

import codecs
import csv
import io
import posixpath
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from vaelab import UsageError
from vaelab.data.archives import unpacked
from vaelab.data.filenames import is_image
from vaelab.data.limits import MOST_FILE_BYTES
from vaelab.files import refuse_irregular
from vaelab.words import printable

FILE_COLUMNS = frozenset(("file", "file_name", "filename", "image", "image_id", "image_name"))
SEPARATORS = (",", ";", "\t", "|")
MARKS = {  # the longer one first, for it begins like the shorter
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
WORKBOOK = b"PK\3\4"  # .xlsx and .ods are archives
# What pandas reads as missing, less "none", which may be meant.
MISSING = frozenset(("#N/A", "<NA>", "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null"))
MOST_SHOWN = 40

Line = tuple[int, list[str]]  # number and cells


class Listing(NamedTuple):
    """A file with one row for each image: where it is, in words, and its bytes."""

    where: str
    data: bytes


class Row(NamedTuple):
    """What a listing says of one image: the line it stands in, the file it names, the value, empty if missing."""

    line: int
    file: str
    value: str


def listing_at(file: Path) -> Listing:
    """A listing on the disk; UsageError where it is no regular file, or larger than any list of images."""
    refuse_irregular(file)
    _refuse_large(str(file), file.stat().st_size)
    return Listing(str(file), file.read_bytes())


def listing_in(archive: zipfile.ZipFile, name: str, entry: zipfile.ZipInfo) -> Listing:
    """A listing in an archive, called `name` there; UsageError as `listing_at`, and where it cannot be unpacked."""
    where = f"{archive.filename}/{name}"
    _refuse_large(where, entry.file_size)
    try:
        return Listing(where, unpacked(archive, entry))
    except (OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"{where} cannot be read: {error}") from None


def _refuse_large(where: str, size: int) -> None:
    if size > MOST_FILE_BYTES:
        raise UsageError(f"{where} is refused: {size / 1e9:.1f} GB are more than a list of images has")


def column(listing: Listing, attribute: str) -> tuple[str, list[Row]]:
    """The name that the attribute has in a listing, and its rows; UsageError for no such column and no table."""
    header, lines = _table(listing)
    file = next((i for i, name in enumerate(header) if name.casefold() in FILE_COLUMNS), 0)
    same = [i for i, name in enumerate(header) if i != file and name.casefold() == attribute.casefold()]
    same = [i for i in same if header[i] == attribute] or same
    if not same:
        raise _no_column(listing, attribute, header, file, lines)
    if len(same) > 1:
        raise UsageError(f"{listing.where} has {len(same)} columns {attribute}: rename all but one")
    return header[same[0]], _rows(listing, lines, len(header), file, same[0])


def partition(listing: Listing) -> list[Row]:
    """The rows of CelebA's list of splits, as published, without a header, or as .csv; UsageError as `column`."""
    text = _text(listing)
    if any(separator in text for separator in SEPARATORS):
        return column(listing, "partition")[1]
    return _rows(listing, _words(text), 2, 0, 1)


def _table(listing: Listing) -> tuple[list[str], Iterator[Line]]:
    """The names of the columns, and the lines below."""
    text = _text(listing)
    first = next((line for line in text.splitlines() if line.strip()), "")
    if (
        first.strip().isdecimal()
    ):  # CelebA: the number of images, the names of the attributes, a line for each image
        words = _words(text)
        next(words)
        return ["file", *next(words, (0, []))[1]], words
    lines = _cells(listing, text, first)
    _, header = next(lines, (0, []))
    if len(header) < 2 or any(is_image(name) for name in header):
        raise UsageError(
            f"{listing.where} has no header: its first line must name the columns, as in file,smiling, and is "
            f"{printable(first.strip())[:MOST_SHOWN] or 'empty'}"
        )
    return header, lines


def _text(listing: Listing) -> str:
    data = listing.data
    if data.startswith(WORKBOOK):
        raise UsageError(f"{listing.where} is a workbook: save it as CSV")
    encoding = next((name for mark, name in MARKS.items() if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{listing.where} is not UTF-8 (line {line}): save it as UTF-8") from None


def _words(text: str) -> Iterator[Line]:
    return ((number, line.split()) for number, line in enumerate(text.splitlines(), 1) if line.strip())


def _cells(listing: Listing, text: str, first: str) -> Iterator[Line]:
    """Cells of every line that is not empty; `first`, such a line, tells what separates them."""
    told = re.fullmatch(r'"?sep=(.)"?', first.strip("\r\n"))  # Excel's own line, which is none of the table
    delimiter = told[1] if told else max(SEPARATORS, key=lambda separator: len(_split(first, separator)))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        for cells in reader:
            if any(cells) and not (told and reader.line_num == 1):
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise UsageError(f"{listing.where} is no CSV (line {reader.line_num}): {error}") from None


def _split(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator, strict=True))
    except csv.Error:
        return []


def _rows(listing: Listing, lines: Iterable[Line], width: int, file: int, column: int) -> list[Row]:
    rows = []
    for line, cells in lines:
        if len(cells) != width:
            raise UsageError(
                f"{listing.where}, line {line}: {len(cells)} values for {width} columns; complete or remove it"
            )
        if not cells[file]:
            raise UsageError(f"{listing.where}, line {line} names no file: complete or remove it")
        value = "" if cells[column] in MISSING else cells[column]
        rows.append(Row(line, posixpath.normpath(cells[file].replace("\\", "/")), value))
    return rows


def _no_column(
    listing: Listing, attribute: str, header: Sequence[str], file: int, lines: Iterator[Line]
) -> UsageError:
    columns = {i: name for i, name in enumerate(header) if i != file}
    folded = {name.casefold(): name for name in columns.values()}
    missing = f"{listing.where} has no column {attribute}"
    if nearest := get_close_matches(attribute.casefold(), folded, n=1):
        missing += f" (did you mean {folded[nearest[0]]}?)"
    elif one_hot := _one_hot([cells for _, cells in lines], columns):
        return UsageError(
            f"{missing}: in each line one of {_some(one_hot)} is 1 (one-hot); write the name of that one in a column "
            f"{attribute}, or choose one of them, as in dataset.attribute={one_hot[0]}"
        )
    return UsageError(f"{missing}: dataset.attribute is one of {_some(list(columns.values()))}")


def _one_hot(lines: Sequence[Sequence[str]], columns: dict[int, str]) -> list[str]:
    """The names of the columns, two or more, of which every line has 1 in one and 0 in the others."""
    full = [cells for cells in lines if len(cells) > max(columns)]
    binary = [i for i in columns if {cells[i] for cells in full} <= {"0", "1", "0.0", "1.0"}]
    one_hot = len(binary) > 1 and all(sum(float(cells[i]) for i in binary) == 1 for cells in full)
    return [columns[i] for i in binary] if one_hot and full else []


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:MOST_SHOWN]) + (", ..." if len(names) > MOST_SHOWN else "")
