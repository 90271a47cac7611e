"""Run folders that a glob pattern matches, or that lie below a folder that it matches."""

import glob
import os
from pathlib import Path


def find(pattern: str, report: Path) -> list[Path]:
    """The run folders of a pattern, sorted; hidden folders are passed over."""
    pattern = pattern.removesuffix("/**")  # all that is below a folder is looked at anyway
    hits = [pattern] if os.path.isdir(pattern) else glob.glob(pattern, recursive=True)
    found: dict[str, Path] = {}
    for hit in sorted(filter(os.path.isdir, hits)):
        for folder, below, names in os.walk(hit):
            below[:] = sorted(name for name in below if not name.startswith("."))
            if report.absolute() in (Path(folder).absolute(), *Path(folder).absolute().parents):
                below.clear()
            elif {"run.json", "config.yaml"} & set(names):
                found[os.path.realpath(folder)] = Path(folder)
                below.clear()
    return sorted(found.values())
