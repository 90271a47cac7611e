"""The report's page: one HTML file that carries its pictures, numbers, charts and scripts."""

import math
import shlex
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from pandas.api.types import is_bool_dtype, is_numeric_dtype
from plotly.offline import get_plotlyjs

from vaelab import __version__
from vaelab.quantities import amount, called
from vaelab.report import animations, chart, columns, comparisons, details
from vaelab.report.album import SHRINKS, album, scale_for
from vaelab.report.parts import Part, part
from vaelab.report.record import Record
from vaelab.report.records import Collection, Section
from vaelab.report.table import REPORTED, main_columns
from vaelab.words import printable

LARGEST = 20_000_000  # bytes of the page
MOST_MOVING = 4_000_000  # bytes of moving pictures in it
SMALLEST = 0.1  # images are not reduced further


def render(collection: Collection, table: pd.DataFrame, command: Sequence[str]) -> tuple[str, list[Part]]:
    """The page as text, under 20 MB, and what it has of each section: with many runs the images are reduced."""
    script = get_plotlyjs()
    budget = LARGEST - len(script) - 2_000_000 - MOST_MOVING  # what is no picture, or moves
    scale = max(SMALLEST, scale_for(collection.sections, max(0, budget)))
    while True:
        parts = [
            part(f"part-{i}", collection, section, album(section.with_pictures, scale))
            for i, section in enumerate(collection.sections)
        ]
        page = _render(collection, parts, table, command, script, scale)
        if len(page.encode()) <= LARGEST or scale <= SMALLEST:
            return page, parts
        over = (len(page.encode()) - len(script)) / (LARGEST - len(script))
        scale = max(SMALLEST, scale * min(0.95, 0.94 * over ** (-1 / SHRINKS)))


def _render(
    collection: Collection,
    parts: Sequence[Part],
    table: pd.DataFrame,
    command: Sequence[str],
    script: str,
    scale: float,
) -> str:
    environment = Environment(
        loader=PackageLoader("vaelab.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    environment.filters |= {"amount": amount, "tie": tie}
    environment.globals |= {"colours": chart.colours, "details": details}
    return environment.get_template("page.html.j2").render(
        parts=parts,
        moving=animations.of_runs(
            [r for s in collection.sections for r in s.with_pictures.records], MOST_MOVING
        ),
        collection=collection,
        problems=[(record.name, record.problems) for record in collection.records if record.problems],
        counts=Counter(record.status for record in collection.records),
        title=headline(collection),
        reported=comparisons.reported_values(collection),
        columns=_columns(collection, table),
        rows=_rows(collection, table),
        made=datetime.now().strftime("%Y-%m-%d %H:%M"),
        version=__version__,
        command=printable(shlex.join(command)),
        scale=scale,
        data={part.id: _data(part) for part in parts},
        plotly=Markup(_script_text(script)),
        script=Markup(_script_text(_file("page.js") + _file("explorer.js"))),
        style=Markup(_file("page.css")),
    )


def headline(collection: Collection) -> str:
    """What the report is about."""
    kinds = {record.kind for record in collection.records}
    if "VAE" not in kinds:
        return "What the models make of the same images"
    return "What the weight λ of the KL term does" + (", and VAE against GAN" if "GAN" in kinds else "")


def _data(part: Part) -> dict[str, Any]:
    """What the page's script reads of one section."""
    return {
        "figures": {name: figure.as_json() for name, figure in part.charts.items()},
        "explorer": part.album.explorer,
        "best": part.best.name,
        "runs": {r.name: _summary(part.section, r) for r in part.section.records},
    }


def _summary(section: Section, record: Record) -> dict[str, Any]:
    """What the page's script says of a run that is pointed at."""
    main = [
        one for one in columns.quantities([record]).values() if one.shown == "always" and one.of != "samples"
    ]
    metrics = {
        one.short_heading: one.written(one.sign * v)
        for one in main
        if math.isfinite(v := record.metric(one.name))
    }
    return {"label": section.labels[record.name], "metrics": metrics}


def _columns(collection: Collection, table: pd.DataFrame) -> list[dict[str, Any]]:
    shown = main_columns(collection, table)
    return [
        {
            "name": name,
            "numeric": is_numeric_dtype(table[name]) and not is_bool_dtype(table[name]),
            "shown": name in shown,
        }
        for name in table.columns
    ]


def _rows(collection: Collection, table: pd.DataFrame) -> list[list[dict[str, Any]]]:
    """Each cell as it is shown, with its whole value for sorting and copying."""
    declared = columns.quantities(collection.records)
    named = [called(name.removesuffix(REPORTED), declared) for name in table.columns]
    return [
        [
            {"text": one.written(value), "value": "" if pd.isna(value) else value}
            for one, value in zip(named, row, strict=True)
        ]
        for row in table.itertuples(index=False)
    ]


def tie(text: str) -> str:
    """Text in which no line ends within "λ = 5"."""
    return text.replace(" = ", "\xa0=\xa0")


def _file(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


def _script_text(text: str) -> str:
    """JavaScript that cannot end the element that it stands in."""
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")
