"""What vae-data does: a data set is prepared, counted, drawn, and what λ will do to it is predicted."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig

from vaelab import UsageError, canvas, config, files
from vaelab.canvas import BLUE, GRAY, SMALL, VERMILION, Mark, Panel, mark, shades
from vaelab.fonts import class_names
from vaelab.names import CONF, choice_of, swept_weights
from vaelab.runs.lock import refuse_unwritable
from vaelab.words import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from vaelab.data import ImageSet

CONTACT_SHEET = 64  # images, spread evenly over the data set
UNITS = 10  # whose collapse is shown


def perform(cfg: DictConfig) -> None:
    """Does what the action of vae-data's configuration says."""
    if cfg.source is not None:
        cfg.dataset.path = cfg.source
    config.check(cfg, config.Data)
    if cfg.action == "list":
        from vaelab.data import catalogue

        return print(catalogue.table(CONF / "dataset", Path(cfg.data_dir).expanduser()))
    from vaelab import build, plugins

    plugins.allow(cfg.plugins)
    build.check(cfg)
    if cfg.action == "spectrum":
        return _spectrum(cfg)
    images = build.dataset(cfg)
    print(*map(printable, describe(images)), sep="\n")
    if cfg.action == "prepare":
        return
    folder = Path(cfg.output_dir, images.name)
    refuse_unwritable(folder)
    shown = np.linspace(0, len(images.images) - 1, min(CONTACT_SHEET, len(images.images))).astype(int)
    classes, told = class_names(images.classes)
    names = [classes[i] for i in images.labels[shown]] if images.labels is not None else ()
    title = f"{images.name}: {len(shown)} of {len(images.images)}{told}"
    sheet = canvas.contact_sheet(images.images[shown], title, names)
    canvas.save(sheet, folder / "contact_sheet.png", cfg.dpi)
    print(f"contact sheet: {folder / 'contact_sheet.png'}")


def _spectrum(cfg: DictConfig) -> None:
    if (chosen := choice_of("likelihood", cfg.likelihood._target_)) != "gaussian":
        raise UsageError(f"likelihood={chosen} has no closed form: use likelihood=gaussian")
    from vaelab import build, spectrum

    images = build.dataset(cfg)
    folder = Path(cfg.output_dir, "spectrum", images.name)
    refuse_unwritable(folder)
    sigma, units = cfg.likelihood.sigma, cfg.latent_dim
    given = swept_weights() if cfg.kl_weight is None else cfg.kl_weight
    weights = sorted([given] if isinstance(given, int | float) else given)
    eigenvalues = spectrum.eigenvalues(images.images, images.indices("train"))
    told = f"a linear VAE of {units} units with Gaussian noise of σ = {sigma:g}"
    print(printable(f"{images.name}: {told}, predicted from {images.sizes()['train']} training images"))
    print(spectrum.table([spectrum.predict(eigenvalues, weight, sigma, units) for weight in weights]))
    print(f"from λ = {spectrum.collapse(eigenvalues, sigma):.4g} on all units collapse")
    of = np.frombuffer(images.fingerprint.encode(), np.uint8)  # which a report looks at
    arrays = spectrum.arrays(eigenvalues, weights, sigma, units) | {"fingerprint": of}
    with files.whole(folder / "spectrum.npz") as part, part.open("wb") as stream:
        np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    canvas.save(draw_spectrum(arrays, f"{images.name} · {told}"), folder / "spectrum.png", cfg.dpi)
    print(f"figure and numbers: {folder / 'spectrum.png'}, {folder / 'spectrum.npz'}")


def draw_spectrum(arrays: Mapping[str, np.ndarray], title: str) -> "Figure":
    """Rate against distortion with the given λ marked, and the KL of the first units over λ with their thresholds.

    Arrays as vaelab.spectrum.arrays gives them: (L,) of each given λ, curve_* (N,), curve_kl (N, units).
    """
    across = "rate (nats per image); each point is named by its λ"
    plane = Panel(across, "distortion (nats per image)", [*_plane(arrays)])
    upward = f"KL of the first {min(UNITS, arrays['curve_kl'].shape[1])} units (nats)"
    cascade = Panel("λ; dotted: where a unit collapses", upward, [*_cascade(arrays)], log=True)
    return canvas.panels([plane, cascade], title, 3.0)


def _plane(arrays: Mapping[str, np.ndarray]) -> Iterator[Mark]:
    yield mark("plot", arrays["curve_rate"], arrays["curve_distortion"], color=BLUE, linewidth=1.2)
    beside: dict[str, Any] = {"xytext": (4, 4), "textcoords": "offset points", "fontsize": SMALL}
    given = (arrays[name] for name in ("kl_weight", "rate", "distortion"))
    for weight, *at in zip(*given, strict=True):
        if np.isfinite(at[0]):  # not so at λ = 0
            yield mark("plot", *at, color=VERMILION, marker="o", markersize=4)
            yield mark("annotate", f"{weight:g}", at, **beside)
    yield mark("margins", 0.08)


def _cascade(arrays: Mapping[str, np.ndarray]) -> Iterator[Mark]:
    weights, kl = arrays["curve_kl_weight"], arrays["curve_kl"][:, :UNITS]
    for shade, one in zip(shades(kl.shape[1]), kl.T, strict=True):
        yield mark("plot", weights, one, color=shade, linewidth=1.2)
    thresholds = arrays["eigenvalues"][:UNITS] / arrays["sigma"] ** 2
    for threshold in thresholds[thresholds > weights[0]]:
        yield mark("axvline", threshold, color=GRAY, linewidth=0.6, linestyle=":")


def describe(images: "ImageSet") -> list[str]:
    """A data set in a few lines: counts, shape, splits, classes."""
    channels, height, width = images.image_shape
    lines = [
        f"{images.name}: {len(images.images)} images of {height}×{width}×{channels}, from {images.source}",
        "splits: " + ", ".join(f"{split} {size}" for split, size in images.sizes().items()),
        f"fingerprint: {images.fingerprint}",
    ]
    if images.labels is not None:
        counts = Counter(images.labels.tolist())
        lines.append("classes: " + ", ".join(f"{c} {counts[i]}" for i, c in enumerate(images.classes)))
    return lines
