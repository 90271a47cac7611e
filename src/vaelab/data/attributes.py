"""Attributes of images: the column of a CSV, or of CelebA's own lists, that becomes the label."""

import csv
import io
import os
import posixpath
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from vaelab import UsageError
from vaelab.data.imageset import SPLITS, split_sizes
from vaelab.data.raw import Labelled, Selection
from vaelab.data.sources import Source, existing, is_hidden, is_image

FILE_COLUMNS = frozenset(("file", "filename", "image", "image_id"))
MOST_CLASSES = 100
# CelebA (Liu et al. 2015): as published, where the lists are in Anno and Eval beside Img, and as CSV.
CELEBA_ATTRIBUTES = ("list_attr_celeba.txt", "list_attr_celeba.csv")
CELEBA_SPLITS = ("list_eval_partition.txt", "list_eval_partition.csv")


class Listing(NamedTuple):
    """A file with one row for each image: where it is, in words, and its bytes."""

    where: str
    data: bytes


class Row(NamedTuple):
    """What a listing says of one image: the line it stands in, the file it names, the value."""

    line: int
    file: str
    value: str


def with_listings(source: Source, attribute: str | None, attributes: str | None) -> Source:
    """The source with the files that its labels are read from: `attributes`, else what lies beside the images.

    A .zip without such a file may hold CelebA's lists itself, which `listings_in` finds. Raises UsageError for a
    missing file, and for an attribute of arrays.
    """
    if attribute is None:
        return source
    if source.kind not in ("folder", "zip"):
        raise UsageError(
            f"dataset.attribute={attribute} labels images in files, and those of {source} are an array: give "
            "dataset.attribute=null"
        )
    if attributes is not None:
        listing: Path | None = existing(Path(attributes).expanduser(), "dataset.attributes")
    else:
        listing = _beside(source)
    if listing is None:
        if source.kind == "folder":
            raise no_listing(source.path, attribute)
        return source
    # Only CelebA's split is taken: the `split` column of other tables need not know train, val and test, and the
    # split by a hash of the index is the one that does not depend on the table.
    folders = (listing.parent, listing.parent.parent / "Eval")
    split = _first(folders, CELEBA_SPLITS) if listing.name in CELEBA_ATTRIBUTES else None
    return replace(source, listings=(listing, split) if split else (listing,))


def listings_in(archive: zipfile.ZipFile) -> list[Listing]:
    """CelebA's lists inside of a .zip: the attributes, then the split if it is there; empty without attributes."""
    found = []
    for names in (CELEBA_ATTRIBUTES, CELEBA_SPLITS):
        entries = [entry for entry in sorted(archive.namelist()) if PurePosixPath(entry).name in names]
        shown = [entry for entry in entries if not is_hidden(PurePosixPath(entry))]
        if not shown:
            break
        where = f"{archive.filename}/{shown[0]}"
        try:
            found.append(Listing(where, archive.read(shown[0])))
        except (OSError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise UsageError(f"{where} cannot be read: {error}") from None
    return found


def by_attribute(where: Path, names: Sequence[str], listings: Sequence[Listing], attribute: str) -> Labelled:
    """The images of `names` that have the attribute, labelled, with CelebA's split where a second listing gives it.

    Raises UsageError for a listing that cannot be read, for an unknown attribute, and for one that is no class.
    """
    if not listings:
        raise no_listing(where, attribute)
    listing = listings[0]
    column, rows = _column(listing, attribute)
    found, unmatched = _match(listing, names, rows)
    if not found:
        example = f" ({rows[0].file})" if rows else ""
        raise UsageError(f"no row of {listing.where}{example} names an image of {where} ({names[0]})")
    kept = [position for position in sorted(found) if found[position].value]
    labels, classes = _classes(listing, column, [found[position].value for position in kept])
    left_out = len(names) - len(kept)
    remarks = [f"left out {left_out} of {len(names)} images of {where}: without {column}"] if left_out else []
    remarks += [f"{unmatched} of {len(rows)} rows of {listing.where} name no image"] if unmatched else []
    return Labelled(
        names=[names[position] for position in kept],
        labels=labels,
        classes=classes,
        split=_celeba_split(where, names, listings[1], kept) if len(listings) > 1 else None,
        selection=Selection(
            np.array(kept), {"left_out": left_out, "rows_without_image": unmatched}, "; ".join(remarks)
        ),
    )


def no_listing(where: Path, attribute: str) -> UsageError:
    """The error for images without a listing, with the nearest .csv beside them."""
    own = _own_csv(where)
    others = {file.name: file for folder in (own.parent, where) for file in sorted(folder.glob("*.csv"))}
    nearest = get_close_matches(own.name, others, n=1, cutoff=0)
    example = others[nearest[0]] if nearest else "FILE"
    return UsageError(
        f"there is no table for the attribute {attribute} of {where}: write {own}, give dataset.attributes={example}, "
        "or do without by dataset.attribute=null"
    )


def _own_csv(where: Path) -> Path:
    if where.is_file():
        return where.with_suffix(".csv")
    folder = Path(os.path.abspath(where))  # "." has no name
    return folder.with_name(f"{folder.name}.csv")


def _beside(source: Source) -> Path | None:
    own = _own_csv(source.path)
    if own.is_file():
        return own
    folders = [folder for above in _above(source) for folder in (above, above.parent / "Anno")]
    return _first(folders, CELEBA_ATTRIBUTES)


def _above(source: Source) -> Iterator[Path]:
    """The folders that hold all images, up to the one that holds the source."""
    # The files are sorted: what the first and the last share, all do.
    folder = Path(
        os.path.commonpath([os.path.abspath(file.parent) for file in (source.files[0], source.files[-1])])
    )
    top = Path(os.path.abspath(source.path)).parent
    while folder != top:
        yield folder
        folder = folder.parent
    yield top


def _first(folders: Iterable[Path], names: Sequence[str]) -> Path | None:
    files = (folder / name for folder in folders for name in names)
    return next((file for file in files if file.is_file()), None)


def _column(listing: Listing, attribute: str) -> tuple[str, list[Row]]:
    """The name that the attribute has in a listing, and its rows."""
    header, lines = _table(listing)
    file = next((i for i, name in enumerate(header) if name.casefold() in FILE_COLUMNS), 0)
    columns = [name for i, name in enumerate(header) if i != file]
    same = [i for i, name in enumerate(header) if i != file and name.casefold() == attribute.casefold()]
    same = [i for i in same if header[i] == attribute] or same
    if not same:
        folded = {name.casefold(): name for name in columns}
        nearest = get_close_matches(attribute.casefold(), folded, n=1)
        hint = f" (did you mean {folded[nearest[0]]}?)" if nearest else ""
        raise UsageError(
            f"{listing.where} has no column {attribute}{hint}: dataset.attribute is one of {', '.join(columns)}"
        )
    if len(same) > 1:
        raise UsageError(f"{listing.where} has {len(same)} columns {attribute}: rename all but one")
    return header[same[0]], _rows(listing, lines, len(header), file, same[0])


def _table(listing: Listing) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """The names of the columns, and the lines below with their numbers."""
    lines = _lines(listing)
    _, header = next(lines, (0, []))
    if _is_text(
        listing
    ):  # CelebA: the number of images, the names of the attributes, then one line per image
        if len(header) != 1 or not header[0].isdecimal():
            raise UsageError(
                f"{listing.where} is no list of CelebA's, which begins with a number: give a .csv instead"
            )
        header = ["file", *next(lines, (0, []))[1]]
    if len(header) < 2 or any(is_image(PurePosixPath(name)) for name in header):
        raise UsageError(
            f"{listing.where} has no header: its first line must name the columns, as in file,smiling"
        )
    return header, lines


def _is_text(listing: Listing) -> bool:
    return listing.where.lower().endswith(".txt")


def _lines(listing: Listing) -> Iterator[tuple[int, list[str]]]:
    """Cells of every line that is not empty, with its number."""
    try:
        stream = io.StringIO(listing.data.decode("utf-8-sig"), newline="")
    except UnicodeDecodeError as error:
        line = listing.data.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{listing.where} is not UTF-8 (line {line}): save it as UTF-8") from None
    if _is_text(listing):
        yield from ((number, line.split()) for number, line in enumerate(stream, 1) if line.strip())
        return
    reader = csv.reader(stream, strict=True)
    try:
        for cells in reader:
            if any(cells):
                yield reader.line_num, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise UsageError(f"{listing.where} is no CSV (line {reader.line_num}): {error}") from None


def _rows(
    listing: Listing, lines: Iterable[tuple[int, list[str]]], width: int, file: int, column: int
) -> list[Row]:
    rows = []
    for line, cells in lines:
        if len(cells) != width:
            raise UsageError(
                f"{listing.where}, line {line}: {len(cells)} values for {width} columns; complete or remove it"
            )
        if not cells[file]:
            raise UsageError(f"{listing.where}, line {line} names no file: complete or remove it")
        rows.append(Row(line, posixpath.normpath(cells[file].replace("\\", "/")), cells[column]))
    return rows


def _match(listing: Listing, names: Sequence[str], rows: Sequence[Row]) -> tuple[dict[int, Row], int]:
    """The row of each image, by its position in `names`, and the number of rows that name none of them."""
    positions = _positions(names)
    bases = Counter(posixpath.basename(file) for file in {row.file for row in rows})
    found: dict[int, Row] = {}
    unmatched = 0
    for row in rows:
        base = posixpath.basename(row.file)
        position = positions.get(row.file)
        if position is None and bases[base] == 1:
            position = positions.get(base)
        if position is None:
            unmatched += 1
            continue
        other = found.setdefault(position, row)
        if other.value != row.value:
            raise UsageError(
                f"{listing.where}: lines {other.line} and {row.line} give {names[position]} two values, "
                f"{other.value or 'none'} and {row.value or 'none'}: remove one"
            )
    return found, unmatched


def _positions(names: Sequence[str]) -> dict[str, int]:
    """Positions by path, by path below the folder that is common to all, and by base name where it is unique."""
    paths = [posixpath.normpath(name) for name in names]
    common = posixpath.commonpath([posixpath.dirname(path) for path in (min(paths), max(paths))])
    bases = [posixpath.basename(path) for path in paths]
    counts = Counter(bases)
    by_base = {base: position for position, base in enumerate(bases) if counts[base] == 1}
    below = {path[len(common) :].lstrip("/"): position for position, path in enumerate(paths)}
    return by_base | below | {path: position for position, path in enumerate(paths)}


def _classes(listing: Listing, column: str, values: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    distinct = set(values)
    if not 2 <= len(distinct) <= MOST_CLASSES or len(distinct) == len(values):
        raise UsageError(
            f"{listing.where}: {column} has {len(distinct)} different values for {len(values)} images, which are no "
            f"classes; choose a column with 2 to {MOST_CLASSES}"
        )
    numbers = {value: float(value) for value in distinct if re.fullmatch(r"[+-]?\d+(\.0*)?", value)}
    if len(numbers) == len(distinct) and set(numbers.values()) in ({0.0, 1.0}, {-1.0, 1.0}):
        word = column.lower().replace("_", " ")
        return np.array([numbers[value] == 1 for value in values], np.int64), (f"not {word}", word)
    classes = sorted(distinct)
    if len(numbers) == len(distinct):
        classes.sort(key=lambda value: numbers[value])
    indices = {value: index for index, value in enumerate(classes)}
    return np.array([indices[value] for value in values], np.int64), tuple(classes)


def _celeba_split(where: Path, names: Sequence[str], listing: Listing, kept: Sequence[int]) -> np.ndarray:
    """CelebA's own split of the images kept, int8 (n,): 0 train, 1 val, 2 test, the order of SPLITS."""
    if _is_text(listing):
        rows = _rows(listing, _lines(listing), 2, 0, 1)
    else:
        _, rows = _column(listing, "partition")
    found, _ = _match(listing, names, rows)
    wrong = next((row for row in found.values() if row.value not in ("0", "1", "2")), None)
    if wrong:
        raise UsageError(
            f"{listing.where}, line {wrong.line}: the split {wrong.value} is none of 0 (train), 1 (val) and 2 (test)"
        )
    missing = next((position for position in kept if position not in found), None)
    if missing is not None:
        raise UsageError(f"{listing.where} has no row for {names[missing]}: add one, or move the file away")
    split = np.array([int(found[position].value) for position in kept], dtype=np.int8)
    sizes = split_sizes(split)
    if not all(sizes.values()):
        counts = ", ".join(f"{sizes[name]} {name}" for name in SPLITS)
        raise UsageError(
            f"{listing.where} splits the {len(kept)} images of {where} into {counts}, and no split may be empty: "
            "add more images, or move the file away"
        )
    return split
