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

    def __bool__(self) -> bool:
        return bool(self.rows)


@dataclass(frozen=True)
class Drawing:
    """A chart with its name, and what it shows."""

    name: str
    chart: Chart
    label: str
    caption: str = ""  # seen below it


@dataclass
class Topic:
    """One question that is asked of a section, and what answers it; tables and charts of nothing are left out."""

    id: str
    title: str
    paragraphs: Sequence[tuple[str, Sequence[str]]] = ()  # sentences, each list below its head
    warnings: Sequence[str] = ()
    note: str = ""  # how what follows is read
    drawings: Sequence[Drawing] = ()
    tables: Sequence[Table] = ()
    matrices: Sequence[Matrix] = ()
    has_more: bool = False  # of its own on the page

    def __post_init__(self) -> None:
        self.paragraphs = [(head, sentences) for head, sentences in self.paragraphs if sentences]
        self.drawings = [one for one in self.drawings if one.chart]
        self.tables = [table for table in self.tables if table]

    def __bool__(self) -> bool:
        some = (self.paragraphs, self.warnings, self.drawings, self.tables, self.matrices)
        return self.has_more or any(map(bool, some))
