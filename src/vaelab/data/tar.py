"""Images in a .tar, as webdataset keeps them: 000001.jpg beside 000001.cls; nothing is unpacked to the disk."""

import gzip
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple, cast

import numpy as np

from vaelab import UsageError
from vaelab.data.arrays import classes_of
from vaelab.data.attributes import MOST_CLASSES
from vaelab.data.classes import by_folders
from vaelab.data.filenames import is_image, readable
from vaelab.data.limits import MOST_FILE_BYTES, MOST_IMAGES, refuse_ratio
from vaelab.data.pictures import raw_pictures
from vaelab.data.ranges import Range
from vaelab.data.raw import Raw, Size
from vaelab.data.sources import Source
from vaelab.data.stream import Stream
from vaelab.files import refuse_irregular

LABELS = (".cls", ".json", ".txt")
MOST_LABEL_BYTES = 1 << 20  # of a label or of a header of the archive


class Place(NamedTuple):
    """Where a picture lies in the unpacked archive."""

    start: int
    size: int


class Bounded:
    """A file of which only small pieces are read at once, for tarfile trusts the lengths that headers declare."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        """The next bytes; ValueError for more than a header has."""
        if not 0 <= size <= MOST_LABEL_BYTES:
            raise ValueError(f"a header of {size:,} bytes")
        return self._stream.read(size)


def read_tar(source: Source, size: Size, workers: int, label_key: str | None, span: Range | None) -> Raw:
    """The pictures of a .tar, labelled by the files of the same name beside them, else by folder.

    Raises UsageError where it cannot be read, or where only some pictures have a label.
    """
    where = source.path
    try:
        places, texts = _index(where)
    except UsageError:
        raise
    except Exception as error:  # tarfile and gzip raise whatever they like on damaged bytes
        raise UsageError(f"{where} cannot be read: {' '.join(str(error).split())}") from None
    if not places:
        raise UsageError(f"no images in {where}: give a .tar of images as dataset.path=FILE")
    labelled = by_folders(where, readable(where, list(places)))
    if label_key is not None and (labels := _labels(where, labelled.names, texts, label_key)):
        values, classes = classes_of(str(where), np.array(labels), len(labels))
        labelled = labelled._replace(labels=values, classes=classes)
    rows = {name: row for row, name in enumerate(places)}
    stream = Stream(lambda: _pictures(where, list(places.values())))

    def open_picture(name: str) -> io.BytesIO:
        [picture] = stream.take(range(rows[name], rows[name] + 1))
        if len(picture) < places[name].size:
            raise ValueError("it is cut off, or larger than a picture is")
        return io.BytesIO(picture)

    return raw_pictures(where, labelled, open_picture, size, workers, span)


def _open(where: Path) -> IO[bytes]:
    refuse_irregular(where)
    packed = where.suffix.lower() != ".tar"
    return cast(IO[bytes], gzip.open(where) if packed else where.open("rb"))


def _index(where: Path) -> tuple[dict[str, Place], dict[tuple[str, str], bytes]]:
    """The place of each picture, in the order of the archive, and the labels by suffix and name; links are no files."""
    places: dict[str, Place] = {}
    texts: dict[tuple[str, str], bytes] = {}
    packed, end = where.stat().st_size, 0
    with _open(where) as stream, tarfile.open(fileobj=Bounded(stream), mode="r:") as archive:  # type: ignore[call-overload]
        while member := archive.next():
            archive.members.clear()
            if archive.offset <= end or len(places) > MOST_IMAGES:
                raise ValueError("its files overlap, or are too many")
            end = archive.offset
            refuse_ratio(where, packed, end, "pack it anew")
            name = PurePosixPath(member.name)
            if not member.isreg() or member.issparse():
                continue
            if is_image(str(name)):
                places.setdefault(str(name), Place(member.offset_data, member.size))
            elif name.suffix in LABELS and member.size <= MOST_LABEL_BYTES:
                texts[name.suffix, _key(name)] = archive.extractfile(member).read()
        stream.seek(archive.offset)
        if stream.read(tarfile.BLOCKSIZE) != bytes(
            tarfile.BLOCKSIZE
        ):  # tarfile takes a damaged header for the end
            raise ValueError("it is damaged, or only the first part of it is there")
    return places, texts


def _key(name: PurePosixPath) -> str:
    """What a picture and its label share: all up to the first dot of the file's name."""
    return str(name.with_name(name.name.split(".")[0]))


def _labels(
    where: Path, names: list[str], texts: dict[tuple[str, str], bytes], label_key: str
) -> list[Any] | None:
    """The labels of the pictures, from the first kind of file that any has; None without any."""
    keys = [_key(PurePosixPath(name)) for name in names]
    for suffix in LABELS:
        missing = [key for key in keys if (suffix, key) not in texts]
        if len(missing) == len(keys):
            continue
        if missing:
            remedy = "add it, or do without by dataset.label_key=null"
            raise UsageError(f"{where}: there is no {missing[0]}{suffix}, as others have: {remedy}")
        try:
            labels = [_label(texts[suffix, key], suffix, label_key) for key in keys]
        except (ValueError, KeyError, TypeError, RecursionError):
            if suffix == ".json":  # which may say other things
                continue
            raise UsageError(f"{where}: its {suffix} are no text in UTF-8") from None
        if suffix == ".txt" and len(set(labels)) > MOST_CLASSES:  # captions
            continue
        return [int(label) for label in labels] if all(map(str.isdecimal, labels)) else labels
    return None


def _label(data: bytes, suffix: str, label_key: str) -> str:
    text = data.decode("utf-8-sig")
    return str(json.loads(text)[label_key]) if suffix == ".json" else text.strip()


def _pictures(where: Path, places: list[Place]) -> Iterator[bytes]:
    with _open(where) as stream:
        for place in places:
            stream.seek(place.start)
            yield stream.read(place.size if place.size <= MOST_FILE_BYTES else 0)
