"""Run folders become one page that answers what λ does: index.html, report.md with its figures, table.csv."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vaelab.report.documents import markdown
from vaelab.report.page import render
from vaelab.report.records import Collection, collect
from vaelab.report.table import frame


@dataclass(frozen=True)
class Written:
    """What a report holds, and what it took."""

    page: Path
    collection: Collection
    seconds: float

    @property
    def problems(self) -> list[tuple[str, str]]:
        """What could not be read: the run's name and the reason."""
        found = [(r.name, problem) for r in self.collection.records for problem in r.problems]
        return [*self.collection.refused, *found]

    @property
    def summary(self) -> str:
        """How many runs of what, the size of the page, and the seconds that it took."""
        records = self.collection.records
        data = ", ".join(dict.fromkeys(section.dataset for section in self.collection.sections))
        size = self.page.stat().st_size / 1e6
        return f"{len(records)} runs on {data}: a page of {size:.1f} MB in {self.seconds:.1f} s"


def write(pattern: str, folder: Path, command: Sequence[str], dpi: int) -> Written:
    """Reads the runs of a glob pattern and writes their report; raises UsageError where there are none."""
    began = time.perf_counter()
    collection = collect(pattern, folder)
    table = frame(collection)
    page, shown = render(collection, table, command)
    folder.mkdir(parents=True, exist_ok=True)
    _whole(folder / "index.html", lambda path: path.write_text(page, encoding="utf-8"))
    _whole(folder / "table.csv", lambda path: table.to_csv(path, index=False))
    text = markdown(collection, shown, table, folder, dpi)
    _whole(folder / "report.md", lambda path: path.write_text(text, encoding="utf-8"))
    return Written(folder / "index.html", collection, time.perf_counter() - began)


def _whole(target: Path, write_to: Callable[[Path], object]) -> None:
    """Gives a file its name once it is complete."""
    part = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        write_to(part)
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)
