"""Values are held to type hints: what is unknown, missing, mistyped or out of range is refused by name."""

import inspect
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from vaelab import UsageError
from vaelab.names import as_written, nearest

# What a file can hold, in words.
NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
# An object to build: _target_ and its arguments, checked against the target's signature.
Group = Mapping[str, Any]


def check_arguments(
    function: Callable[..., Any], arguments: Mapping[str, Any], path: str, given: Iterable[str] = ()
) -> None:
    """Raises UsageError where the arguments of a group do not fit the signature of what it builds.

    `given` names the parameters that the program itself passes, which a configuration must not hold.
    """
    known = {name: found for name, found in arguments_of(function).items() if name not in given}
    hints = {name: hint for name, (hint, _) in known.items()}
    check_keys(arguments, hints, f"{path}.", {name for name, (_, is_needed) in known.items() if is_needed})


def arguments_of(function: Callable[..., Any]) -> dict[str, tuple[Any, bool]]:
    """The hint of each argument and whether it is required; keywords that a class hands on are those of its bases."""
    found: dict[str, tuple[Any, bool]] = {}
    described_by = [function]
    if inspect.isclass(function):
        described_by = [vars(c)["__init__"] for c in inspect.getmro(function) if "__init__" in vars(c)]
    for described in described_by:
        try:
            hints = get_type_hints(described, include_extras=True)
        except NameError:  # of a user's own, imported for type checkers alone
            hints = {}
        hands_on = False
        for name, parameter in inspect.signature(described).parameters.items():
            hands_on |= parameter.kind is parameter.VAR_KEYWORD
            if name != "self" and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                found.setdefault(name, (hints.get(name, Any), parameter.default is parameter.empty))
        if not hands_on:
            break
    return found


def required_keys(schema: Any) -> set[str]:
    """The fields of a dataclass that have no default."""
    return {f.name for f in fields(schema) if f.default is MISSING and f.default_factory is MISSING}


def check_keys(values: Mapping[str, Any], hints: Mapping[str, Any], prefix: str, required: set[str]) -> None:
    """Raises UsageError for the first key below a prefix that is unknown, does not fit its hint, or is missing."""
    for key, value in values.items():
        if key == "_target_":
            continue
        if key not in hints:
            where = f" in {prefix[:-1]}" if prefix else ""
            hint = nearest(f"{prefix}{key}", [f"{prefix}{known}" for known in hints])
            raise UsageError(
                f"there is no key {as_written(f'{prefix}{key}')}{hint}; known{where}: {', '.join(hints)}"
            )
        check_value(value, hints[key], f"{prefix}{key}")
    for key in hints:
        if key in required and key not in values:
            raise _missing(f"{prefix}{key}", hints[key])


def _missing(path: str, hint: Any) -> UsageError:
    in_a_list = "[" in path  # where an override cannot reach
    value = " or ".join(map(str, literals(hint))) or "..."
    return UsageError(f"{path} is missing" + ("" if in_a_list else f": give {path}={value}"))


def check_value(value: Any, hint: Any, path: str) -> None:
    """Raises UsageError where the value of one key does not fit its type hint."""
    if value == "???":
        raise _missing(path, hint)
    if hint == Group | None and value is None:
        return
    if hint in (Group, Group | None):
        if not isinstance(value, Mapping) or "_target_" not in value:
            raise UsageError(
                f"{path}={as_written(value)} names nothing to build: choose {path}=... from --help"
            )
        return
    if is_dataclass(hint) and isinstance(value, Mapping):
        check_keys(value, get_type_hints(hint, include_extras=True), f"{path}.", required_keys(hint))
        return
    if isinstance(value, list) and _is_list_of_things(hint):
        for number, item in enumerate(value):
            check_value(item, get_args(hint)[0], f"{path}[{number}]")
        return
    if get_origin(hint) is dict and isinstance(value, Mapping):
        for key, item in value.items():
            check_value(item, get_args(hint)[1], f"{path}.{key}")
        return
    if not _fits(value, hint):
        if isinstance(value, str) and not value.strip():
            raise UsageError(f"{path} is empty: give {path}=...")
        listed = map(str, literals(hint))
        raise UsageError(
            f"{path}={as_written(value)} is not {_describe(hint)}{nearest(as_written(value), listed)}"
        )


def _is_list_of_things(hint: Any) -> bool:
    """Whether each place of a list is a thing of its own, which a message names."""
    item = get_args(hint)[0] if get_origin(hint) is list else None
    return is_dataclass(item) or get_origin(item) is Literal


def _fits(value: Any, hint: Any) -> bool:
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any or hint is inspect.Parameter.empty:
        return True
    if origin is Annotated:
        return _fits(value, args[0]) and args[1].holds(value)
    if origin in (Union, types.UnionType):
        return any(_fits(value, arg) for arg in args)
    if origin is Literal:
        return value in args and not isinstance(value, bool)
    if origin is dict:
        return isinstance(value, Mapping)
    if origin in (list, tuple, Sequence):
        return isinstance(value, list) and all(_fits(item, args[0]) for item in value)
    if hint is type(None):
        return value is None
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint) if isinstance(hint, type) else True


def literals(hint: Any) -> list[Any]:
    """The values that a hint lists."""
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    return [x for arg in get_args(hint) for x in literals(arg)]


def _describe(hint: Any) -> str:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return f"{_describe(args[0])} {args[1]}"
    if origin in (Union, types.UnionType):
        return " or ".join(_describe(arg) for arg in args if not inspect.isclass(arg) or arg in NAMES)
    if origin is Literal:
        return "one of " + ", ".join(map(str, args))
    if origin in (list, tuple, Sequence):
        return "a list, each " + _describe(args[0])
    if origin is dict:
        return "{key: value, ...}"
    if is_dataclass(hint):
        return "{" + ", ".join(f"{f.name}: ..." for f in fields(hint)) + "}"
    return NAMES.get(hint, str(hint))
