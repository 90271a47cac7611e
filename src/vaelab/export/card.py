"""The model card of an exported run: what it is, what it was trained on, what it reaches, how it was made."""

import math
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from PIL import Image

from vaelab import __version__, config
from vaelab.data.published.layouts import LAYOUTS
from vaelab.keys import PLACES
from vaelab.names import choice_of
from vaelab.quantities import of_run
from vaelab.runs.open_run import OpenedRun
from vaelab.words import printable

# Of what vaelab knows and no layout of a published data set says.
LICENCES = {
    "digits": "CC BY 4.0 (UCI handwritten digits, E. Alpaydin and C. Kaynak)",
    "tibetan_mnist": "CC BY-NC-SA 4.0, Minzu University of China",
    "anime": "no licence stated, the drawings are their artists'",
    "faces": "research use",
    **{name: layout.licence for name, layout in LAYOUTS.items()},
}
# What shows a model best, in this order.
SHOWN = {
    "reconstructions": "test images above what is decoded of their codes",
    "prior_samples": "samples",
    "samples": "samples",
    "class_pairs": "the same noise as each class",
    "interpolations": "between test images",
    "learning_curve": "the training",
}
MOST_METRICS = 12


def figures(folder: Path) -> list[str]:
    """The figures of a run folder that a card shows."""
    names = [f"figures/{name}.png" for name in SHOWN]
    return [name for name in names if _is_own_picture(folder, name)]


def _is_own_picture(folder: Path, name: str) -> bool:
    """Whether a file is a PNG inside of the folder: what a stranger's folder links to is nobody's to publish."""
    file = folder / name
    if not file.is_file() or not file.resolve().is_relative_to(folder.resolve()):
        return False
    try:
        with Image.open(file, formats=["PNG"]) as picture:
            picture.verify()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False
    return True


def text(opened: OpenedRun, shown: list[str]) -> str:
    """README.md as Hugging Face reads it: a header in YAML, then Markdown."""
    environment = Environment(
        loader=PackageLoader("vaelab.export", "."),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters["line"] = printable
    info, cfg = opened.info, opened.config
    channels, height, width = info["dataset"]["shape"]
    facts: dict[str, Any] = {
        "title": title(opened),
        "model": choice_of("model", str(cfg.model._target_)),
        "dataset": info["dataset"]["name"],
        "size": f"{height}×{width}×{channels}",
        "sizes": ", ".join(f"{split} {size}" for split, size in info["dataset"]["sizes"].items()),
        "fingerprint": info["dataset"]["fingerprint"],
        "classes": info["dataset"]["classes"],
        "licence": LICENCES.get(str(cfg.dataset.get("name"))),
        "is_generator": "generator" in opened.model().offers,
        "is_told_classes": "classes" in opened.model().offers,
        "loss": loss(opened),
        "metrics": [(quantity.heading, quantity.written(value)) for quantity, value in results(opened)],
        "findings": [line for lines in info.get("findings", {}).values() for line in lines],
        "figures": [(name, SHOWN[Path(name).stem]) for name in shown],
        "command": command(info),
        "epochs": info.get("training", {}).get("epochs"),
        "seed": cfg.seed,
        "device": info.get("device"),
        "versions": ", ".join(f"{name} {version}" for name, version in info.get("versions", {}).items()),
        "version": __version__,
    }
    header = yaml.safe_dump(head(opened), sort_keys=False, allow_unicode=True)
    return f"---\n{header}---\n\n" + environment.get_template("card.md.j2").render(facts)


def title(opened: OpenedRun) -> str:
    """The model, its data and λ."""
    weight = opened.config.get("kl_weight") if config.has_kl_weight(opened.config) else None
    unit = opened.config.kl_weight_unit
    counted = "" if unit == "nats" else f" (as in {unit})"
    model = choice_of("model", str(opened.config.model._target_))
    told = "" if weight is None else f", λ = {weight:g}{counted}"
    return printable(f"{model} on {opened.info['dataset']['name']}{told}")


def loss(opened: OpenedRun) -> str:
    """The loss in a line: its parts, and the weight of the KL in common units."""
    cfg = opened.config
    parts = [group for group in ("loss", "likelihood", "regulariser") if cfg.get(group)]
    words = ", ".join(f"{group} {choice_of(group, str(cfg[group]._target_))}" for group in parts)
    weight = opened.info.get("beta_eff")
    return words if weight is None else f"{words}; β_eff = {weight:.4g}"


def results(opened: OpenedRun) -> list[Any]:
    """The numbers of the test split that tables show without being asked, or else all, each with what it is called."""
    known = of_run(opened.info)
    found = [
        (known[name], known[name].sign * value)
        for name, value in opened.metrics.items()
        if name in known and isinstance(value, int | float) and math.isfinite(value)
    ]
    return ([one for one in found if one[0].shown == "always"] or found)[:MOST_METRICS]


def head(opened: OpenedRun) -> dict[str, Any]:
    """The header: what the hub sorts models by, and the metrics as it reads them."""
    dataset = str(opened.info["dataset"]["name"])
    numbers = [
        {"type": "-" * (quantity.sign < 0) + quantity.name, "name": quantity.heading, "value": float(value)}
        for quantity, value in results(opened)
    ]
    task = {"type": "unconditional-image-generation", "name": "image generation"}
    result = {"task": task, "dataset": {"name": dataset, "type": dataset}, "metrics": numbers}
    told = {
        "library_name": "vaelab",
        "pipeline_tag": task["type"],
        "tags": ["vaelab", choice_of("model", str(opened.config.model._target_))],
    }
    return told | ({"model-index": [{"name": title(opened), "results": [result]}]} if numbers else {})


def command(info: dict[str, Any]) -> str:
    """The command that made the run, without the folders of the machine that it was made on."""
    given = info.get("command")
    words = [str(word) for word in given] if isinstance(given, list) else []
    private = (*PLACES, "output_dir")
    kept = [
        word
        for word in words
        if word.partition("=")[0].lstrip("+") not in private and not set(word.partition("=")[2]) & {"/", "\\"}
    ]
    return printable(" ".join(kept))
