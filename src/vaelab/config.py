"""The typed schema of the configuration: refuses what is unknown, missing or mistyped, by name."""

import inspect
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vaelab import UsageError
from vaelab.bounds import Above, AtLeast, Count, Dpi, Filled, Inside, Seed, Width
from vaelab.interpolations import followed
from vaelab.mistakes import describe_value
from vaelab.names import CONF as CONF
from vaelab.names import choices, known_keys, nearest, shown

# What a file can hold, in words.
NAMES = {int: "a whole number", float: "a number", bool: "true or false", str: "text", type(None): "null"}
# An object to build: _target_ and its arguments, checked against the target's signature.
Group = Mapping[str, Any]
Path = Annotated[str, Filled()]


@dataclass
class Trainer:
    """conf/trainer."""

    device: Literal["auto", "cpu", "cuda"]
    precision: Literal["auto", "fp32", "tf32", "bf16"]
    compile: Literal["auto"] | bool
    gradient_clip: Annotated[float, Above(0)] | None
    skip_gradient_above: Annotated[float, Above(0)] | None
    max_seconds: Annotated[float, Above(0)] | None
    ema: Annotated[float, Inside(0, 1)] | None
    keep: Literal["last", "best"]
    patience: Count | None


@dataclass
class Reported:
    """What others have reported: a number, shown beside that of runs with the values of `when`, or words."""

    metric: str | None = None  # as in evaluation/metrics.json
    value: float | None = None
    finding: str | None = None
    when: dict[str, Any] = field(default_factory=dict)  # by dotted keys of the configuration
    source: str | None = None


@dataclass
class Train:
    """conf/train.yaml."""

    dataset: Group
    model: Group
    loss: Group
    optimizer: Group
    trainer: Trainer
    evaluation: dict[str, Group]
    kl_weight: Annotated[float, AtLeast(0)]
    latent_dim: Width
    epochs: Count
    batch_size: Count
    lr: Annotated[float, Above(0)]
    lr_schedule: Literal["constant", "cosine", "step"]
    lr_warmup_epochs: Annotated[float, Above(0)] | None
    lr_step_epochs: Annotated[float, Above(0)]
    lr_step_factor: Annotated[float, Above(0)]
    seed: Seed
    snapshot_epochs: list[Count]
    log_every: Count | None
    dpi: Dpi
    chapter: str | None
    reported: list[Reported]
    data_dir: Path
    output_dir: Path
    rerun: bool
    likelihood: Group | None = None  # of losses that have one
    regulariser: Group | None = None


@dataclass
class Place:
    """Where the images of a run are now."""

    path: str | None


@dataclass
class Evaluate:
    """conf/evaluate.yaml."""

    dataset: Place
    evaluation: dict[str, Group]
    run: Path
    data_dir: Path | None
    device: Literal["auto", "cpu", "cuda"]
    dpi: Dpi


@dataclass
class Data:
    """conf/data.yaml."""

    dataset: Group
    action: Literal["prepare", "show", "list"]
    source: Path | None
    data_dir: Path
    output_dir: Path
    dpi: Dpi


@dataclass
class Report:
    """conf/report.yaml."""

    runs: Path
    output_dir: Path
    dpi: Dpi


def check(cfg: DictConfig, schema: type) -> dict[str, Any]:
    """The configuration as plain values.

    Raises UsageError, in one line, for the first key that is unknown, missing, mistyped or out of range.
    """
    values = _resolved(cfg)
    hints = get_type_hints(schema, include_extras=True)
    # Hydra leaves an empty list of choices out.
    complete = {"evaluation": {}, **values} if "evaluation" in hints else values
    _check_keys(complete, hints, "", _required(schema))
    for number, reported in enumerate(values.get("reported", [])):
        if ("finding" in reported) == ("metric" in reported) or ("metric" in reported) != (
            "value" in reported
        ):
            raise UsageError(f"reported[{number}] is not one thing: give metric and value, or finding")
        _check_conditions(reported.get("when", {}), f"reported[{number}].when", complete)
    return values


def check_arguments(
    function: Callable[..., Any], arguments: Mapping[str, Any], path: str, given: Iterable[str] = ()
) -> None:
    """Raises UsageError where the arguments of a group do not fit the signature of what it builds.

    `given` names the parameters that the program itself passes, which a configuration must not hold.
    """
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)  # of torch's own modules
    }
    for name in given:
        parameters.pop(name, None)
    described = function.__init__ if inspect.isclass(function) else function
    hints = get_type_hints(described, include_extras=True)
    expected = {name: hints.get(name, Any) for name in parameters}
    required = {n for n, p in parameters.items() if p.default is inspect.Parameter.empty}
    _check_keys(arguments, expected, f"{path}.", required)


def refuse_unused_kl_weight(configs: Iterable[DictConfig], overrides: Iterable[str]) -> None:
    """Raises UsageError where overrides give a kl_weight to losses of which none has a KL term."""
    given = [override for override in overrides if override.lstrip("+").startswith("kl_weight=")]
    if given and not any(cfg.get("regulariser") for cfg in configs):
        raise UsageError(f"{given[0]} weights nothing, for the chosen loss has no KL term: leave it out")


def drop_settings_of_unchosen_evaluations(cfg: DictConfig) -> None:
    """Removes what an experiment sets of evaluations that another list of evaluations has left out.

    A name that no evaluation has stays, to be refused.
    """
    known = choices("evaluation")
    chosen = cfg.get("evaluation")
    plain = OmegaConf.to_container(chosen, resolve=False) if isinstance(chosen, DictConfig) else {}
    assert isinstance(plain, dict)
    for name, settings in plain.items():
        if name in known and isinstance(settings, dict) and "_target_" not in settings:
            del cfg.evaluation[name]


def _resolved(cfg: DictConfig) -> dict[str, Any]:
    try:
        values = followed(OmegaConf.to_container(cfg, resolve=False)) or OmegaConf.to_container(
            cfg, resolve=True
        )
    except OmegaConfBaseException as error:
        raise UsageError(describe_value(error)) from error
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _check_conditions(conditions: Mapping[str, Any], path: str, values: Mapping[str, Any]) -> None:
    own = _single_values(values)
    for key in conditions:
        if key not in own:  # it would never hold, unless another choice of a group has the key
            known = [*own, *(k for k in known_keys("train") if "." in k)]
            if key not in known:
                raise UsageError(f"{path}: there is no single value {key}{nearest(str(key), known)}")


def _single_values(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The dotted keys of all that holds no further keys."""
    found = []
    for key, value in values.items():
        inner = isinstance(value, Mapping)
        found += _single_values(value, f"{prefix}{key}.") if inner else [f"{prefix}{key}"]
    return found


def _required(schema: Any) -> set[str]:
    return {f.name for f in fields(schema) if f.default is MISSING and f.default_factory is MISSING}


def _check_keys(values: Mapping[str, Any], hints: Mapping[str, Any], prefix: str, required: set[str]) -> None:
    for key, value in values.items():
        if key == "_target_":
            continue
        if key not in hints:
            where = f" in {prefix[:-1]}" if prefix else ""
            hint = nearest(f"{prefix}{key}", [f"{prefix}{known}" for known in hints])
            raise UsageError(
                f"there is no key {shown(f'{prefix}{key}')}{hint}; known{where}: {', '.join(hints)}"
            )
        check_value(value, hints[key], f"{prefix}{key}")
    for key in hints:
        if key in required and key not in values:
            raise _missing(f"{prefix}{key}", hints[key])


def _missing(path: str, hint: Any) -> UsageError:
    in_a_list = "[" in path  # where an override cannot reach
    value = " or ".join(map(str, _literals(hint))) or "..."
    return UsageError(f"{path} is missing" + ("" if in_a_list else f": give {path}={value}"))


def check_value(value: Any, hint: Any, path: str) -> None:
    """Raises UsageError where the value of one key does not fit its type hint."""
    if value == "???":
        raise _missing(path, hint)
    if hint == Group | None and value is None:
        return
    if hint in (Group, Group | None):
        if not isinstance(value, Mapping) or "_target_" not in value:
            raise UsageError(f"{path}={shown(value)} names nothing to build: choose {path}=... from --help")
        return
    if is_dataclass(hint) and isinstance(value, Mapping):
        _check_keys(value, get_type_hints(hint, include_extras=True), f"{path}.", _required(hint))
        return
    if get_origin(hint) is list and is_dataclass(get_args(hint)[0]) and isinstance(value, list):
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
        literals = [str(x) for x in _literals(hint)]
        raise UsageError(f"{path}={shown(value)} is not {_describe(hint)}{nearest(shown(value), literals)}")


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


def _literals(hint: Any) -> list[Any]:
    if get_origin(hint) is Literal:
        return list(get_args(hint))
    return [x for arg in get_args(hint) for x in _literals(arg)]


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
