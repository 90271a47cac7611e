"""How every figure is drawn and saved, whatever the user's own settings of matplotlib are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

from vaelab import files
from vaelab.figures.fonts import FONT, drawable, fallback, letters

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Given = ParamSpec("Given")

# Okabe & Ito 2008, without the yellow that is too pale on white.
BLUE, VERMILION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK, GRAY = "#E69F00", "#56B4E9", "#000000", "#999999"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, BLACK)
MARKERS = "os^Dv*XP<>hp"
TITLE, TEXT, SMALL = 10.0, 8.5, 7.5  # points


def drawn(draw: Callable[Given, Figure]) -> Callable[Given, Figure]:
    """Draws under matplotlib's defaults, with fonts that have the letters of every text given."""

    @wraps(draw)
    def draw_styled(*args: Given.args, **kwargs: Given.kwargs) -> Figure:
        with defaults() as settings:
            families, absent = fallback(letters((args, kwargs)))
            if absent:
                args, kwargs = drawable((args, kwargs), absent)
            settings["font.family"] = [FONT, *families]
            return draw(*args, **kwargs)

    return draw_styled


def save(figure: Figure, path: Path, dpi: int) -> None:
    """Writes a PNG whole or not at all."""
    with defaults(), files.whole(path) as part:
        figure.savefig(part, dpi=dpi, format="png")


@contextmanager
def defaults() -> Iterator[Any]:
    """Puts the user's settings away: dark styles, TeX, images from below; gives those in force, without mathematics."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams["text.parse_math"] = False
        yield matplotlib.rcParams
