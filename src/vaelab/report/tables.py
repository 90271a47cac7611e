"""Tables as papers print them: LaTeX (booktabs) and CSV, seeds as mean ± standard deviation, the best in bold."""

import math
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from vaelab import UsageError, files
from vaelab.names import nearest
from vaelab.quantities import Quantity, called
from vaelab.report import columns
from vaelab.report.records import Collection, Group, Section
from vaelab.report.table import quote
from vaelab.words import printable

LONGEST_NAME = 60  # of a section in the name of a file
PRESETS = {
    "rate_distortion": ("kl", "reconstruction", "elbo"),
    "elbo": ("elbo", "reconstruction", "kl"),
    "active_units": ("active_units", "kl"),
    "images": (),  # all that is measured of reconstructions
    "samples": (),  # all that is measured of new images
}
SPECIAL = {c: f"\\{c}" for c in "#$%&_{}"} | {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "λ": r"$\lambda$", "σ": r"$\sigma$", "β": r"$\beta$", "−": "$-$", "±": r"$\pm$", "·": r"$\cdot$",
}  # fmt: skip


def write(collection: Collection, names: Sequence[str], folder: Path) -> list[Path]:
    """Writes tables/<section>-<name>.tex and .csv; raises UsageError for a name that is no table of these runs."""
    written = []
    for name in names:
        found = [
            (place, section, quantities)
            for place, section in enumerate(collection.sections, 1)
            if (quantities := choose(section, name))
        ]
        if not found:
            known = [*PRESETS, *columns.quantities(collection.records)]
            raise UsageError(
                f"tables={printable(name)}: these runs have no such numbers{nearest(name, known)}; "
                f"tables: {', '.join(PRESETS)}, or the name of one number of table.csv"
            )
        for place, section, quantities in found:
            title = section.title[:LONGEST_NAME]
            stem = re.sub(r"[^A-Za-z0-9_.-]", "_", f"{place}-{title}-{name}")
            for suffix, text in (("tex", latex), ("csv", as_csv)):
                file = folder / "tables" / f"{stem}.{suffix}"
                with files.whole(file) as part:
                    part.write_text(text(section, quantities), encoding="utf-8", newline="")
                written.append(file)
    return written


def choose(section: Section, name: str) -> list[Quantity]:
    """What a table shows: the quantities of a preset, or one by its name, that some run of the section has."""
    declared = columns.quantities(section.records)
    of = {"images": "images", "samples": "samples"}.get(name)
    wanted = [n for n, one in declared.items() if one.of == of] if of else PRESETS.get(name, (name,))
    return [
        called(n, declared)
        for n in wanted
        if any(math.isfinite(record.metric(n)) for record in section.records)
    ]


def rows(section: Section, quantities: Sequence[Quantity]) -> list[Group]:
    """The evaluated runs of each line and λ, where they have some of the numbers."""
    found = [group for line in section.lines for group in line.groups()]
    return [row for row in found if any(math.isfinite(row.mean(one.name)) for one in quantities)]


def latex(section: Section, quantities: Sequence[Quantity]) -> str:
    """A tabular of booktabs."""
    body = rows(section, quantities)
    best = [_best(body, one) for one in quantities]
    most = max(len(row.records) for row in body)
    spread = f"; mean ± standard deviation of {most} runs" if most > 1 else ""
    heads = ["model", section.symbol, *(one.heading for one in quantities)]
    cells = pd.DataFrame([_cells(row, quantities, best) for row in body], columns=[*map(_plain, heads)])
    tabular = cells.to_latex(index=False, escape=False, column_format=f"lr{'r' * len(quantities)}")
    return (
        f"% {' '.join(section.title.split())}, test split{spread}; needs \\usepackage{{booktabs}}\n{tabular}"
    )


def _cells(row: Group, quantities: Sequence[Quantity], best: Sequence[float]) -> list[str]:
    cells = [_plain(row.label), _weight(row) or "--"]
    for one, winner in zip(quantities, best, strict=True):
        mean = one.sign * row.mean(one.name)
        text = _plain(one.written(mean)) if math.isfinite(mean) else "--"
        if mean == winner:
            text = f"\\textbf{{{text}}}"
        spread = f" $\\pm$ {_plain(one.written(row.deviation(one.name)))}" if len(row.records) > 1 else ""
        cells.append(text + spread)
    return cells


def _weight(row: Group) -> str:
    return f"{row.weight:g}" if math.isfinite(row.weight) else ""


def _best(body: Sequence[Group], quantity: Quantity) -> float:
    """The best mean, NaN where none is: of one, and of nats that mean different things."""
    values = [mean for row in body if math.isfinite(mean := quantity.sign * row.mean(quantity.name))]
    conventions = {record.convention for row in body for record in row.records}
    if len(values) < 2 or not quantity.better or (quantity.unit.startswith("nats") and len(conventions) > 1):
        return math.nan
    return max(values) if quantity.better == "higher" else min(values)


def as_csv(section: Section, quantities: Sequence[Quantity]) -> str:
    """The same numbers in full, signed as table.csv has them."""
    table = [
        {"model": quote(row.label), "kl_weight": _weight(row), "runs": len(row.records)}
        | {one.name: row.mean(one.name) for one in quantities}
        | {f"{one.name}_std": row.deviation(one.name) for one in quantities if len(row.records) > 1}
        for row in rows(section, quantities)
    ]
    names = [name for one in quantities for name in (one.name, f"{one.name}_std")]
    columns = ["model", "kl_weight", "runs", *names]
    return pd.DataFrame(table, columns=columns).to_csv(index=False, lineterminator="\n")


def _plain(text: str) -> str:
    """Text as LaTeX prints it."""
    return "".join(SPECIAL.get(c, c) for c in printable(text))
