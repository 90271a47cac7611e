"""Texts in figures: which installed fonts have their letters, what stands for others, and how wide they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any
from unicodedata import east_asian_width

# Families with a picture of every letter's block in its place, and of mathematics with code points of their own.
UNSUITED = ("Last Resort", ".Last", "STIX", "cm")
FONT = "DejaVu Sans"  # comes with matplotlib; others only give the letters that it has not
GLYPH = 0.55  # a character's mean width in units of the font size


def class_names(classes: Sequence[str]) -> tuple[list[str], str]:
    """The names of classes as they are drawn, and what their figure's title says of it.

    Where no installed font has their letters, they are numbers.
    """
    plain = "".join(classes)
    if plain.isascii() and plain.isprintable():  # known without the fonts, which take long to be read
        return list(classes), ""
    if not any(fallback(letters(list(classes)))[1]):
        return list(classes), ""
    told = " · classes by number, in the order of their names: no installed font has their letters"
    return [str(number) for number in range(len(classes))], told


def letters(value: Any) -> frozenset[str]:
    """The characters of all texts inside."""
    found: set[str] = set()

    def collect(text: str) -> str:
        found.update(text)
        return text

    each_text(value, collect)
    return frozenset(found)


def drawable(value: Any, absent: frozenset[str]) -> Any:
    """The value with absent characters of its texts escaped, as in \\u732b: names stay different."""
    escapes = str.maketrans({c: c.encode("unicode_escape").decode() for c in absent})
    return each_text(value, lambda text: text.translate(escapes))


def each_text(value: Any, change: Callable[[str], str]) -> Any:
    """The value with every text inside changed: those of mappings, lists and tuples too."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {each_text(key, change): each_text(inner, change) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        parts = [each_text(inner, change) for inner in value]
        return type(value)._make(parts) if hasattr(value, "_make") else type(value)(parts)
    return value


@cache
def fallback(characters: frozenset[str]) -> tuple[tuple[str, ...], frozenset[str]]:
    """The families of fonts that have what FONT lacks of these characters, and the characters that none has."""
    from matplotlib.font_manager import findfont

    absent = {c for c in characters if ord(c) not in _code_points(findfont(FONT))} - {"\n"}
    families = []
    for family, file in _installed() if absent else ():
        has = {c for c in absent if ord(c) in _code_points(file)}
        if has:
            families.append(family)
            absent -= has
        if not absent:
            break
    return tuple(families), frozenset(absent)


def _installed() -> Iterator[tuple[str, str]]:
    """Each upright family and its file nearest to the regular weight, Noto's first: they are made to go together."""
    from matplotlib.font_manager import fontManager

    suited = (entry for entry in fontManager.ttflist if not entry.name.startswith(UNSUITED))
    upright = [entry for entry in suited if entry.style == "normal"]
    upright.sort(
        key=lambda entry: (not entry.name.startswith("Noto "), entry.name, abs(int(entry.weight) - 400))
    )
    files: dict[str, str] = {}
    for entry in upright:
        files.setdefault(entry.name, entry.fname)
    return iter(files.items())


@cache
def _code_points(file: str) -> frozenset[int]:
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(FT2Font(file).get_charmap())
    except (OSError, RuntimeError):  # a font of the user's that cannot be read
        return frozenset()


def shorten(name: str, length: int) -> str:
    """A name in one line of at most so many characters of the mean width."""
    name = " ".join(name.split())
    if breadth(name) <= length:
        return name
    name = name[:length]
    while len(name) > 1 and breadth(name) > length - 1:
        name = name[:-1]
    return name + "…"


def breadth(text: str) -> float:
    """The width of a text in characters of the mean width; those of East Asia are as wide as high."""
    return sum(1 / GLYPH if east_asian_width(c) in "WF" else 1.0 for c in text)
