"""The report for those who write documents: report.md and its figures as PNG files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vaelab import canvas
from vaelab.quantities import amount
from vaelab.report import animations, comparisons, paper
from vaelab.report.charts import inside_epochs, learning_curves
from vaelab.report.page import headline
from vaelab.report.parts import Part
from vaelab.report.pictures import Matrix, Strip
from vaelab.report.records import Collection, Section
from vaelab.report.table import main_columns
from vaelab.report.tables import LONGEST_NAME
from vaelab.report.topics import Drawing, Table, Topic
from vaelab.words import printable

MOST_ROWS = 24  # of one figure
MOST_COLUMNS = 40  # images of one row
MOST_GALLERIES = 8  # runs with figures of their own

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def markdown(
    collection: Collection, parts: Sequence[Part], table: pd.DataFrame, folder: Path, dpi: int
) -> str:
    """The text of report.md; writes the figures that it shows into folder/figures."""
    lines = [f"# {headline(collection)}", ""]
    lines += [f"- {escape(name)} is left out: {escape(why)}" for name, why in collection.refused]
    if reported := comparisons.reported_values(collection):
        lines += ["", "## Reported and measured", *_numbers(reported)]
    written: set[str] = set()
    for place, part in enumerate(parts, 1):
        lines += ["", f"## {escape(part.section.title)}", "", _images(part.section)]
        for topic in part.topics:
            lines += _words(topic)
            for name, caption, figure in _figures(part, topic):
                title = re.sub(r"[^A-Za-z0-9_.-]+", "_", part.section.title)[:LONGEST_NAME]
                file = Path("figures", f"{place}-{title}-{name}.png")
                written.add(file.name)
                canvas.save(figure, folder / file, dpi)
                lines += ["", f"![{escape(caption)}]({file.as_posix()})", "", f"*{escape(caption)}*"]
        for record, files in animations.links(part.section.records, folder):
            shown_in = ", ".join(f"[{escape(title)}]({path})" for title, path in files)
            lines += ["", f"Moving pictures of {escape(part.section.labels[record.name])}: {shown_in}"]
    for name in _figures_before(folder) - written:
        (folder / "figures" / name).unlink(missing_ok=True)
    names = main_columns(collection, table)
    runs = Table(tuple(names), (*table[names].itertuples(index=False, name=None),), names=len(names))
    lines += ["", "## All runs", *_numbers(runs), ""]
    lines += ["table.csv has every column, index.html how each number was made."]
    return "\n".join(lines) + "\n"


def _figures_before(folder: Path) -> set[str]:
    """The names of the figures that the report in this folder shows, which this one replaces."""
    file = folder / "report.md"
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    return set(re.findall(r"\]\(figures/([A-Za-z0-9_.-]+\.png)\)", text))


def _images(section: Section) -> str:
    """The data that the runs of a section share."""
    runs = f"{len(section.records)} run{'s' if len(section.records) > 1 else ''}"
    images = f"{escape(section.dataset)}, the images {escape(section.fingerprint)}"
    return f"{runs} on {images}: {escape(section.sizes)}"


def _words(topic: Topic) -> Iterator[str]:
    """Sentences and tables."""
    if topic.paragraphs or topic.warnings or topic.tables:
        yield from ("", f"### {escape(topic.title)}")
    for head, sentences in topic.paragraphs:
        yield from ("", f"**{escape(head)}**") if head else ()
        yield from ("", *(f"- {escape(sentence)}" for sentence in sentences))
    if topic.warnings:
        yield from ("", *(f"- Before you compare: {escape(words)}" for words in topic.warnings))
    for table in topic.tables:
        yield from _numbers(table)


def _numbers(table: Table) -> Iterator[str]:
    yield from ("", escape(table.caption)) if table.caption else ()
    yield from ("", "| " + " | ".join(map(escape, table.heads)) + " |")
    yield "|" + "---|" * table.names + "---:|" * (len(table.heads) - table.names)
    for row in table.rows:
        yield "| " + " | ".join(escape(amount(value) or "–") for value in row) + " |"


def _figures(part: Part, topic: Topic) -> Iterator[tuple[str, str, Figure]]:
    """The name of each figure's file, what it shows, and the figure."""
    section = part.section
    of = f"{section.dataset} · {section.chapter}" if section.chapter else section.dataset
    drawings = topic.drawings
    if topic.id == "learning-curves":  # paper has no room for every seed
        drawings = learning_curves(_first_seeds(section.with_pictures))
        inside = section.subset({record.name for record in inside_epochs(section.with_pictures)[:MOST_ROWS]})
        if loss := [one for one in learning_curves(inside) if one.name == "curve-loss"]:
            yield (
                "loss-by-iteration",
                f"Loss by iteration of {of}",
                _charts(loss, f"Loss by iteration of {of}"),
            )
    if drawings:
        yield topic.id, f"{topic.title} of {of}", _charts(drawings, f"{topic.title} of {of}")
    galleries = part.album.galleries[:MOST_GALLERIES] if topic.id == "galleries" else ()
    own = [
        (f"{m.id}-{n}", f"{m.title} of {g.label} on", m) for n, g in enumerate(galleries) for m in g.matrices
    ]
    for name, title, matrix in (*((m.id, f"{m.title} of", m) for m in topic.matrices), *own):
        if matrix.on_paper:
            yield name, f"{title} {of}", canvas.image_rows(_equal(_few(section, matrix)), f"{title} {of}")


def _charts(drawings: Sequence[Drawing], caption: str) -> Figure:
    return paper.charts([(one.caption, one.chart.as_json()) for one in drawings], caption)


def _first_seeds(section: Section, drawable: set[str] | None = None) -> Section:
    """The section with one run for each λ of each line, of those that can be drawn."""
    first = {
        (place, r.kl_weight): r.name
        for place, line in enumerate(section.lines)
        for r in line.records[::-1]
        if (r.history if drawable is None else r.name in drawable)
    }
    return section.subset(set(first.values()))


def _few(section: Section, matrix: Matrix) -> list[Strip]:
    first = {record.name for record in _first_seeds(section, {strip.run for strip in matrix.strips}).records}
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


def escape(text: str) -> str:
    """Text that Markdown shows as it is: no markup, HTML, entity, mathematics or list begins in it."""
    plain = re.sub(r"([\\`*_\[\]<>|#~&$])", r"\\\1", printable(" ".join(str(text).split())))
    return re.sub(r"^(\d*)([-+.)=])(?= |$|[-=]+$)", r"\1\\\2", plain)
