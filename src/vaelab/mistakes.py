"""What Hydra and OmegaConf refuse, in one line: the thing, the place and the nearest right name."""

import re
from collections.abc import Sequence

import yaml
from omegaconf.errors import (
    GrammarParseError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    UnsupportedInterpolationType,
    ValidationError,
)

from vaelab.names import RENAMED, as_written, choices, keys_of, known_keys, nearest

# Keys that have other names by now, in files too.
MOVED = {"trainer.max_members": "hydra.launcher.at_once", **RENAMED}


def describe(error: Exception, config_name: str) -> str:
    """One line for what was refused while a command's configuration was composed."""
    text = str(error)
    if missing := getattr(error, "missing_cfg_file", None):
        return _no_choice(str(missing), getattr(error, "options", None))
    if isinstance(error, yaml.MarkedYAMLError):
        return _broken_yaml(error)
    if isinstance(error, UnicodeDecodeError):
        return "a file of --config-dir is not UTF-8 text: save it as UTF-8"
    if "INTERVAL_SWEEP" in text:
        return "interval(...) is a range to search in, with hydra/sweeper=optuna; a grid takes a list: 0,1,5"
    if found := re.search(r"In '(.+?)': \w+ raised while composing config:", text):
        key = re.search(r"full_key: (\S+)", text)
        moved = f" (it is now {MOVED[key[1]]})" if key and key[1] in MOVED else ""
        wrong = (
            f"sets {key[1]}, which is no key{moved}" if key else "does not hold keys and values: `key: value`"
        )
        return f"{found[1]}.yaml {wrong}"
    if found := re.search(r"Multiple values for (\S+?)\. To override", text):
        return f"an experiment chooses another {found[1]} by `override /{found[1]}: NAME` in its defaults"
    cause = error if isinstance(error, OmegaConfBaseException) else error.__cause__
    chosen_by = re.search(r"Error resolving interpolation '(.+)', possible interpolation keys: (.*)", text)
    if chosen_by:  # a group whose choice follows those of others, of which one was taken away or is a list
        chosen = set(re.findall(r"\$\{(\w+)\}", chosen_by[1])) - set(chosen_by[2].split(", "))
        if chosen:
            return f"{min(chosen)} has not one choice: give {min(chosen)}=NAME"
    if present := re.search(r"An item is already at '(.+?)'", text):
        return f"{present[1]} is there already: give it without +"
    unknown = re.search(r"Could not (?:override|append to|delete from config\.?) '?([^'\s]+)'?", text)
    if unknown:
        return _no_key(unknown[1].split("@")[0].rstrip("."), config_name)
    if isinstance(cause, OmegaConfBaseException):
        given = re.search(r"Error merging override [+~]*([^=\s]+)", text)
        return describe_value(cause, given[1] if given else None)
    return first_line(text)


def describe_value(error: OmegaConfBaseException, key: str | None = None) -> str:
    """One line for a value that OmegaConf cannot resolve or that does not fit its key."""
    key, text = key or error.full_key or "a value of the configuration", str(error)
    if found := re.search(r"Interpolation key '(.+?)' not found", text):
        return f"{key} refers to ${{{found[1]}}}, and there is no key {found[1]}"
    if found := re.search(r"Environment variable '(.+?)' not found", text):
        return f"{key} refers to the environment variable {found[1]}, which is not set"
    if isinstance(error, MissingMandatoryValue):
        return f"{key} is missing: give {key}=..."
    if isinstance(error, GrammarParseError | UnsupportedInterpolationType):
        return f"{key} has a $ that refers to nothing: references are written ${{key}} or ${{oc.env:NAME}}"
    if isinstance(error, ValidationError):
        return f"{key} has a value of another kind than it takes: --help shows its default"
    return f"{key}: {first_line(text)}"


def _no_choice(missing: str, options: Sequence[str] | None) -> str:
    group, _, choice = missing.rpartition("/")
    if missing == "hydra/launcher/joblib":  # its configuration comes with its package
        return "hydra/launcher=joblib is not installed: pip install 'vaelab[joblib]'"
    known = sorted(options or choices(group))
    listed = f"; choices: {', '.join(known)}" if known else ""
    return f"{group or 'config'}={as_written(choice)} does not exist{nearest(choice, known)}{listed}"


def _no_key(key: str, config_name: str) -> str:
    if key in MOVED:
        return f"{key} is now {MOVED[key]}"
    known = known_keys(config_name)
    group, _, name = key.rpartition(".")
    if key in known and group.startswith("evaluation."):
        return f"{group} is not among the chosen evaluations: add it, as in evaluation=[vae,{group[11:]}]"
    if key in known and group:
        holders = ", ".join(choice for choice in choices(group) if name in keys_of(group, choice))
        return f"the chosen {group} has no key {name}: {group}={holders} have it"
    return f"there is no key {as_written(key)}{nearest(key, known)}; --help lists the keys"


def _broken_yaml(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"{mark.name}, line {mark.line + 1}" if mark else "a file of --config-dir"
    return f"{place} is not YAML ({error.problem}): keys are written `key: value`, one a line, indented alike"


def first_line(text: str) -> str:
    """The first line that says something."""
    return next((line.strip() for line in text.splitlines() if line.strip()), text)
