"""What ${key} stands for, where it stands for no more than another key's value."""

import re
from functools import reduce
from typing import Any

PLAIN = re.compile(r"\$\{(\w+(?:\.\w+)*)\}")


def followed(values: Any) -> dict[str, Any] | None:
    """The values with each ${key} replaced by that key's value; None where there is more to resolve than that.

    OmegaConf parses every interpolation of every run anew, which is most of the time of a sweep of hundreds of runs.
    """
    try:
        return dict(_follow(values, values))
    except (LookupError, TypeError, RecursionError):
        return None


def _follow(value: Any, root: Any) -> Any:
    if isinstance(value, dict):
        return {key: _follow(inner, root) for key, inner in value.items()}
    if isinstance(value, list):
        return [_follow(inner, root) for inner in value]
    if not isinstance(value, str) or "${" not in value:
        return value
    path = PLAIN.fullmatch(value)
    target = reduce(lambda node, key: node[key], path[1].split("."), root) if path else None
    if path is None or target == "???":
        raise LookupError
    return _follow(target, root)


def first(values: Any, path: str = "") -> str | None:
    """Where values hold an interpolation, as a dotted key; None where there is none."""
    if isinstance(values, str):
        return path if "${" in values else None
    pairs = (
        values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    )
    found = (first(value, f"{path}.{key}" if path else str(key)) for key, value in pairs)
    return next(filter(None, found), None)
