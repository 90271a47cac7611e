"""The table of vae-data list: all data sets, where they are looked for, whether they are there, how to get them."""

import re
from pathlib import Path
from typing import Any

from vaelab.data.download import PUBLISHED
from vaelab.data.published.layouts import LAYOUTS
from vaelab.files import read_text, read_yaml

HEADER = ("dataset=", "there", "download", "what")


def table(configurations: Path, data_dir: Path) -> str:
    """The data sets of a folder of YAML files as text, two lines for each; fetches nothing and reads no images."""
    rows = [HEADER]
    places = [""]
    for file in sorted(configurations.glob("*.yaml")):
        values = read_yaml(file)
        name, what = values["name"], read_text(file).splitlines()[0].removeprefix("# ")
        size = f"{LAYOUTS[name].megabytes:,} MB" if name in LAYOUTS else "–"
        rows.append((name, _state(values, data_dir), size, what))
        places.append(_place(values, data_dir))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row, place in zip(rows, places, strict=True):
        lines.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        lines += [f"{'':{widths[0]}}  {place}"] if place else []
    return "\n".join(lines)


def _state(values: dict[str, Any], data_dir: Path) -> str:
    name = values["name"]
    if any(
        re.fullmatch(rf"{name}-[0-9a-f]+", file.parent.name) for file in data_dir.glob("prepared/*/meta.json")
    ):
        return "prepared"
    if values["path"] == "embedded":
        return "built in"
    if name in LAYOUTS:
        patterns = [file.format(subset="*") for file in LAYOUTS[name].files]
        roots = (data_dir, data_dir / name)
        return "files" if any(all(any(root.glob(file)) for file in patterns) for root in roots) else "no"
    if not values["files"]:
        return "yours"
    return "files" if any(any(data_dir.glob(pattern)) for pattern in values["files"]) else "no"


def _place(values: dict[str, Any], data_dir: Path) -> str:
    """Where the files are looked for, and how to get them."""
    name = values["name"]
    if name in LAYOUTS:
        layout = LAYOUTS[name]
        fetched = "by hand, or with gdown on first use," if name == "celeba" else "fetched on first use"
        return f"in {data_dir / layout.folder}: {fetched} from {layout.page}; licence: {layout.licence}"
    if values["path"] == "embedded":
        return "comes with scikit-learn"
    found = f"in {data_dir}, as {', '.join(values['files'])}: " if values["files"] else ""
    return found + ("fetched on first use, or " if name in PUBLISHED else "") + values["hint"]
