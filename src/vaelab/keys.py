"""The keys of a configuration that are more than a setting of the training: one table of what each is to a run."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Key(NamedTuple):
    """What a key is to a run; the keys that have no line in the table are settings that are all of this but a path."""

    identifies: bool = True  # another value is another run
    is_named: bool = True  # in the name of the folder
    draws_lines: bool = True  # runs that differ in it are on different lines along λ
    trains: bool = True  # another value is another training
    is_tabled: bool = True  # a column of table.csv
    is_path: bool = False  # kept as it is typed, and absolute in a run folder


PLACE = Key(is_path=True, trains=False, draws_lines=False)
OUTSIDE = Key(identifies=False, is_named=False, draws_lines=False, trains=False, is_tabled=False)

KEYS = {
    "kl_weight": Key(draws_lines=False),
    "regulariser.kl_weight": Key(draws_lines=False),
    "regulariser.target": Key(draws_lines=False),
    "seed": Key(draws_lines=False),
    "trainer": Key(draws_lines=False),
    "dataset": Key(is_named=False),
    "model": Key(is_named=False),
    "data_dir": PLACE._replace(is_named=False, is_tabled=False),
    "dataset.data_dir": PLACE,
    "dataset.path": PLACE,
    "dataset.files": Key(trains=False),
    "dataset.hint": Key(trains=False),
    "dataset.attributes": PLACE._replace(draws_lines=True),
    "evaluation": Key(draws_lines=False, trains=False),
    "snapshot_epochs": Key(draws_lines=False, trains=False),
    "log_every": Key(draws_lines=False, trains=False),
    "dpi": Key(draws_lines=False, trains=False, is_tabled=False),
    "plugins": OUTSIDE._replace(is_tabled=True),
    "trackers": OUTSIDE,
    # Of another tool's checkpoint, of which there is one for each λ.
    "foreign.path": Key(identifies=False, draws_lines=False),
    "foreign.weights": Key(draws_lines=False, is_tabled=False),
    # For reports; they may change afterwards.
    "chapter": OUTSIDE._replace(is_tabled=True),
    "reported": OUTSIDE,
    "output_dir": OUTSIDE,
    "rerun": OUTSIDE,
    # Of a sweep.
    "list": OUTSIDE,
    "n": OUTSIDE,
}


def flatten(values: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """A tree of keys as one level of dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def kl_weight_of(config: Mapping[str, Any], metrics: Mapping[str, Any]) -> Any:
    """λ of a run as its configuration has it, or what a target of the KL has driven it to, in three digits.

    None without a KL term, and `conditioned` of a network that is told λ.
    """
    regulariser = config.get("regulariser") or {}
    measured = metrics.get("kl_weight")
    if regulariser.get("target") is not None and isinstance(measured, int | float):
        return float(f"{measured:.3g}")
    return regulariser.get("kl_weight", config["loss"].get("kl_weight"))


def without(what: str) -> tuple[str, ...]:
    """The keys that are not this, a field of Key."""
    return tuple(name for name, key in KEYS.items() if not getattr(key, what))


FOR_REPORTS = ("chapter", "reported")
SWEEP_ONLY = ("list", "n")  # keys of a sweep that no run has
PLACES = tuple(name for name, key in KEYS.items() if key.is_path)

CONDITIONED = "conditioned"  # kl_weight of a network that is told λ
