"""What conf/ calls things: its groups, their choices and keys, and the name nearest to a misspelt one."""

import difflib
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

_PACKAGED = Path(__file__).parent / "conf"
CONF = _PACKAGED if _PACKAGED.is_dir() else Path(__file__).parents[2] / "conf"
WITHOUT_KEYS = ("experiment", "dataset_model")  # groups that only set the keys of others
LONGEST = 60  # characters of what a user wrote that a message repeats


def nearest(word: str, known: Iterable[str]) -> str:
    """ " (did you mean x?)" for the known word nearest to this one, or nothing."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {found[0]}?)" if found and found[0] != word else ""


def as_written(value: Any) -> str:
    """A value as a user writes it, cut where it is long."""
    text = str(value)
    if value is None or isinstance(value, bool):
        text = "null" if value is None else text.lower()
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def choices(group: str) -> list[str]:
    """The choices of a group that come with the program."""
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


def groups() -> list[str]:
    """The groups of conf/, without Hydra's own."""
    return sorted(folder.name for folder in CONF.iterdir() if folder.is_dir() and folder.name != "hydra")


def keys_of(group: str, choice: str) -> list[str]:
    """The keys that a choice of a group has."""
    return [key for key in values_of(group, choice) if key not in ("_target_", "defaults")]


def choice_of(group: str, target: str) -> str:
    """The choice of a group that builds this target, or the target's own name where none does."""
    return _choices_by_target(group).get(target, target.rpartition(".")[2])


@cache
def _choices_by_target(group: str) -> dict[str, str]:
    found = {choice: values_of(group, choice).get("_target_") for choice in choices(group)}
    return {str(target): choice for choice, target in found.items() if target is not None}  # a list has none


# Keys that have other names by now.
RENAMED = {
    "loss.likelihood": "likelihood",
    "loss.sigma": "likelihood.sigma",
    "loss.kl_weight": "regulariser.kl_weight",
    "loss.kl_schedule": "regulariser.schedule",
    "loss.kl_schedule_epochs": "regulariser.schedule_epochs",
}


def renamed(override: str) -> str:
    """An override key=value with the key's name of now."""
    signs, key = re.fullmatch(r"([+~]*)([^=]*).*", override, re.DOTALL).groups()  # type: ignore[union-attr]
    return signs + RENAMED.get(key, key) + override[len(signs) + len(key) :]


def known_keys(config_name: str) -> list[str]:
    """The keys of one command's primary file, its groups, and the keys of every choice of these."""
    primary = _load(CONF / f"{config_name}.yaml")
    keys = set(primary)
    entries = primary["defaults"]
    for base in (entry for entry in primary["defaults"] if isinstance(entry, str) and entry != "_self_"):
        values = _load(CONF / f"{base}.yaml")
        keys |= set(values)
        entries = entries + values["defaults"]
    own = {group for entry in entries if isinstance(entry, dict) for group in entry} & set(groups())
    for group in own:
        keys.add(group)
        for choice in choices(group) if group not in WITHOUT_KEYS else ():
            place = f"{group}.{choice}" if group == "evaluation" else group
            keys |= {f"{place}.{key}" for key in keys_of(group, choice)}
    return sorted(keys - {"defaults"})


def holds_list(key: str) -> bool:
    """Whether the value of a key of a run is a list: evaluation=[vae], snapshot_epochs=[1,10], model.hidden=[400]."""
    group, _, rest = key.partition(".")
    if not rest:
        return group in ("evaluation", "experiment") or isinstance(
            _load(CONF / "train.yaml").get(group), list
        )
    among = choices(group)
    if group == "evaluation":
        choice, _, rest = rest.partition(".")
        among = [choice] if choice in among else []
    return any(isinstance(values_of(group, choice).get(rest), list) for choice in among)


def experiments() -> str:
    """The named experiments, one line each: the name and what its file says of itself."""
    said = {
        name: (CONF / "experiment" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[1]
        for name in choices("experiment")
    }
    width = max(map(len, said))
    return "\n".join(f"{name:<{width}}  {line.removeprefix('# ')}" for name, line in said.items())


def swept_weights() -> list[float]:
    """The λ of a sweep that is given none."""
    params = _load(CONF / "sweep.yaml")["hydra"]["sweeper"]["params"]
    return [float(weight) for weight in params["kl_weight"].split(",")]


def values_of(group: str, choice: str) -> dict[str, Any]:
    """The keys and values of a choice, which may stand in a file that sets other groups too."""
    values = _load(CONF / group / f"{choice}.yaml")
    return values.get(group) or values


def _load(file: Path) -> dict[str, Any]:
    values = OmegaConf.to_container(OmegaConf.load(file))
    return {str(key): value for key, value in values.items()} if isinstance(values, dict) else {}
