"""Loads a published data set: found or fetched, checked, prepared once, and offline ever after."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from vaelab import UsageError
from vaelab.bounds import Side
from vaelab.data.imageset import ImageSet
from vaelab.data.published.fetch import by_hand, fetch, is_whole
from vaelab.data.published.layouts import LAYOUTS
from vaelab.data.sources import Source, existing, source_at
from vaelab.data.store import Store, settings_of


def load_published(
    *,
    name: str,
    path: str | None,
    data_dir: str,
    size: Side | Sequence[Side] | None,
    subset: Literal["byclass", "bymerge", "balanced", "letters", "digits", "mnist"] | None = None,
    attribute: str | None = None,
) -> ImageSet:
    """The images of a published data set below `path`, or below data_dir and else downloaded; prepared on first use.

    The splits are the published ones; where val is none of them, a hash takes a tenth of train for it. Raises
    UsageError where files are missing and cannot be fetched, or are not those that are published.
    """
    _check(name, subset, attribute)
    settings = settings_of(size, None, None, attribute) | ({} if subset is None else {"subset": subset})
    store = Store(Path(data_dir).expanduser(), name, settings, "stop")
    place = store.data_dir if path is None else existing(Path(path).expanduser(), "dataset.path")
    source = _source(name, place, subset)
    if path is None and source is None and (newest := store.newest()):
        return newest
    if path is None and not (source and (store.knows(source) or is_whole(name, source.files))):
        fetch(name, place, subset)
        source = _source(name, place, subset)
    if source is None:
        raise UsageError(f"dataset={name} is not in {place}: {by_hand(name, place)}")
    return store.get(source)


def _check(name: str, subset: str | None, attribute: str | None) -> None:
    if name not in LAYOUTS:
        raise UsageError(f"dataset.name={name} is not published: choose one of {', '.join(LAYOUTS)}")
    for key, value, owner in (("subset", subset, "emnist"), ("attribute", attribute, "celeba")):
        if (value is None) == (name == owner):
            raise UsageError(f"dataset.{key} is for dataset={owner} alone, which needs it")


def _source(name: str, place: Path, subset: str | None) -> Source | None:
    """The files of a published data set in a folder, or in a folder of its name in that; None unless all are there."""
    layout = LAYOUTS[name]
    if place.is_file() and len(layout.files) == 1:
        return Source(name, place, (place,))
    for root in (place, place / name):
        if name == "celeba" and (source := _celeba(root)):
            return source
        if files := layout.found(root, subset):
            return Source(name, files[0] if len(files) == 1 else files[0].parent, files)
    return None


def _celeba(root: Path) -> Source | None:
    # torchvision unpacks the images, and lets the archive go.
    archive, *listings = (root / file for file in LAYOUTS["celeba"].files)
    images = next((path for path in (archive, archive.with_suffix("")) if path.exists()), None)
    if images is None or not all(file.exists() for file in listings):
        return None
    return replace(source_at(images, None, root), listings=tuple(listings))
