"""Pure functions from arrays to matplotlib figures and moving pictures."""

from typing import TYPE_CHECKING

from vaelab.figures.bars import stacked_bar
from vaelab.figures.canvas import in_rows
from vaelab.figures.charts import charts
from vaelab.figures.curves import game_curves, learning_curve
from vaelab.figures.distributions import (
    best_and_worst,
    codebook,
    confusions,
    histograms,
    kl_per_dimension,
    kl_per_layer,
    scatter,
)
from vaelab.figures.fonts import class_names
from vaelab.figures.moving import COLUMNS, Moving, along_epochs, gif, save_gif, there_and_back
from vaelab.figures.pictures import (
    contact_sheet,
    image_rows,
    interpolations,
    latent_edits,
    neighbours,
    noise_paths,
    perturbed,
    plane,
    reconstructions,
    samples,
    traversals,
)
from vaelab.figures.spectra import spectrum
from vaelab.figures.style import save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "COLUMNS",
    "Figure",
    "Moving",
    "along_epochs",
    "best_and_worst",
    "charts",
    "class_names",
    "codebook",
    "confusions",
    "contact_sheet",
    "game_curves",
    "gif",
    "histograms",
    "image_rows",
    "in_rows",
    "interpolations",
    "kl_per_dimension",
    "kl_per_layer",
    "latent_edits",
    "learning_curve",
    "neighbours",
    "noise_paths",
    "perturbed",
    "plane",
    "reconstructions",
    "samples",
    "save",
    "save_gif",
    "scatter",
    "spectrum",
    "stacked_bar",
    "there_and_back",
    "traversals",
]
