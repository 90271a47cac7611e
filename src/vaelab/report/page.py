"""The report's page: one HTML file that carries its pictures, numbers, charts and scripts."""

import math
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from pandas.api.types import is_bool_dtype, is_numeric_dtype
from plotly.offline import get_plotlyjs

from vaelab import __version__
from vaelab.quantities import Quantity, amount, called
from vaelab.report import (
    answers,
    caveats,
    chart,
    charts,
    columns,
    comparisons,
    details,
    dimensions,
    moving,
    plane,
    settings,
    side_by_side,
    views,
)
from vaelab.report.record import Record
from vaelab.report.records import Collection, Section
from vaelab.report.samples import FITTED
from vaelab.report.shown import SHRINKS, Shown, scale_for, show
from vaelab.report.table import first_columns
from vaelab.words import printable

LARGEST = 20_000_000  # bytes of the page
MOST_MOVING = 4_000_000  # bytes of moving pictures in it
SMALLEST = 0.1  # images are not reduced further
HERE = Path(__file__).parent


def render(collection: Collection, table: pd.DataFrame, command: Sequence[str]) -> tuple[str, list[Shown]]:
    """The page as text, under 20 MB, and each section's pictures: with many runs the images are reduced."""
    script = get_plotlyjs()
    budget = LARGEST - len(script) - 2_000_000 - MOST_MOVING  # what is no picture, or moves
    scale = max(SMALLEST, scale_for(collection.sections, max(0, budget)))
    while True:
        shown = [show(section.pictured, scale) for section in collection.sections]
        page = _render(collection, shown, table, command, script, scale)
        if len(page.encode()) <= LARGEST or scale <= SMALLEST:
            return page, shown
        over = (len(page.encode()) - len(script)) / (LARGEST - len(script))
        scale = max(SMALLEST, scale * min(0.95, 0.94 * over ** (-1 / SHRINKS)))


def _render(
    collection: Collection,
    shown: Sequence[Shown],
    table: pd.DataFrame,
    command: Sequence[str],
    script: str,
    scale: float,
) -> str:
    parts = [
        _part(f"part-{i}", collection, section, pictures)
        for i, (section, pictures) in enumerate(zip(collection.sections, shown, strict=True))
    ]
    environment = Environment(
        loader=PackageLoader("vaelab.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    environment.filters |= {"amount": amount, "tied": tied}
    return environment.get_template("page.html.j2").render(
        parts=parts,
        collection=collection,
        problems=[(record.name, record.problems) for record in collection.records if record.problems],
        counts=_counts(collection.records),
        title=headline(collection),
        reported=comparisons.reported(collection),
        columns=_columns(collection, table),
        rows=_rows(collection, table),
        made=datetime.now().strftime("%Y-%m-%d %H:%M"),
        version=__version__,
        command=printable(shlex.join(command)),
        scale=scale,
        data=finite({part["id"]: part["data"] for part in parts}),
        plotly=Markup(_inside_script(script)),
        script=Markup(_inside_script((HERE / "page.js").read_text(encoding="utf-8"))),
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
    )


def headline(collection: Collection) -> str:
    """What the report is about."""
    kinds = {record.kind for record in collection.records}
    if "VAE" not in kinds:
        return "What the models make of the same images"
    return "What the weight λ of the KL term does" + (", and VAE against GAN" if "GAN" in kinds else "")


def _part(identity: str, collection: Collection, section: Section, shown: Shown) -> dict[str, Any]:
    """Everything that the template shows of one section."""
    few = section.pictured
    pictures = moving.of_runs(few.records, MOST_MOVING // len(collection.sections))
    own = list(views.charts(few))
    figures = _figures(section) | {name: drawn for name, _, drawn in own}
    best = max(section.records, key=_elbo).name
    return {
        "id": identity,
        "section": section,
        "paragraphs": answers.paragraphs(section),
        "told": comparisons.told(section),
        "linear": answers.against_linear(section),
        "side_by_side": _side_by_side(section, shown),
        "galleries": shown.galleries,
        "about_weight": section.has_several_weights,
        "across": answers.across_lines(section),
        "warnings": caveats.warnings(collection, section),
        "figures": figures,
        "planes": {
            f"rate-distortion-{i}": " with σ = ".join(map(str, c))
            for i, c in enumerate(conventions(section))
            if f"rate-distortion-{i}" in figures
        },
        "curves": _headings("curve", columns.curves(few), figures),
        "colours": chart.colours(section),
        "epochs": comparisons.epochs(section),
        "epochs_sentences": comparisons.along_epochs(section),
        "sizes": comparisons.code_sizes(section),
        "sizes_sentences": comparisons.along_code_sizes(section),
        "size_charts": _headings("code-size", columns.of_images(section.records), figures),
        "perturbed": {
            "matrix": shown.perturbed,
            "sentences": comparisons.under_noise(section),
            "table": comparisons.perturbed(section),
        },
        "edited": shown.edited,
        "best": best,
        "matrices": shown.matrices,
        "can_explore": bool(shown.explorer["runs"]),
        "not_explorable": _not_explorable(few, shown),
        "runs": [
            details.details(section, record) | {"moving": pictures[record.name]} for record in few.records
        ],
        "views": {name: title for name, title, _ in own},
        "settings": settings.differing(few),
        "common": settings.common(few),
        "left_out": len(section.records) - len(few.records),
        "unfinished": [
            details.details(section, record) for record in section.records if not record.is_evaluated
        ],
        "fitted": any(strip.label.endswith("fitted Gaussian") for m in shown.matrices for strip in m.strips),
        "data": _data(section, shown, figures, best),
    }


def _data(section: Section, shown: Shown, figures: Mapping[str, Any], best: str) -> dict[str, Any]:
    """What the page's script reads of one section."""
    return {
        "figures": {name: figure.as_json() for name, figure in figures.items()},
        "explorer": shown.explorer,
        "best": best,
        "runs": {r.name: _summary(section, r, shown) for r in section.records},
    }


def _headings(kind: str, quantities: Sequence[Quantity], figures: Mapping[str, Any]) -> dict[str, str]:
    """What the charts of quantities show, by the chart's name."""
    names = {f"{kind}-{one.name}": one.heading for one in quantities}
    return {name: heading for name, heading in names.items() if name in figures}


def _side_by_side(section: Section, shown: Shown) -> dict[str, Any]:
    """AE, VAE and GAN on the same images: sentences, samples and numbers."""
    heads, rows = side_by_side.table(section)
    strips = shown.side_by_side.strips if shown.side_by_side is not None else ()
    return {
        "sentences": side_by_side.sentences(section),
        "matrix": shown.side_by_side,
        "fitted": any(strip.label.endswith(FITTED) for strip in strips),
        "heads": heads,
        "rows": rows,
    }


def _figures(section: Section) -> dict[str, Any]:
    """The charts that the section's runs have something for, by name."""
    few = section.pictured
    found = {
        f"rate-distortion-{i}": plane.rate_distortion(section, convention)
        for i, convention in enumerate(conventions(section))
    }
    found |= {f"curve-{one.name}": charts.learning_curve(few, one) for one in columns.curves(few)}
    found |= {
        f"code-size-{one.name}": charts.by_code_size(section, one)
        for one in columns.of_images(section.records)
    }
    found |= {
        "kl-heat-map": dimensions.kl_heat_map(few),
        "active-units": dimensions.active_units(few),
        "cascade": dimensions.cascade(few),
        "kl-layers": dimensions.kl_of_layers(few),
        "aggregate-posterior": dimensions.aggregate_posterior(few),
    }
    return {name: figure for name, figure in found.items() if figure is not None}


def _elbo(record: Record) -> float:
    elbo = record.metric("elbo")
    return elbo if math.isfinite(elbo) else -math.inf


def conventions(section: Section) -> list[tuple[Any, ...]]:
    """The likelihoods of a section's runs that have one, each once."""
    return list(dict.fromkeys(record.convention for record in section.records if record.kind != "GAN"))


def _not_explorable(section: Section, shown: Shown) -> list[Record]:
    there = {run["run"] for run in shown.explorer["runs"]}
    return [r for r in section.records if r.is_evaluated and r.kind != "GAN" and r.name not in there]


def _summary(section: Section, record: Record, shown: Shown) -> dict[str, Any]:
    """What the page's script says of a run that is pointed at."""
    probes, originals = shown.probes.get(record.name), shown.probes.get("")
    main = [
        one for one in columns.quantities([record]).values() if one.shown == "always" and one.of != "samples"
    ]
    metrics = {
        one.short_heading: one.written(one.sign * v)
        for one in main
        if math.isfinite(v := record.metric(one.name))
    }
    return {
        "label": section.labels[record.name],
        "weight": section.weight(record),
        "metrics": metrics,
        "reconstructions": probes.sheet.uri if probes and originals else None,
        "originals": originals.sheet.uri if originals else None,
        "columns": len(probes.columns) if probes else 0,
    }


def _counts(records: Sequence[Record]) -> str:
    statuses = [record.status for record in records]
    return ", ".join(f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses))


def _columns(collection: Collection, table: pd.DataFrame) -> list[dict[str, Any]]:
    first = first_columns(collection)
    return [
        {
            "name": name,
            "numeric": is_numeric_dtype(table[name]) and not is_bool_dtype(table[name]),
            "shown": name.removesuffix(" (reported)") in first,
        }
        for name in table.columns
    ]


def _rows(collection: Collection, table: pd.DataFrame) -> list[list[dict[str, Any]]]:
    """Each cell as it is shown, with its whole value for sorting and copying."""
    declared = columns.quantities(collection.records)
    named = [called(name.removesuffix(" (reported)"), declared) for name in table.columns]
    return [
        [
            {"text": one.written(value), "value": "" if pd.isna(value) else value}
            for one, value in zip(named, row, strict=True)
        ]
        for row in table.itertuples(index=False)
    ]


def finite(values: Any) -> Any:
    """Nested lists and dictionaries without infinities and NaN, which JSON does not know."""
    if isinstance(values, dict):
        return {key: finite(value) for key, value in values.items()}
    if isinstance(values, list | tuple):
        return [finite(value) for value in values]
    return None if isinstance(values, float) and not math.isfinite(values) else values


def tied(text: str) -> str:
    """Text in which no line ends within "λ = 5"."""
    return text.replace(" = ", "\xa0=\xa0")


def _inside_script(text: str) -> str:
    """JavaScript that cannot end the element that it stands in."""
    return text.replace("</script", "<\\/script").replace("<!--", "<\\!--")
