"""What the names of files say: which are images, which of them can be read, and how they sort."""

import posixpath
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from vaelab import UsageError

IMAGE_SUFFIXES = frozenset(
    (
        ".avif",
        ".bmp",
        ".gif",
        ".heic",
        ".heif",
        ".j2k",
        ".jfif",
        ".jp2",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pbm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    )
)


def is_image(name: str) -> bool:
    """Whether a relative path names an image: by its suffix, and neither hidden nor macOS's side files."""
    return suffix_of(name) in IMAGE_SUFFIXES and not is_hidden(name)


def is_hidden(name: str) -> bool:
    """Whether a relative path is hidden, or one of macOS's side files."""
    return any((part.startswith(".") and part != ".") or part == "__MACOSX" for part in name.split("/"))


def suffix_of(name: str) -> str:
    """The suffix of a path in lower case, with its dot, or nothing."""
    return posixpath.splitext(name)[1].lower()


def readable(where: Path, names: Sequence[str]) -> list[str]:
    """The images of a source in formats that the installed Pillow reads; the others are counted on stderr.

    Raises UsageError where there are only others.
    """
    from PIL import Image

    formats = Image.registered_extensions()
    suffixes = [suffix_of(name) for name in names]
    others = Counter(suffix for suffix in suffixes if suffix not in formats)
    if not others:
        return list(names)
    counts = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
    reason = f"{counts}, which the installed Pillow cannot read: convert them to .png or .jpg"
    if others.total() == len(names):
        raise UsageError(f"the images of {where} are {reason}")
    print(f"left out of {len(names)} images of {where}: {reason}", file=sys.stderr)
    return [name for name, suffix in zip(names, suffixes, strict=True) if suffix in formats]


def natural(name: str) -> tuple[tuple[tuple[str, int, str], ...], str]:
    """A key that sorts numbers within names by their size, 1, 2, 10, and all else by code points."""
    parts = [part.lstrip("0") or "0" if part.isdecimal() else part for part in re.findall(r"\d+|\D", name)]
    # A number stands where digits stand among characters; of two the one with more digits is larger.
    return tuple(("0", len(part), part) if part.isdecimal() else (part, 0, "") for part in parts), name
