"""What folders say of the images in them: their split, and their class."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vaelab.data.filenames import natural
from vaelab.data.imageset import BY_HASH, SPLITS
from vaelab.data.raw import Labelled, Selection
from vaelab.words import printable

TRAIN, VAL, TEST = range(3)  # indices into SPLITS
OUTSIDE = 3  # of all folders that are splits
INITIALS = {"tr": TRAIN, "va": VAL, "de": VAL, "te": TEST}
SPLIT_FOLDER = re.compile(
    r"(train|training|val|valid|validation|dev|test|testing)([ _-]?(set|images?|data)|[ _-]?\d{4})?"
)
STRAYS = 0.1  # of the images; more of them beside the folders of the classes are there for a reason
SHOWN = 3

Folders = list[tuple[str, ...]]  # of each image, from the top


def by_folders(where: Path, names: Sequence[str]) -> Labelled:
    """The images of relative paths, labelled by the first folder that they do not share, below those of the splits.

    The few images beside the folders of the classes are left out; if they are many, there are no labels.
    """
    split, folders = splits_of(names)
    train = np.ones(len(names), bool) if split is None else split == TRAIN
    heads = _heads(folders)
    classes = sorted({head for head, one in zip(heads, train, strict=True) if head and one}, key=natural)
    index = {name: label for label, name in enumerate(classes)}
    labels = np.array([index.get(head, -1) for head in heads], np.int64)
    beside = int((train & (labels < 0)).sum())
    is_labelled = len(classes) > 1 and beside <= STRAYS * train.sum()
    kept = labels >= 0 if is_labelled else np.ones(len(names), bool) if split is None else split != OUTSIDE
    remarks, counts = [], {}
    if not kept.all():
        counts["left_out"] = int((~kept).sum())
        folder = "split" if not is_labelled else "class" if split is None else "class that train has"
        some = ", ".join([names[position] for position in np.flatnonzero(~kept)[:SHOWN].tolist()])
        remarks.append(
            f"left out {counts['left_out']} of {len(names)} images of {where}, in no folder of a {folder}: {some}"
        )
    if len(classes) > 1 and not is_labelled:
        remarks.append(
            f"no classes: {beside} images of {where} lie beside its folders {', '.join(classes[:SHOWN])}"
        )
    positions = np.flatnonzero(kept)
    if split is not None:
        split, remark = completed(split[positions])
        remarks += [remark] if remark else []
    return Labelled(
        names=[names[position] for position in positions.tolist()],
        labels=labels[positions] if is_labelled else None,
        classes=tuple(map(printable, classes)) if is_labelled else (),
        split=split,
        selection=Selection(positions, counts, "; ".join(remarks)) if remarks else None,
    )


def splits_of(names: Sequence[str]) -> tuple[np.ndarray | None, Folders]:
    """The split int8 (N,) by the folders on top, None where they are no splits, and the folders below them.

    An image beside these folders is OUTSIDE.
    """
    folders = [tuple(part for part in name.split("/")[:-1] if part not in ("", ".")) for name in names]
    depth = _shared(folders)
    heads = [parts[depth] if len(parts) > depth else "" for parts in folders]
    found = {head: INITIALS[head[:2].lower()] for head in set(heads) if SPLIT_FOLDER.fullmatch(head.lower())}
    others = set(heads) - found.keys() - {""}
    if len(set(found.values())) < 2 or (others and TRAIN not in found.values()):
        return None, folders
    split = np.array([found.get(head, OUTSIDE) for head in heads], np.int8)
    below = [parts[depth + 1 :] if head in found else () for parts, head in zip(folders, heads, strict=True)]
    # What is unpacked into a folder of its own name lies in train/train.
    return split, [
        parts[1:] if parts[:1] == (head,) else parts for parts, head in zip(below, heads, strict=True)
    ]


def completed(split: np.ndarray) -> tuple[np.ndarray, str]:
    """A split by folders in which the hash takes what is missing from train, and the same in words."""
    missing = [SPLITS[code] for code in (VAL, TEST) if code not in split]
    if not missing or TRAIN not in split:
        return split, ""
    by_hash = np.where(split == TRAIN, BY_HASH, split).astype(np.int8)
    return by_hash, f"no images for {' and '.join(missing)}: a tenth of train is taken, chosen by a hash"


def _shared(folders: Folders) -> int:
    """How many folders on top are common to all images that lie that deep."""
    depth = 0
    while len({parts[depth] for parts in folders if len(parts) > depth}) == 1:
        depth += 1
    return depth


def _heads(folders: Folders) -> list[str]:
    depth = _shared(folders)
    return [parts[depth] if len(parts) > depth else "" for parts in folders]
