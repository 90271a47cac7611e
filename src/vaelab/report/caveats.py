"""What keeps numbers of runs from being compared, in sentences."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from vaelab.report.record import Record
from vaelab.report.records import Collection, Section


def warnings(collection: Collection, section: Section) -> list[str]:
    """What keeps numbers of a section, or of sections with the same data set's name, from being compared."""
    found = []
    versions = {s.fingerprint for s in collection.sections if s.dataset == section.dataset}
    if len(versions) > 1:
        others = ", ".join(sorted(versions - {section.fingerprint}))
        found.append(
            f"{section.dataset} was read in {len(versions)} versions: these runs have the images"
            f" {section.fingerprint}, others have {others}. Their numbers do not compare, so each version has a part"
            " of its own."
        )
    in_nats = replace(section, records=tuple(r for r in section.records if r.kind != "GAN"))
    found += _difference(section, "split sizes", _sizes, "are not measured on the same test images")
    found += _difference(
        in_nats,
        "likelihood",
        lambda r: r.likelihood,
        "have nats that mean different things: −ELBO, reconstruction and λ do not compare between them, PSNR and"
        " SSIM do",
    )
    found += _difference(
        in_nats,
        "reduction",
        lambda r: r.reduction,
        "weigh the KL by another convention: the same λ is not the same weight",
    )
    if section.in_beta_eff:
        found.append(
            "Because of these conventions β_eff is plotted instead of λ: the weight of the KL against the summed"
            " negative log-likelihood of a unit-variance Gaussian (or of the Bernoulli), in nats."
        )
    if not _same_epochs(section):  # the table of epochs says it, and what it does
        found += _difference(
            section, "epochs", lambda r: r.config.get("epochs"), "did not train for the same time"
        )
    found += _difference(section, "vaelab version", _version, "may measure in another way")
    return found


def _same_epochs(section: Section) -> bool:
    """Whether all models were trained for each of the numbers of epochs, so that they compare at each."""
    epochs: dict[str, set[str]] = {}
    for record in section.records:
        rest = {k: v for k, v in record.line.items() if k != "epochs"} | {"kl_weight": record.kl_weight}
        epochs.setdefault(repr(sorted(rest.items(), key=str)), set()).add(str(record.config.get("epochs")))
    sets = list(epochs.values())
    return all(found == sets[0] for found in sets)


def _sizes(record: Record) -> str:
    """Of what is measured on; runs may learn from different numbers of the same training images."""
    return ", ".join(f"{split} {size}" for split, size in record.sizes.items() if split != "train")


def _version(record: Record) -> Any:
    versions = record.info.get("versions")
    return versions.get("vaelab") if isinstance(versions, dict) else None


def _difference(section: Section, what: str, value: Callable[[Record], Any], consequence: str) -> list[str]:
    groups: dict[str, list[str]] = {}
    for record in section.records:
        groups.setdefault(str(value(record)), []).append(section.labels[record.name])
    if len(groups) < 2:
        return []
    parts = "; ".join(f"{name}: {_first_labels(labels)}" for name, labels in groups.items())
    return [f"Runs of different {what} ({parts}) {consequence}."]


def _first_labels(labels: Sequence[str], most: int = 6) -> str:
    rest = len(labels) - most
    return ", ".join(labels[:most]) + (f" and {rest} more" if rest > 0 else "")
