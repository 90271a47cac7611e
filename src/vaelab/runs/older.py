"""What run folders of older versions say otherwise: the only place that knows how configurations used to be written."""

from collections.abc import Mapping
from typing import Any

GONE = {"dataset": ("url", "blob_id")}  # keys by group; what is fetched is no setting


def config(values: Mapping[str, Any]) -> dict[str, Any]:
    """A stored configuration as this version would have written it."""
    adapted = dict(values)
    for group, keys in GONE.items():
        if isinstance(adapted.get(group), Mapping):
            adapted[group] = {key: value for key, value in adapted[group].items() if key not in keys}
    return adapted
