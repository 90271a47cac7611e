"""Images in Parquet files, as Hugging Face keeps its image data sets."""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from vaelab import UsageError
from vaelab.data.arrays import classes_of, has_label
from vaelab.data.classes import completed, splits_of
from vaelab.data.limits import MOST_FILE_BYTES, refuse_ratio
from vaelab.data.pictures import raw_pictures
from vaelab.data.ranges import Range
from vaelab.data.raw import Labelled, Raw, Selection, Size
from vaelab.data.sources import Source
from vaelab.data.stream import Stream

ROWS = 8  # read at a time: a page may hold one large picture that all rows point to


def read_parquet(
    source: Source, size: Size, workers: int, image_key: str | None, label_key: str | None, span: Range | None
) -> Raw:
    """The pictures of a column of one Parquet file or several, with the split that the names of these say.

    Raises UsageError for missing columns, columns of another type, and files that cannot be read.
    """
    with _reading(source):
        metadata = [_parquet().read_metadata(file) for file in source.files]
        schema = metadata[0].schema.to_arrow_schema()
        column = _image_column(source, schema, image_key)
        for file, found in zip(source.files, metadata, strict=True):
            _refuse_bomb(file, found, column)
        counts = [found.num_rows for found in metadata]
        labels, classes = _labels(source, schema, label_key, sum(counts))
    names = [
        f"{file} row {row}"
        for file, count in zip(source.names(), counts, strict=True)
        for row in range(count)
    ]
    rows = {name: row for row, name in enumerate(names)}
    stream = Stream(lambda: _pictures(source, column))
    split, remark = _split(source, counts)
    selection = Selection(np.arange(len(names)), {}, remark) if remark else None

    def open_row(name: str) -> io.BytesIO:
        [picture] = stream.take(range(rows[name], rows[name] + 1))
        if picture is None or len(picture) > MOST_FILE_BYTES:
            raise ValueError("no picture, or more bytes than one has")
        return io.BytesIO(picture)

    labelled = Labelled(names, labels, classes, split, selection)
    return raw_pictures(source.path, labelled, open_row, size, workers, span)


def _parquet() -> Any:
    try:
        from pyarrow import parquet
    except ImportError:
        raise UsageError("a Parquet file needs pyarrow: pip install 'vaelab[parquet]'") from None
    return parquet


@contextmanager
def _reading(source: Source) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # all of pyarrow's that damaged bytes cause are one of these
        raise UsageError(f"{source.path} cannot be read: {' '.join(str(error).split())}") from None


def _image_column(source: Source, schema: Any, image_key: str | None) -> str:
    """The name of the column of bytes, within the struct of bytes and path where there is one."""
    from pyarrow import types

    if image_key is None or image_key not in schema.names:
        nearest = get_close_matches(str(image_key), schema.names, n=1)
        remedy = f"dataset.image_key={nearest[0] if nearest else 'COLUMN'}"
        raise UsageError(
            f"{source.path} has no column {image_key}, only {', '.join(schema.names)}: give {remedy}"
        )
    kind = schema.field(image_key).type
    if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return f"{image_key}.bytes"
    if types.is_binary(kind) or types.is_large_binary(kind):
        return image_key
    raise UsageError(f"{source.path}: the column {image_key} is of type {kind}, and not of pictures (bytes)")


def _refuse_bomb(file: Path, metadata: Any, column: str) -> None:
    groups = [metadata.row_group(group) for group in range(metadata.num_row_groups)]
    chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
    pictures = [chunk for chunk in chunks if chunk.path_in_schema == column]
    packed = sum(chunk.total_compressed_size for chunk in pictures)
    refuse_ratio(file, packed, sum(chunk.total_uncompressed_size for chunk in pictures), "write it anew")


def _labels(
    source: Source, schema: Any, label_key: str | None, count: int
) -> tuple[np.ndarray | None, tuple[str, ...]]:
    if label_key is None or not has_label(source.path, schema.names, label_key):
        return None, ()
    tables = [_parquet().read_table(file, columns=[label_key]) for file in source.files]
    labels = np.array([label for table in tables for label in table.column(0).to_pylist()])
    names = _class_names(schema, label_key)
    if names is None:
        return classes_of(f"{source.path}, column {label_key}", labels, count)
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= len(names):
        raise UsageError(
            f"{source.path}: the column {label_key} has labels of none of its {len(names)} classes: do without it by "
            "dataset.label_key=null"
        )
    return labels.astype(np.int64), names


def _class_names(schema: Any, label_key: str) -> tuple[str, ...] | None:
    """The names that Hugging Face gives to the classes of a column, in the metadata of the file."""
    try:
        known = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"][label_key]["names"]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    return tuple(map(str, known)) if isinstance(known, list) else None


def _split(source: Source, counts: list[int]) -> tuple[np.ndarray | None, str]:
    """The split of the rows, where the files are called train-00000-of-00001.parquet or lie in a folder train."""
    words = [file.name.split("-")[0] if "-" in file.name else file.parent.name for file in source.files]
    split, _ = splits_of([f"{word}/{number}" for number, word in enumerate(words)])
    return (None, "") if split is None else completed(np.repeat(split, counts))


def _pictures(source: Source, column: str) -> Iterator[bytes | None]:
    for file in source.files:
        with _parquet().ParquetFile(file) as opened:
            for batch in opened.iter_batches(ROWS, columns=[column]):
                pictures = batch.column(0)
                if "." in column:
                    pictures = pictures.field("bytes")
                yield from (picture.as_py() for picture in pictures)
