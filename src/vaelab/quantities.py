"""What a number is called, what it counts in and how it is written: declared beside the code that computes it."""

import json
import math
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal

OLDER = Path(__file__).parent / "runs" / "older_quantities.json"  # of run folders that do not say theirs
LONGEST = 100  # characters of a title or unit that others wrote


@dataclass(frozen=True)
class Quantity:
    """A number of metrics.csv or evaluation/metrics.json."""

    name: str
    title: str
    unit: str = ""
    digits: int | None = None  # after the point; None: as many as are read easily
    better: Literal["", "higher", "lower"] = ""  # of what is shown
    sign: Literal[1, -1] = 1  # an ELBO is shown as −ELBO
    of: Literal["", "images", "samples"] = ""  # measured of each test image, or of new images
    shown: Literal["", "report", "always"] = ""  # in tables without being asked for
    beside: str = ""  # the quantity that it is read against
    whose: str = ""  # the number beside
    is_setting: bool = False  # worth a curve only where it changes

    @property
    def heading(self) -> str:
        """The title with its unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    @property
    def short_heading(self) -> str:
        """The title with the first word of its unit."""
        return f"{self.title} ({self.unit.split()[0]})" if self.unit.strip() else self.title

    def lines(self, width: int) -> list[str]:
        """The title and the unit in lines of about so many characters."""
        return textwrap.wrap(self.title, width) + ([f"({self.unit})"] if self.unit else [])

    def measured(self, value: float) -> str:
        """A value as it is shown, with its unit."""
        return f"{self.written(value)} {self.unit}".rstrip()

    def written(self, value: Any) -> str:
        """A value, which has the sign that it is shown with."""
        if self.digits is None or isinstance(value, bool) or not isinstance(value, int | float):
            return amount(value)
        # What is too little for so many digits, or too much to be read with them.
        if math.isnan(value) or 0 < abs(value) < 10**-self.digits or abs(value) >= 1e10:
            return amount(value)
        return f"{value:,.{self.digits}f}"


KEYS = tuple(f.name for f in fields(Quantity) if f.name != "name")
WEIGHT = Quantity("kl_weight", "λ", is_setting=True)
SECONDS = Quantity("seconds", "time", "s", digits=1, better="lower", shown="always")
LEARNING_RATE = Quantity("lr", "learning rate", is_setting=True)
SKIPPED = Quantity("skipped", "share of steps left out", is_setting=True)


def amount(value: Any) -> str:
    """A number as it is read: five digits, no exponent where there need not be one."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if abs(value) >= 1e10:
        return f"{value:.4g}" if isinstance(value, float) else str(value)
    if float(value).is_integer():
        return f"{int(value):,}" if abs(value) >= 10_000 else f"{int(value)}"
    return f"{value:,.2f}" if abs(value) >= 100 else f"{value:.4g}"


def stored(quantities: Iterable[Quantity]) -> dict[str, dict[str, Any]]:
    """Quantities by name as run.json has them, without what is not said."""
    defaults = {f.name: f.default for f in fields(Quantity)}
    return {
        one.name: {key: value for key in KEYS if (value := getattr(one, key)) != defaults[key]}
        for one in quantities
    }


def of_run(info: Mapping[str, Any]) -> dict[str, Quantity]:
    """The quantities that run.json declares, or those of the versions that declared none."""
    told = info.get("quantities")
    return read(told) if isinstance(told, Mapping) else _older()


def read(values: Mapping[Any, Any]) -> dict[str, Quantity]:
    """Quantities from what others wrote: those without a title are left out, and so is each value that is none."""
    found = {}
    for name, given in values.items():
        if isinstance(given, Mapping) and isinstance(given.get("title"), str):
            fitting = {key: given[key] for key in KEYS if key in given and _fits(key, given[key])}
            found[str(name)] = Quantity(**{"title": str(name), **fitting, "name": str(name)})
    return found


def _fits(name: str, value: Any) -> bool:
    choices = {
        "better": ("", "higher", "lower"),
        "sign": (1, -1),
        "of": ("", "images", "samples"),
        "shown": ("", "report", "always"),
    }
    if name == "digits":
        return value is None or (type(value) is int and 0 <= value <= 9)
    if name in choices:
        return value in choices[name]
    if name == "is_setting":
        return isinstance(value, bool)
    return isinstance(value, str) and len(value) <= LONGEST


@cache
def _older() -> dict[str, Quantity]:
    return read(json.loads(OLDER.read_text(encoding="utf-8")))


def called(name: str, quantities: Mapping[str, Quantity]) -> Quantity:
    """The quantity of this name, or one that is called as it is named."""
    return quantities.get(name) or Quantity(name, name.replace("_", " "))
