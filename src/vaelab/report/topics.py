"""What the report is made of: topics, each with sentences, tables, charts and pictures."""

from collections.abc import Sequence
from dataclasses import dataclass

from vaelab.report.chart import Chart
from vaelab.report.pictures import Matrix

Value = str | float


@dataclass(frozen=True)
class Table:
    """Rows of numbers; the first `names` cells of each are texts that say whose they are."""

    heads: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]
    names: int = 1
    title: str = ""
    caption: str = ""

    def if_any(self) -> "Table | None":
        """The table, or None where it has no rows."""
        return self if self.rows else None


@dataclass(frozen=True)
class Drawing:
    """A chart with its name, and what it shows."""

    name: str
    chart: Chart
    label: str
    caption: str = ""  # seen below it


@dataclass(frozen=True)
class Topic:
    """One question that is asked of a section: what is said, counted, drawn and shown."""

    id: str
    title: str
    said: Sequence[tuple[str, Sequence[str]]] = ()  # sentences, each list below its head
    warnings: Sequence[str] = ()
    note: str = ""  # how what follows is read
    drawings: Sequence[Drawing] = ()
    tables: Sequence[Table | None] = ()
    matrices: Sequence[Matrix] = ()
    has_more: bool = False  # of its own on the page

    @property
    def sentences(self) -> list[tuple[str, Sequence[str]]]:
        """Those that there are, below their heads."""
        return [(head, found) for head, found in self.said if found]

    @property
    def found(self) -> list[Table]:
        """The tables that there are."""
        return [table for table in self.tables if table is not None]

    def __bool__(self) -> bool:
        some = (self.sentences, self.warnings, self.drawings, self.found, self.matrices)
        return self.has_more or any(map(bool, some))
