"""The JSON schema of the configuration, from its typed schema and conf/, for editors that know YAML"""

import re
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from omegaconf import OmegaConf

from vaelab import build, config, names
from vaelab.bounds import Above, AtLeast, Between, Filled, Inside
from vaelab.checks import Group, arguments_of, required_keys
from vaelab.keys import SWEEP_ONLY
from vaelab.names import CONF

Schema = dict[str, Any]

DIALECT = "http://json-schema.org/draft-07/schema#"  # what editors read
PLAIN: dict[Any, Schema] = {
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    str: {"type": "string"},
    type(None): {"type": "null"},
}
REFERENCE: Schema = {"type": "string", "pattern": r"\$\{|^\?\?\?$"}  # to another key, or missing
LISTED = ("evaluation", "experiment")  # groups with several choices at once
OVERRIDES = r"^(override |optional )?/?{group}(@[\w.]+)?$"  # of a defaults list


def of(command: str, folder: Path | None = None) -> Schema:
    """The schema of a command's file, of experiments and of the choices of groups; own choices are in a folder."""
    top = config.schema_of(command)
    trainer = _properties(get_type_hints(config.Trainer, include_extras=True), CONF / "trainer/default.yaml")
    listed = {"properties": {"defaults": {"items": {"enum": ["_self_", *names.choices("evaluation")]}}}}
    kinds = [  # of files, by what is in them, before one that sets keys of the whole configuration
        ({"required": ["_target_"]}, "choice"),
        ({"required": sorted(required_keys(config.Trainer))}, "trainer"),
        ({"required": ["defaults"], **listed}, "evaluation"),
    ]
    whole = _run(command, top, folder)
    for condition, definition in reversed(kinds):
        whole = {"if": condition, "then": {"$ref": f"#/definitions/{definition}"}, "else": whole}
    return {
        "$schema": DIALECT,
        "title": f"vae-{command}",
        **whole,
        "definitions": {
            "choice": {"allOf": [_choice(group, target) for group, target in _targets()]},
            "trainer": {"type": "object", "properties": trainer, "additionalProperties": False},
            **{group: _group(group) for group in build.BUILDABLE if group != "evaluation"},
            "evaluation": _evaluations(),
        },
    }


def _run(command: str, top: Any, folder: Path | None) -> Schema:
    """A file that sets keys of the whole configuration."""
    hints = get_type_hints(top, include_extras=True)
    files = [CONF / f"{name}.yaml" for name in ("train", command)]
    properties = {key: _of_key(key, hint) for key, hint in hints.items()}
    for file in files:
        for key, said in _described(file).items():
            properties[key] = {**properties.get(key, {}), **said}
    own = {"defaults": _defaults(folder), "hydra": {"type": "object"}}
    if command == "sweep":
        properties["kl_weight"] = {"anyOf": [properties["kl_weight"], {"const": "auto"}]}
    allowed = {key: properties[key] for key in (*hints, *SWEEP_ONLY) if key in properties}
    return {"type": "object", "properties": {**allowed, **own}, "additionalProperties": False}


def _of_key(key: str, hint: Any) -> Schema:
    if hint is config.Trainer:
        return {"$ref": "#/definitions/trainer"}
    if hint in (Group, Group | None, dict[str, Group]):
        return {"$ref": f"#/definitions/{key}"}
    return _of_hint(hint)


def _defaults(folder: Path | None) -> Schema:
    """A defaults list: what is chosen of each group."""
    chosen: Schema = {}
    for group in names.groups():
        own = {file.stem for file in folder.glob(f"{group}/*.yaml")} if folder else set()
        known = {*names.choices(group), *own}
        one: Schema = {"anyOf": [{"enum": sorted(known)}, {"type": "null"}, REFERENCE]}
        listed = {"type": "array", "items": one}
        chosen[OVERRIDES.format(group=group)] = {"anyOf": [one, listed]} if group in LISTED else one
    chosen |= {r"^(override )?/?hydra/": {}}
    entry = {"type": "object", "patternProperties": chosen, "additionalProperties": False}
    return {"type": "array", "items": {"anyOf": [{"type": "string"}, entry]}}


def _targets() -> list[tuple[str, str]]:
    return [(group, target) for group, known in build.BUILDABLE.items() for target in known]


def _choice(group: str, target: str) -> Schema:
    """What holds where this is built; classes of a user's own may have any arguments."""
    hints = _hints(group, build.BUILDABLE[group][target])
    file = CONF / group / f"{names.choice_of(group, target)}.yaml"
    properties: Schema = {**_properties(hints, file), "_target_": {}, "defaults": {"type": "array"}}
    held: Schema = {"properties": properties}
    if hints:
        held["additionalProperties"] = False
    return {"if": {"properties": {"_target_": {"const": target}}, "required": ["_target_"]}, "then": held}


def _group(group: str) -> Schema:
    """A group inside of a file: a whole choice, or some keys of the one that is chosen elsewhere."""
    found: dict[str, list[Schema]] = {}
    for target in build.BUILDABLE[group].values():
        for key, hint in _hints(group, target).items():
            schema = _of_hint(hint)
            if schema not in found.setdefault(key, []):
                found[key].append(schema)
    keys = {key: schemas[0] if len(schemas) == 1 else {"anyOf": schemas} for key, schemas in found.items()}
    return {
        "if": {"type": "object", "required": ["_target_"]},
        "then": {"$ref": "#/definitions/choice"},
        "else": {"type": ["object", "null"], "properties": keys, "additionalProperties": False},
    }


def _evaluations() -> Schema:
    """Evaluations by name, each with some of its keys; those of a user's own say what they are."""
    found: Schema = {"defaults": {"type": "array"}}
    for name in names.choices("evaluation"):
        file = CONF / "evaluation" / f"{name}.yaml"
        target = OmegaConf.select(OmegaConf.load(file), "_target_")
        if target is None:  # a list of evaluations
            continue
        properties = _properties(_hints("evaluation", build.BUILDABLE["evaluation"][target]), file)
        found[name] = {"properties": {**properties, "_target_": {}}, "additionalProperties": False}
    own = {"type": "object", "required": ["_target_"]}
    return {"type": ["object", "null"], "properties": found, "additionalProperties": own}


def _hints(group: str, target: Callable[..., Any]) -> dict[str, Any]:
    """The arguments that a configuration may give, with their hints."""
    given = build.GIVEN.get(group, ())
    try:
        return {name: hint for name, (hint, _) in arguments_of(target).items() if name not in given}
    except ValueError:  # built in, without a signature
        return {}


def _properties(hints: Mapping[str, Any], file: Path) -> Schema:
    said = _described(file)
    return {key: {**_of_hint(hint), **said.get(key, {})} for key, hint in hints.items()}


def _described(file: Path) -> dict[str, Schema]:
    """The default of each key of a file, and the comment beside it."""
    if not file.is_file():
        return {}
    text = file.read_text(encoding="utf-8")
    values = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    comments = dict(re.findall(r"^ *(\w+):.*?  # (.+)$", text, re.MULTILINE))
    found: dict[str, Schema] = {}
    for key, value in values.items() if isinstance(values, dict) else ():
        if key not in ("defaults", "hydra", "_target_") and not isinstance(value, dict) and value != "???":
            found[str(key)] = {"default": value}
            if key in comments:
                found[str(key)]["description"] = comments[key]
    return found


def _of_hint(hint: Any) -> Schema:
    """What fits a type hint, or refers to another key."""
    schema = _plain(hint)
    return schema if not schema or schema.get("type") == "string" else _any_of([schema, REFERENCE])


def _plain(hint: Any) -> Schema:
    origin, args = get_origin(hint), get_args(hint)
    if hint in PLAIN:
        return dict(PLAIN[hint])
    if origin is Annotated:
        return _plain(args[0]) | _bounds(args[1])
    if origin in (Union, types.UnionType):
        return _any_of([_plain(arg) for arg in args])
    if origin is Literal:
        return {"enum": list(args)}
    if origin in (list, tuple, Sequence):
        return {"type": "array", "items": _of_hint(args[0])}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": _of_hint(args[1])}
    if is_dataclass(hint):
        properties = {
            key: _of_hint(inner) for key, inner in get_type_hints(hint, include_extras=True).items()
        }
        return {"type": "object", "properties": properties, "additionalProperties": False}
    return {}


def _any_of(schemas: Iterable[Schema]) -> Schema:
    """One of several, without those inside of others."""
    flat = [
        inner for schema in schemas for inner in (schema["anyOf"] if set(schema) == {"anyOf"} else [schema])
    ]
    return {} if {} in flat else {"anyOf": flat}


def _bounds(bound: object) -> Schema:
    match bound:
        case AtLeast(low):
            return {"minimum": low}
        case Above(low):
            return {"exclusiveMinimum": low}
        case Between(low, high):
            return {"minimum": low, "maximum": high}
        case Inside(low, high):
            return {"exclusiveMinimum": low, "exclusiveMaximum": high}
        case Filled():
            return {"minLength": 1, "pattern": r"\S"}
    return {}
