"""Images from any source, prepared once, as batches of tensors."""

from typing import TYPE_CHECKING, Any

from vaelab.data.imageset import SPLITS, ImageSet
from vaelab.data.published.load import load_published
from vaelab.data.store import find_prepared, load

if TYPE_CHECKING:
    from vaelab.data.feed import Feed
    from vaelab.data.loader import Batch, Loader

BUILDABLE = (load, load_published)  # what a configuration may name as _target_

__all__ = [
    "BUILDABLE",
    "SPLITS",
    "Batch",
    "Feed",
    "ImageSet",
    "Loader",
    "find_prepared",
    "load",
    "load_published",
]


def __getattr__(name: str) -> Any:
    """Batches, for which torch is imported, once they are asked for."""
    if name not in ("Batch", "Feed", "Loader"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from vaelab.data import feed, loader

    return feed.Feed if name == "Feed" else getattr(loader, name)
