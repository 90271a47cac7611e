"""The report for those who write documents: report.md and its figures as PNG files."""

from __future__ import annotations

import math
import re
from collections.abc import Collection as Container
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vaelab import figures
from vaelab.quantities import Quantity, amount
from vaelab.report import answers, caveats, columns, comparisons, moving, side_by_side
from vaelab.report.charts import AXIS_TITLE, ITERATIONS, inside_epochs, training_curve
from vaelab.report.details import state
from vaelab.report.page import conventions, headline
from vaelab.report.pictures import Matrix, Strip
from vaelab.report.records import Collection, Section, image_values
from vaelab.report.series import by_code_size
from vaelab.report.shown import Shown
from vaelab.report.table import first_columns
from vaelab.words import printable

MOST_ROWS = 24  # of one figure
MOST_COLUMNS = 40  # images of one row
MOST_EDITED = 8  # runs with a figure of their own
LONGEST_NAME = 60  # of a chapter in the name of a file

if TYPE_CHECKING:
    from vaelab.figures import Figure


def markdown(
    collection: Collection, shown: Sequence[Shown], table: pd.DataFrame, folder: Path, dpi: int
) -> str:
    """The text of report.md; writes the figures that it shows into folder/figures."""
    lines = [f"# {headline(collection)}", ""]
    lines += [f"- {_escaped(name)} is left out: {_escaped(why)}" for name, why in collection.refused]
    lines += _numbers("## Reported and measured", comparisons.reported(collection))
    written: set[str] = set()
    for place, (section, pictures) in enumerate(zip(collection.sections, shown, strict=True)):
        lines += [
            "",
            f"## {_escaped(section.title)}",
            "",
            _images(section),
            "",
            *_answers(collection, section),
        ]
        lines += [*_comparisons(section), *_side_by_side(section)]
        for name, caption, figure in _figures(section, pictures):
            title = re.sub(r"[^A-Za-z0-9_.-]+", "_", section.title)[:LONGEST_NAME]
            file = Path("figures", f"{place + 1}-{title}-{name}.png")
            written.add(file.name)
            figures.save(figure, folder / file, dpi)
            lines += ["", f"![{_escaped(caption)}]({file.as_posix()})", "", f"*{_escaped(caption)}*"]
        for record, files in moving.links(section.records, folder):
            shown_in = ", ".join(f"[{_escaped(title)}]({path})" for title, path in files)
            lines += ["", f"Moving pictures of {_escaped(section.labels[record.name])}: {shown_in}"]
    for name in _figures_before(folder) - written:
        (folder / "figures" / name).unlink(missing_ok=True)
    lines += [
        "",
        "## All runs",
        "",
        *_table(collection, table),
        "",
        "table.csv has every column, index.html how each number was made.",
    ]
    return "\n".join(lines) + "\n"


def _figures_before(folder: Path) -> set[str]:
    """The names of the figures that the report in this folder shows, which this one replaces."""
    file = folder / "report.md"
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    return set(re.findall(r"\]\(figures/([A-Za-z0-9_.-]+\.png)\)", text))


def _images(section: Section) -> str:
    """The data that the runs of a section share."""
    sizes = ", ".join(f"{size:,} {_escaped(split)}" for split, size in section.records[0].sizes.items())
    runs = f"{len(section.records)} run{'s' if len(section.records) > 1 else ''}"
    return f"{runs} on {_escaped(section.dataset)}, the images {_escaped(section.fingerprint)}: {sizes}"


def _answers(collection: Collection, section: Section) -> Iterator[str]:
    yield from (f"- Reported: {_escaped(finding)}" for finding in comparisons.told(section))
    yield ""
    for label, sentences in answers.paragraphs(section):
        yield from (f"**{_escaped(label)}**", "")
        yield from (f"- {_escaped(sentence)}" for sentence in sentences)
        yield ""
    yield from (
        f"- {_escaped(s)}" for s in (*answers.against_linear(section), *answers.across_lines(section))
    )
    yield from (f"- Before you compare: {_escaped(w)}" for w in caveats.warnings(collection, section))
    unfinished = [record for record in section.records if not record.is_evaluated]
    yield from (f"- {_escaped(section.labels[r.name])}: {_escaped(state(r))}." for r in unfinished)


def _side_by_side(section: Section) -> Iterator[str]:
    heads, rows = side_by_side.table(section)
    if not rows:
        return
    yield from ("", "### Models side by side", "")
    yield from (f"- {_escaped(sentence)}" for sentence in side_by_side.sentences(section))
    yield from ("", "| run | " + " | ".join(map(_escaped, heads)) + " |", "|---|" + "---|" * len(heads))
    for label, cells in rows:
        texts = [f"{c.text or '–'}{f' ({c.beside})' if c.beside else ''}" for c in cells]
        yield f"| {_escaped(label)} | " + " | ".join(map(_escaped, texts)) + " |"


def _comparisons(section: Section) -> Iterator[str]:
    """The tables of epochs, of sizes of the code, and of images from codes and noise."""
    yield from _numbers("### Epochs", comparisons.epochs(section), comparisons.along_epochs(section))
    yield from _numbers(
        "### Size of the code", comparisons.code_sizes(section), comparisons.along_code_sizes(section)
    )
    yield from _numbers(
        "### Images from codes and noise", comparisons.perturbed(section), comparisons.under_noise(section)
    )


def _numbers(head: str, table: comparisons.Table | None, sentences: Sequence[str] = ()) -> Iterator[str]:
    if table is None:
        return
    yield from ("", head, "")
    yield from (f"- {_escaped(sentence)}" for sentence in sentences)
    yield from ("", "| " + " | ".join(map(_escaped, table.heads)) + " |")
    yield "|" + "---|" * table.names + "---:|" * (len(table.heads) - table.names)
    for row in table.rows:
        yield "| " + " | ".join(_escaped(amount(value) or "–") for value in row) + " |"


def _figures(section: Section, shown: Shown) -> Iterator[tuple[str, str, Figure]]:
    """The name of each figure's file, what it shows, and the figure."""
    if sizes := _sizes(section):
        caption = f"PSNR and SSIM by the size of the code on {_of(section)}"
        yield "code-size", caption, figures.along_sizes(sizes, image_values(section), caption)
    if shown.perturbed is not None:
        caption = f"Images from codes and noise of {_of(section)}"
        rows = _equal(shown.perturbed.strips[:MOST_ROWS])
        yield "noise-perturbation", caption, figures.image_rows(rows, caption)
    for matrix in shown.edited[:MOST_EDITED]:
        caption = f"Edited codes of {matrix.title} on {_of(section)}"
        yield matrix.id, caption, figures.image_rows(_equal(matrix.strips[:MOST_ROWS]), caption)
    for place, convention in enumerate(conventions(section)):
        plane = _plane(section, convention)
        if plane is not None:
            name = "rate-distortion" + (f"-{place + 1}" if place else "")
            yield name, f"Rate against distortion on the test split of {_of(section)}", plane
    curves = {
        "\n".join(one.lines(AXIS_TITLE)): _curves(section.pictured, one)
        for one in columns.curves(section.pictured)
    }
    curves = {title: found for title, found in curves.items() if found}
    if curves:
        caption = f"Learning curves on the validation split of {_of(section)}"
        yield "learning-curves", caption, figures.run_curves(curves, caption)
    if found := _losses(section):
        caption = f"Loss by iteration on the training split of {_of(section)}"
        yield (
            "loss-by-iteration",
            caption,
            figures.run_curves({ITERATIONS.replace(", ", ",\n"): found}, caption),
        )
    if shown.side_by_side is not None:
        caption = f"Samples of each model on {_of(section)}"
        yield "side-by-side", caption, figures.image_rows(_equal(_few(section, shown.side_by_side)), caption)
    for matrix in shown.matrices:
        if matrix.id in ("reconstructions", "prior_samples", "interpolations-0"):
            caption = f"{matrix.title} of {_of(section)}"
            yield matrix.id, caption, figures.image_rows(_equal(_few(section, matrix)), caption)


def _of(section: Section) -> str:
    """The data set, and the chapter where there is one."""
    return f"{section.dataset} · {section.chapter}" if section.chapter else section.dataset


def _first_seeds(section: Section, drawable: Container[str]) -> set[str]:
    """The names of one run that can be drawn for each λ of each line, for paper has no room for every seed."""
    first = {
        (place, r.kl_weight): r.name
        for place, line in enumerate(section.lines)
        for r in line.records[::-1]
        if r.name in drawable
    }
    return set(first.values())


def _few(section: Section, matrix: Matrix) -> list[Strip]:
    first = _first_seeds(section, {strip.run for strip in matrix.strips})
    # The original images have no name of a run.
    return [strip for strip in matrix.strips if not strip.run or strip.run in first][:MOST_ROWS]


def _equal(strips: Sequence[Strip]) -> list[tuple[str, np.ndarray]]:
    """Rows of the most frequent image size, filled up with white to the same length; of long ones every nth image."""
    shapes = [strip.images.shape[1:] for strip in strips]
    shape = max(shapes, key=shapes.count)
    same = [strip for strip in strips if strip.images.shape[1:] == shape]
    every = -(-max(len(strip.images) for strip in same) // MOST_COLUMNS)
    rows = [(strip.label or strip.run, strip.images[::every]) for strip in same]
    white = np.full((max(len(images) for _, images in rows), *shape), 255, np.uint8)
    return [(label, np.concatenate((images, white[len(images) :]))) for label, images in rows]


def _plane(section: Section, convention: tuple[object, ...]) -> Figure | None:
    lines: dict[str, figures.Points] = {}
    flat: dict[str, float] = {}
    for line in section.lines:
        runs = [
            r
            for r in line.records
            if r.convention == convention and math.isfinite(r.metric("reconstruction"))
        ]
        rated = [r for r in runs if math.isfinite(r.metric("kl"))]
        if rated:
            numbers = [[section.weight(r), r.metric("kl"), r.metric("reconstruction")] for r in rated]
            weight, rate, distortion = np.array(numbers, float).T
            lines[line.label] = (weight, rate, distortion)
        flat |= {section.labels[r.name]: r.metric("reconstruction") for r in runs if r not in rated}
    if not lines:  # a rate is what makes a plane
        return None
    likelihood = " with σ = ".join(map(str, convention))
    title = f"Rate and distortion · {section.dataset} · {likelihood} likelihood"
    return figures.rate_distortion(lines, flat, section.symbol, title)


def _curves(section: Section, quantity: Quantity) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """On the validation split, or on the training split where a quantity has none there."""
    held_out = {r.name: r.curve(quantity.name, "val") for r in section.records}
    if not any(values for _, _, values in held_out.values()):
        held_out = {r.name: training_curve(r, quantity.name) for r in section.records}
    return _drawn(section, held_out, quantity.sign)


def _drawn(
    section: Section, curves: Mapping[str, tuple[Sequence[float], ...]], sign: int = 1
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Epochs and values of one run for each λ of each line, of the runs that have some."""
    found = {name: (np.array(x), sign * np.array(y)) for name, (x, _, y) in curves.items() if y}
    shown = _first_seeds(section, found)
    return {section.labels[name]: curve for name, curve in found.items() if name in shown}


def _losses(section: Section) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """The loss inside epochs, of the runs that kept it."""
    found = {section.labels[r.name]: training_curve(r, "loss") for r in inside_epochs(section)[:MOST_ROWS]}
    return {label: (np.array(x), np.array(y)) for label, (x, _, y) in found.items()}


def _sizes(section: Section) -> dict[str, dict[str, tuple[np.ndarray, np.ndarray]]]:
    panels = {
        one.heading: {line.label: line.curve(one.name) for line in by_code_size(section)}
        for one in columns.of_images(section.records)
    }
    kept = {t: {n: (np.array(x), np.array(y)) for n, (x, y) in p.items() if y} for t, p in panels.items()}
    return {title: panel for title, panel in kept.items() if panel}


def _table(collection: Collection, table: pd.DataFrame) -> Iterator[str]:
    first = first_columns(collection)
    names = [name for name in table.columns if name.removesuffix(" (reported)") in first]
    yield "| " + " | ".join(map(_escaped, names)) + " |"
    yield "|" + "---|" * len(names)
    for row in table[names].itertuples(index=False):
        yield "| " + " | ".join(_escaped(amount(value)) for value in row) + " |"


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is: no markup, HTML, entity, mathematics or list begins in it."""
    plain = re.sub(r"([\\`*_\[\]<>|#~&$])", r"\\\1", printable(" ".join(str(text).split())))
    return re.sub(r"^(\d*)([-+.)=])(?= |$|[-=]+$)", r"\1\\\2", plain)
