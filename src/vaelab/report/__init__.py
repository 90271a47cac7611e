"""Run folders become one page that answers what λ does: index.html, report.md with its figures, table.csv."""

import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vaelab import ReportPackage, files
from vaelab.report import oracle, tables
from vaelab.report.documents import markdown
from vaelab.report.page import render
from vaelab.report.reading import collect
from vaelab.report.records import Collection
from vaelab.report.table import as_csv, frame
from vaelab.words import printable

sys.modules[__name__].__class__ = ReportPackage


@dataclass(frozen=True)
class Report:
    """What a report holds, and what it took."""

    page: Path
    collection: Collection
    seconds: float
    tables: Sequence[Path] = ()

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
        return f"{len(records)} runs on {printable(data)}: a page of {size:.1f} MB in {self.seconds:.1f} s"


def with_oracles(collection: Collection, folder: Path) -> Collection:
    """The collection with what vae-data spectrum has left in a folder of its images."""
    sections = (replace(s, oracle=oracle.read(folder, s.dataset, s.fingerprint)) for s in collection.sections)
    return replace(collection, sections=tuple(sections))


def write(
    runs: str | Sequence[str],
    folder: Path,
    command: Sequence[str],
    dpi: int,
    paper_tables: Sequence[str] = (),
) -> Report:
    """Reads the runs of a glob pattern, or of several, and writes their report; raises UsageError where are none."""
    began = time.perf_counter()
    collection = with_oracles(collect(runs, folder), folder.parent / "spectrum")
    extra = tables.write(collection, paper_tables, folder)
    table = frame(collection)
    with warnings.catch_warnings():  # of what is no number, which is shown as nothing, and of full figures
        warnings.simplefilter("ignore", RuntimeWarning)
        warnings.filterwarnings("ignore", "constrained_layout")
        page, parts = render(collection, table, command)
        text = markdown(collection, parts, table, folder, dpi)
    for name, content in (("index.html", page), ("table.csv", as_csv(table)), ("report.md", text)):
        with files.whole(folder / name) as part:
            part.write_text(content, encoding="utf-8", newline="")
    return Report(folder / "index.html", collection, time.perf_counter() - began, extra)
