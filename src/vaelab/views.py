"""Views: how a report shows an evaluation's arrays, declared beside the code that makes them and kept in run.json."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

OLDER = Path(__file__).parent / "runs" / "older_views.json"  # of run folders that do not say theirs
LONGEST = 200  # characters of a text
NAME = re.compile(r"\w[\w-]{0,99}")  # of an evaluation, which is that of its file of arrays
MOST = 20  # views of an evaluation, and arrays of a key
# Of a caption; what stands before and after the name is left out where there is no value.
FIELD = re.compile(r"\{([^{}\w]*)(\w+)([^{}\w]*)\}")


@dataclass(frozen=True)
class Rows:
    """Rows of images (n, H, W, C), one of each run, or (r, n, H, W, C), several: names of arrays, and captions.

    In a caption {name} is the value of an array at that image or row, {label} the name of a class, {number} counts
    from 1, and {t} goes from 0 to 1; NaN is no value. Runs whose arrays of the `key` are alike are compared, each
    below the other; without a key each run stands for itself, and below each of several rows its difference from
    what stands `beside`. Earlier epochs that an evaluation has kept are a slider.
    """

    title: str
    images: str
    columns: str = "image {number}"
    rows: str = "row {number}"
    above: str = ""  # images (n, H, W, C) that all rows share
    above_title: str = ""
    beside: str = ""  # other images in a second row of each run
    beside_title: str = ""
    beside_note: str = ""  # why it stands there
    key: tuple[str, ...] = ()
    columns_first: bool = False  # of several rows: the images are (n, r, H, W, C)

    @property
    def arrays(self) -> tuple[str, ...]:
        """The arrays that captions name."""
        names = (name for text in (self.columns, self.rows) for _, name, _ in FIELD.findall(text))
        return tuple(dict.fromkeys(name for name in names if name not in ("number", "t")))


@dataclass(frozen=True)
class Bars:
    """An array (n,) of numbers as bars, those of all runs in one chart."""

    title: str
    values: str
    x: str = ""  # what is counted along the axis
    unit: str = ""


@dataclass(frozen=True)
class Grid:
    """An array (rows, columns) of numbers as a map of colours, one for each run."""

    title: str
    values: str
    x: str = ""
    y: str = ""
    unit: str = ""


View = Rows | Bars | Grid
KINDS: dict[str, type[View]] = {"rows": Rows, "bars": Bars, "grid": Grid}


def of(evaluation: object) -> tuple[View, ...]:
    """The views that an evaluation declares."""
    return tuple(getattr(evaluation, "views", ()))


def stored(evaluations: Mapping[str, object]) -> dict[str, list[dict[str, Any]]]:
    """The views of evaluations by name, as run.json has them."""
    return {name: [said(view) for view in found] for name, one in evaluations.items() if (found := of(one))}


def said(view: View) -> dict[str, Any]:
    """A view with its kind, without what is as a view's defaults are."""
    kind = next(name for name, cls in KINDS.items() if isinstance(view, cls))
    defaults = {field.name: field.default for field in fields(view)}
    return {"kind": kind} | {key: value for key, value in asdict(view).items() if value != defaults[key]}


def of_run(info: Mapping[str, Any]) -> dict[str, tuple[View, ...]]:
    """The views by evaluation: what run.json declares, and of others what this version does."""
    told = info.get("views")
    return _older() | (read(told) if isinstance(told, Mapping) else {})


def read(values: Mapping[Any, Any]) -> dict[str, tuple[View, ...]]:
    """Views from what others wrote; those that are none are left out."""
    return {
        name: tuple(_views(given[:MOST]))
        for name, given in values.items()
        if isinstance(name, str) and NAME.fullmatch(name) and isinstance(given, list)
    }


def _views(given: Iterable[Any]) -> Iterator[View]:
    for one in given:
        cls = KINDS.get(str(one.get("kind"))) if isinstance(one, Mapping) else None
        if cls is None:
            continue
        kinds = {
            field.name: str if field.default is MISSING else type(field.default) for field in fields(cls)
        }
        plain: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in one.items() if k in kinds
        }
        needed = {field.name for field in fields(cls) if field.default is MISSING}
        if needed <= plain.keys() and all(type(v) is kinds[k] and _is_short(v) for k, v in plain.items()):
            yield cls(**plain)


def _is_short(value: object) -> bool:
    if isinstance(value, tuple):
        return len(value) <= MOST and all(isinstance(name, str) and _is_short(name) for name in value)
    return not isinstance(value, str) or len(value) <= LONGEST


@cache
def _older() -> dict[str, tuple[View, ...]]:
    return read(json.loads(OLDER.read_text(encoding="utf-8")))
