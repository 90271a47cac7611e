"""Attributes of images: the column of a CSV, or of CelebA's own lists, that becomes the label."""

import os
import posixpath
import re
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np

from vaelab import UsageError
from vaelab.data.archives import files_in
from vaelab.data.classes import OUTSIDE, completed, splits_of
from vaelab.data.filenames import IMAGE_SUFFIXES, is_hidden, natural
from vaelab.data.imageset import SPLITS, split_sizes
from vaelab.data.raw import Labelled, Selection
from vaelab.data.sources import Source, existing
from vaelab.data.tables import Listing, Row, column, listing_in, partition
from vaelab.words import printable

MOST_CLASSES = 100
# CelebA (Liu et al. 2015): as published, where the lists are in Anno and Eval beside Img, and as CSV.
CELEBA_ATTRIBUTES = ("list_attr_celeba.txt", "list_attr_celeba.csv")
CELEBA_SPLITS = ("list_eval_partition.txt", "list_eval_partition.csv")


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
    files = files_in(archive)
    found = []
    for names in (CELEBA_ATTRIBUTES, CELEBA_SPLITS):
        lists = sorted(name for name in files if posixpath.basename(name) in names and not is_hidden(name))
        if not lists:
            break
        found.append(listing_in(archive, lists[0], files[lists[0]]))
    return found


def by_attribute(where: Path, names: Sequence[str], listings: Sequence[Listing], attribute: str) -> Labelled:
    """The images of `names` that have the attribute, labelled, with the split that CelebA's list or folders give.

    Raises UsageError for a listing that cannot be read, for an unknown attribute, and for one that is no class.
    """
    if not listings:
        raise no_listing(where, attribute)
    listing = listings[0]
    title, rows = column(listing, attribute)
    found, unmatched = _match(listing, names, rows)
    if not found:
        example = f" ({rows[0].file})" if rows else ""
        raise UsageError(f"no row of {listing.where}{example} names an image of {where} ({names[0]})")
    split, _ = splits_of(names)
    labelled = [position for position in sorted(found) if found[position].value]
    kept = [position for position in labelled if split is None or split[position] != OUTSIDE]
    labels, classes = _classes(listing, title, [found[position].value for position in kept])
    left_out = len(names) - len(kept)
    remarks = [f"left out {left_out} of {len(names)} images of {where}: without {title}"] if left_out else []
    remarks += [f"{unmatched} of {len(rows)} rows of {listing.where} name no image"] if unmatched else []
    if len(listings) > 1:
        split = _celeba_split(where, names, listings[1], kept)
    elif split is not None:
        split, remark = completed(split[kept])
        remarks += [remark] if remark else []
    counts = {"left_out": left_out, "rows_without_image": unmatched}
    return Labelled(
        names=[names[position] for position in kept],
        labels=labels,
        classes=classes,
        split=split,
        selection=Selection(np.array(kept), counts, "; ".join(remarks)),
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
    for table in (own, own.with_suffix(".tsv")):
        if table.is_file():
            return table
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


def _match(listing: Listing, names: Sequence[str], rows: Sequence[Row]) -> tuple[dict[int, Row], int]:
    """The row of each image, by its position in `names`, and the number of rows that name none of them."""
    found: dict[int, Row] = {}
    for written in (posixpath.normpath, _folded, _stem):  # less and less of a name has to agree
        if not rows:
            break
        positions = _positions([written(name) for name in names])
        bases = Counter(posixpath.basename(file) for file in {written(row.file) for row in rows})
        named = set(found)
        left = []
        for row in rows:
            file = written(row.file)
            base = posixpath.basename(file)
            position = positions.get(file, positions.get(base) if bases[base] == 1 else None)
            if position is None or position in named:
                left.append(row)
            elif (other := found.setdefault(position, row)).value != row.value:
                raise UsageError(
                    f"{listing.where}: lines {other.line} and {row.line} give {names[position]} two values, "
                    f"{other.value or 'none'} and {row.value or 'none'}: remove one"
                )
        rows = left
    return found, len(rows)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", posixpath.normpath(name)).casefold()


def _stem(name: str) -> str:
    stem, suffix = posixpath.splitext(_folded(name))
    return stem if suffix in IMAGE_SUFFIXES else stem + suffix


def _positions(paths: Sequence[str]) -> dict[str, int]:
    """Positions by path, by path below the folder that is common to all, and by base name, where these are unique."""
    common = posixpath.commonpath([posixpath.dirname(path) for path in (min(paths), max(paths))])
    found: dict[str, int] = {}
    for shortened in (posixpath.basename, lambda path: path[len(common) :].lstrip("/"), str):
        keys = [shortened(path) for path in paths]
        counts = Counter(keys)
        found |= {key: position for position, key in enumerate(keys) if counts[key] == 1}
    return found


def _classes(listing: Listing, column: str, values: Sequence[str]) -> tuple[np.ndarray, tuple[str, ...]]:
    whole = {value: re.fullmatch(r"([+-]?\d{1,18})(\.0*)?", value) for value in set(values)}
    numbers = {value: int(found[1]) for value, found in whole.items() if found}
    if len(numbers) == len(whole):  # 1 and 1.0 are one class, by the shorter name
        shortest = {numbers[value]: value for value in sorted(numbers, key=len, reverse=True)}
        values = [shortest[numbers[value]] for value in values]
    distinct = set(values)
    if not 2 <= len(distinct) <= MOST_CLASSES or len(distinct) == len(values):
        raise UsageError(
            f"{listing.where}: {column} has {len(distinct)} different values for {len(values)} images, which are no "
            f"classes; choose a column with 2 to {MOST_CLASSES}"
        )
    if set(numbers.values()) in ({0, 1}, {-1, 1}) and len(numbers) == len(whole):
        word = column.lower().replace("_", " ")
        return np.array([numbers[value] == 1 for value in values], np.int64), (f"not {word}", word)
    classes = sorted(distinct, key=natural)
    if len(numbers) == len(whole):
        classes.sort(key=lambda value: numbers[value])
    indices = {value: index for index, value in enumerate(classes)}
    return np.array([indices[value] for value in values], np.int64), tuple(map(printable, classes))


def _celeba_split(where: Path, names: Sequence[str], listing: Listing, kept: Sequence[int]) -> np.ndarray:
    """CelebA's own split of the images kept, int8 (n,): 0 train, 1 val, 2 test, the order of SPLITS."""
    found, _ = _match(listing, names, partition(listing))
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
