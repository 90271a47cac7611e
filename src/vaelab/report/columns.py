"""Which numbers the runs of a report have, and what they call them."""

from collections.abc import Iterable, Sequence

from vaelab.quantities import Quantity, called
from vaelab.report.record import Record
from vaelab.report.records import Section
from vaelab.report.values import number

PLACES = ("epoch", "step", "split", "seconds")  # where a row of metrics.csv stands


def quantities(records: Iterable[Record]) -> dict[str, Quantity]:
    """What the runs declare, each number once, in the order of the runs that declare them."""
    found: dict[str, Quantity] = {}
    for record in records:
        for name, one in record.quantities.items():
            found.setdefault(name, one)
    return found


def curves(section: Section) -> list[Quantity]:
    """The columns of metrics.csv that are worth a curve; of settings, those that change in some run."""
    declared = quantities(section.records)
    columns = dict.fromkeys(name for record in section.records for row in record.history for name in row)
    order = [
        *(name for name in declared if name in columns),
        *(name for name in columns if name not in declared),
    ]
    found = [called(name, declared) for name in order if name not in PLACES]
    return [one for one in found if not one.is_setting or _moves(section.records, one.name)]


def _moves(records: Sequence[Record], column: str) -> bool:
    return any(
        len({v for row in record.history if (v := number(row.get(column))) is not None}) > 1
        for record in records
    )


def sample_quantities(records: Iterable[Record]) -> list[Quantity]:
    """What is measured of new images."""
    return [one for one in quantities(records).values() if one.of == "samples"]


def pixel_quantities(records: Iterable[Record]) -> list[Quantity]:
    """What is measured of each reconstruction without a likelihood, so that all models compare."""
    measured = (one for one in quantities(records).values() if one.of == "images" and one.shown)
    return [one for one in measured if not one.unit.startswith("nats")]


def image_quantities(records: Iterable[Record]) -> list[Quantity]:
    """What is measured of each reconstruction, and shown without being asked for, higher being better."""
    measured = (one for one in quantities(records).values() if one.of == "images")
    return [one for one in measured if one.shown == "always" and one.better == "higher"]
