"""What run folders of older versions say otherwise: the only place that knows how configurations used to be written."""

from collections.abc import Mapping
from typing import Any

# Keys by group: what is fetched is no setting, and how many runs are trained at once is none of a run.
GONE = {"dataset": ("url", "blob_id"), "trainer": ("max_members",)}
# What was not said because there was nothing else.
THEN: dict[str, Any] = {
    "lr_schedule": "constant",
    "lr_step_epochs": 10,
    "lr_step_factor": 0.1,
    "trainer": {"keep": "last"},
}


def config(values: Mapping[str, Any]) -> dict[str, Any]:
    """A stored configuration as this version would have written it."""
    adapted = dict(values)
    for group, keys in GONE.items():
        if isinstance(adapted.get(group), Mapping):
            adapted[group] = {key: value for key, value in adapted[group].items() if key not in keys}
    return _filled(THEN, adapted)


def _filled(defaults: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    filled = {**defaults, **values}
    for key, default in defaults.items():
        if isinstance(default, Mapping) and isinstance(values.get(key), Mapping):
            filled[key] = _filled(default, values[key])
    return filled
