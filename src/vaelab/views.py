"""Views: how a report shows an evaluation's arrays, declared beside the code that makes them and kept in run.json."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

OLDER = Path(__file__).parent / "runs" / "older_views.json"  # of run folders that do not say theirs
LONGEST = 200  # characters of a text
MOST = 20  # views of an evaluation, and arrays of a key
FIELD = re.compile(
    r"\{(\W*)(\w+)\}"
)  # of a caption; what stands before the name is left out where there is no value


@dataclass(frozen=True)
class Rows:
    """Rows of images (n, H, W, C), one of each run, or (r, n, H, W, C), several: names of arrays, and captions.

    In a caption {name} is the value of an array at that image or row, {label} the name of a class, {number} counts
    from 1, and {t} goes from 0 to 1. Runs whose arrays of the `key` are alike are compared, each below the other;
    without a key each run stands for itself.
    """

    title: str
    images: str
    columns: str = "image {number}"
    rows: str = "row {number}"
    above: str = ""  # images (n, H, W, C) that all rows share
    above_title: str = ""
    beside: str = ""  # other images in a second row of each run
    beside_title: str = ""
    key: tuple[str, ...] = ()
    columns_first: bool = False  # of several rows: the images are (n, r, H, W, C)

    @property
    def arrays(self) -> tuple[str, ...]:
        """The arrays that captions name."""
        names = (name for text in (self.columns, self.rows) for _, name in FIELD.findall(text))
        return tuple(dict.fromkeys(name for name in names if name not in ("number", "t")))


def of(evaluation: object) -> tuple[Rows, ...]:
    """The views that an evaluation declares."""
    return tuple(getattr(evaluation, "views", ()))


def stored(evaluations: Mapping[str, object]) -> dict[str, list[dict[str, Any]]]:
    """The views of evaluations by name, as run.json has them."""
    return {name: [said(view) for view in found] for name, one in evaluations.items() if (found := of(one))}


def said(view: Rows) -> dict[str, Any]:
    """A view without what is as a view's defaults are."""
    defaults = {field.name: field.default for field in fields(Rows)}
    return {key: value for key, value in asdict(view).items() if value != defaults[key]}


def of_run(info: Mapping[str, Any]) -> dict[str, tuple[Rows, ...]]:
    """The views that run.json declares by evaluation, or those of the versions that declared none."""
    told = info.get("views")
    return read(told) if isinstance(told, Mapping) else _older()


def read(values: Mapping[Any, Any]) -> dict[str, tuple[Rows, ...]]:
    """Views from what others wrote; those that are none are left out."""
    return {str(name): tuple(_views(given)) for name, given in values.items() if isinstance(given, list)}


def _views(given: Iterable[Any]) -> Iterable[Rows]:
    kinds = {field.name: type(field.default) for field in fields(Rows)} | {"title": str, "images": str}
    for one in list(given)[:MOST]:
        if not isinstance(one, Mapping) or not {"title", "images"} <= one.keys():
            continue
        plain: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in one.items() if k in kinds
        }
        if all(type(value) is kinds[name] and _is_short(value) for name, value in plain.items()):
            yield Rows(**plain)


def _is_short(value: object) -> bool:
    if isinstance(value, tuple):
        return len(value) <= MOST and all(isinstance(name, str) and _is_short(name) for name in value)
    return not isinstance(value, str) or len(value) <= LONGEST


@cache
def _older() -> dict[str, tuple[Rows, ...]]:
    return read(json.loads(OLDER.read_text(encoding="utf-8")))
