"""Tables as papers print them: LaTeX (booktabs) and CSV, seeds as mean ± standard deviation, the best in bold."""

import csv
import io
import math
import re
from collections.abc import Sequence
from pathlib import Path

from vaelab import UsageError, files
from vaelab.names import nearest
from vaelab.quantities import Quantity, called
from vaelab.report import columns
from vaelab.report.records import Collection, Group, Section
from vaelab.report.table import quoted
from vaelab.words import printable

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
            if (quantities := chosen(section, name))
        ]
        if not found:
            known = [*PRESETS, *columns.quantities(collection.records)]
            raise UsageError(
                f"tables={printable(name)}: these runs have no such numbers{nearest(name, known)}; "
                f"tables: {', '.join(PRESETS)}, or the name of one number of table.csv"
            )
        for place, section, quantities in found:
            stem = re.sub(r"[^A-Za-z0-9_.-]", "_", f"{place}-{section.title}-{name}")
            for suffix, text in (("tex", latex), ("csv", as_csv)):
                file = folder / "tables" / f"{stem}.{suffix}"
                with files.whole(file) as part:
                    part.write_text(text(section, quantities), encoding="utf-8", newline="")
                written.append(file)
    return written


def chosen(section: Section, name: str) -> list[Quantity]:
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
    seeds = sorted({len(row.records) for row in body})
    told = f"{section.title}, test split" + (
        f"; mean ± standard deviation of {seeds[-1]} runs" if seeds[-1] > 1 else ""
    )
    heads = [_plain(head) for head in ("model", section.symbol, *(one.heading for one in quantities))]
    lines = [
        f"% {' '.join(told.split())}; needs \\usepackage{{booktabs}}",
        f"\\begin{{tabular}}{{lr{'r' * len(quantities)}}}",
        r"\toprule",
        f"{' & '.join(heads)} \\\\",
        r"\midrule",
        *(_line(row, quantities, best) for row in body),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _line(row: Group, quantities: Sequence[Quantity], best: Sequence[float]) -> str:
    weight = row.records[0].kl_weight
    cells = [_plain(row.label), "--" if weight is None else f"{weight:g}"]
    for one, winner in zip(quantities, best, strict=True):
        mean = one.sign * row.mean(one.name)
        text = _plain(one.written(mean)) if math.isfinite(mean) else "--"
        if mean == winner:
            text = f"\\textbf{{{text}}}"
        spread = f" $\\pm$ {_plain(one.written(row.deviation(one.name)))}" if len(row.records) > 1 else ""
        cells.append(text + spread)
    return f"{' & '.join(cells)} \\\\"


def _best(body: Sequence[Group], quantity: Quantity) -> float:
    """The best mean, NaN where none is: of one, and of nats that mean different things."""
    values = [mean for row in body if math.isfinite(mean := quantity.sign * row.mean(quantity.name))]
    conventions = {record.convention for row in body for record in row.records}
    if len(values) < 2 or not quantity.better or (quantity.unit.startswith("nats") and len(conventions) > 1):
        return math.nan
    return max(values) if quantity.better == "higher" else min(values)


def as_csv(section: Section, quantities: Sequence[Quantity]) -> str:
    """The same numbers in full, signed as table.csv has them."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["model", "kl_weight", "runs", *(n for one in quantities for n in (one.name, f"{one.name}_std"))]
    )
    for row in rows(section, quantities):
        weight, count = row.records[0].kl_weight, len(row.records)
        spreads = [row.deviation(one.name) if count > 1 else math.nan for one in quantities]
        numbers = [
            v for one, spread in zip(quantities, spreads, strict=True) for v in (row.mean(one.name), spread)
        ]
        cells = ["" if math.isnan(value) else repr(value) for value in numbers]
        writer.writerow([quoted(row.label), "" if weight is None else f"{weight:g}", count, *cells])
    return text.getvalue()


def _plain(text: str) -> str:
    """Text as LaTeX prints it."""
    return "".join(SPECIAL.get(c, c) for c in printable(text))
