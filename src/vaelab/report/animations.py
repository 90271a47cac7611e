"""The moving pictures of runs: those that fit into a page with stills of their own, and where all of them lie."""

import base64
import io
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from PIL import Image

from vaelab.report.record import Record

LARGEST = 1_100_000  # bytes of one, as runs write them
MOST_PIXELS = 1 << 24  # of one
BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)


class MovingPicture(NamedTuple):
    """A GIF and its first frame, as URIs."""

    title: str
    uri: str
    still: str


def of_runs(records: Sequence[Record], most: int) -> dict[str, list[MovingPicture]]:
    """The moving pictures of runs by the run's name, in order, as long as all have so many bytes at most."""
    found: dict[str, list[MovingPicture]] = {record.name: [] for record in records}
    for record in records:
        for file in gifs(record.folder):
            with suppress(OSError, ValueError, SyntaxError, *BOMBS):  # what others wrote may be no picture
                picture = _read(file)
                most -= len(picture.uri) + len(picture.still)
                if most < 0:
                    return found
                found[record.name].append(picture)
    return found


def links(records: Sequence[Record], folder: Path) -> Iterator[tuple[Record, list[tuple[str, str]]]]:
    """Each run that has moving pictures, with their titles and their places as seen from a folder."""
    for record in records:
        if files := gifs(record.folder):
            paths = [Path(os.path.relpath(file, folder)).as_posix() for file in files]
            yield record, [(title(file), quote(path)) for file, path in zip(files, paths, strict=True)]


def gifs(folder: Path) -> list[Path]:
    """The moving pictures of a run folder."""
    found = [*folder.glob("figures/*.gif"), *folder.glob("figures/snapshots/*.gif")]
    return sorted(file for file in found if file.is_file() and file.stat().st_size <= LARGEST)


def title(file: Path) -> str:
    """What a file shows."""
    words = file.stem.replace("_", " ")
    return f"{words} over the epochs" if file.parent.name == "snapshots" else words


def _read(file: Path) -> MovingPicture:
    data = file.read_bytes()
    with (
        warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning),
        Image.open(io.BytesIO(data), formats=["GIF"]) as picture,
    ):
        if picture.width * picture.height > MOST_PIXELS:
            raise ValueError(f"{file} is larger than a run's")
        still = io.BytesIO()
        picture.convert("RGB").save(still, "WEBP", quality=80, method=2)
    return MovingPicture(title(file), _uri("gif", data), _uri("webp", still.getvalue()))


def _uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
