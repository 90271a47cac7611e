"""The parts of the report, one for each section: which topics it has, in the order in which a reader asks."""

from collections.abc import Iterator
from dataclasses import dataclass

from vaelab.report import (
    answers,
    caveats,
    charts,
    comparisons,
    dimensions,
    noise,
    plane,
    side_by_side,
    slopes,
    views,
)
from vaelab.report.album import Album
from vaelab.report.chart import Chart
from vaelab.report.details import state
from vaelab.report.record import Record
from vaelab.report.records import Collection, Section
from vaelab.report.topics import Topic

ATLAS = (
    "vae-evaluate run=FOLDER 'evaluation=[atlas,latent_space,latent_space_tsne,kl_per_dimension]' adds one."
)
ENLARGES = "A click or Enter enlarges; there the arrow keys move."


@dataclass(frozen=True)
class Part:
    """What the report has of one section."""

    id: str
    section: Section
    album: Album
    topics: tuple[Topic, ...]

    @property
    def charts(self) -> dict[str, Chart]:
        """All of its charts by name."""
        return {one.name: one.chart for topic in self.topics for one in topic.drawings}

    @property
    def best(self) -> Record:
        """The run of the best ELBO."""
        return max(self.section.records, key=lambda record: record.rank("elbo"))

    @property
    def runs(self) -> list[Record]:
        """Those that are shown with pictures and curves."""
        return list(self.section.with_pictures.records)


def part(identity: str, collection: Collection, section: Section, album: Album) -> Part:
    """The topics of a section for which its runs have something."""
    topics = _topics(collection, section, album)
    return Part(identity, section, album, tuple(topic for topic in topics if topic))


def _topics(collection: Collection, section: Section, album: Album) -> Iterator[Topic]:
    few = section.with_pictures
    yield _answer(collection, section)
    yield from _tables(section)
    yield _plane(section)
    yield from _pictures(section, album)
    yield Topic(
        "learning-curves",
        "Learning curves",
        note="Thick: validation split. Thin: training split, while the weights still moved; dotted by epoch, not"
        " dotted where log_every kept rows inside epochs. Of several seeds also the mean, in a band of one standard"
        " deviation.",
        drawings=charts.learning_curves(few),
    )
    yield _explorer(few, album)
    yield Topic("kl-per-dimension", "KL per dimension", drawings=dimensions.drawings(few))
    yield Topic("views", "Further evaluations", drawings=list(views.drawings(few)))
    yield Topic(
        "galleries",
        "Run by run",
        note="Compare down a column: the same noise, the same place on a way, an image and what is decoded after its"
        " code was changed, above its difference from the reconstruction, or a sample above the training images"
        f" nearest to it, with their mean distance in brackets. {ENLARGES}",
        has_more=bool(album.galleries),
    )


def _answer(collection: Collection, section: Section) -> Topic:
    """What the numbers say."""
    return Topic(
        "answer",
        "What λ does here" if section.has_several_weights else "What the numbers say",
        [
            ("What was reported", comparisons.findings(section)),
            *answers.paragraphs(section),
            ("Against the best linear VAE", answers.against_linear(section)),
            ("Models without λ", answers.across_lines(section)),
            ("Not done", [_state_sentence(section, r) for r in section.records if not r.is_evaluated]),
        ],
        caveats.warnings(collection, section),
    )


def _tables(section: Section) -> Iterator[Topic]:
    """What experiments compare beside λ."""
    along = [("", comparisons.effect_of_epochs(section))]
    yield Topic("epochs", "Epochs", along, tables=[comparisons.epochs(section)])
    yield Topic(
        "code-size",
        "Size of the code",
        [("", comparisons.effect_of_code_size(section))],
        drawings=charts.code_sizes(section),
        tables=[comparisons.code_sizes(section)],
    )
    yield Topic(
        "noise",
        "Images from codes and noise",
        [("", noise.sentences(section))],
        tables=[noise.table(section)],
    )


def _plane(section: Section) -> Topic:
    return Topic(
        "rate-distortion",
        "Rate and distortion",
        note="Each marker is one run on the test split"
        + (f", named by its {section.symbol}" if section.has_several_weights else "")
        + ". Rate and distortion add up to −ELBO, which is the same along each dotted line; to the lower left is"
        " better.",
        drawings=plane.drawings(section),
        tables=[slopes.table(section)],
    )


def _pictures(section: Section, album: Album) -> Iterator[Topic]:
    """The same images by λ, and samples of models side by side."""
    yield Topic(
        "matrix",
        f"Pictures by {section.symbol}" if section.has_several_weights else "Pictures",
        note="Every column shows the same test image, the same z, or the same place between the same two images, so"
        f" compare down a column. {ENLARGES}",
        matrices=album.matrices,
    )
    yield Topic(
        "side-by-side",
        "Models side by side",
        [("", side_by_side.sentences(section))],
        note="Samples of each model below real images; each model has noise of its own, so compare rows, not columns."
        f" {ENLARGES}",
        tables=[side_by_side.table(section)],
        matrices=[album.side_by_side] if album.side_by_side else [],
    )


def _state_sentence(section: Section, record: Record) -> str:
    rest = "Its curves are shown as far as they go." if record.history else "It has no numbers yet."
    return f"{section.labels[record.name]}: {state(record)}. {rest}"


def _explorer(section: Section, album: Album) -> Topic:
    there = {run["run"] for run in album.explorer["runs"]}
    absent = [r for r in section.records if r.is_evaluated and r.kind != "GAN" and r.name not in there]
    note = (
        "All images here were decoded when the runs were evaluated. The first two sliders move the two dimensions with"
        " the most information, the others stay at the code of one test image. "
        if there
        else ""
    )
    if absent:
        labels = ", ".join(section.labels[record.name] for record in absent)
        whose = f"Without an atlas, so not here: {labels}" if there else "These runs have no atlas to explore"
        note += f"{whose}; {ATLAS}"
    has_more = bool(there or absent or album.explorer["conditioned"])
    return Topic("explorer", "Latent explorer", note=note, has_more=has_more)
