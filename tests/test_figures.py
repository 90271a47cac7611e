"""Figures draw every kind of array, keep their texts apart and inside, and are written whole."""

import html
import itertools
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image

from vaelab import canvas, fonts, spectrum
from vaelab.canvas import Drawing
from vaelab.datasets import draw_spectrum
from vaelab.evaluations import (
    adversarial_curves,
    atlas,
    codebook,
    gan_test,
    information,
    interpolations,
    kl_per_dimension,
    kl_per_layer,
    latent_edit,
    latent_space,
    learning_curve,
    nearest_neighbours,
    noise_perturbation,
    prior_samples,
    rate_distortion,
    reconstructions,
    test_metrics,
    traversals,
    z_interpolations,
)
from vaelab.report import paper

LONG = "human_eye_crops · conv_vae · λ = 0.001 · epoch 1000"


def pictures(count: int, channels: int = 1, size: tuple[int, int] = (12, 12)) -> np.ndarray:
    return np.random.default_rng(0).random((count, *size, channels), dtype=np.float32)


def drawn_texts(figure: Figure, monkeypatch: pytest.MonkeyPatch) -> list[Text]:
    """The texts that reach the page; matplotlib also keeps labels of ticks that it does not draw."""
    figure.canvas.draw()  # settles the layout
    drawn: list[Text] = []
    draw = Text.draw

    def record(text: Text, *args: Any) -> None:
        drawn.append(text)
        draw(text, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Text, "draw", record)
        figure.canvas.draw()
    return [text for text in drawn if text.get_visible() and text.get_text().strip()]


def assert_readable(texts: list[Text], page: Any) -> None:
    """No text covers another, and none leaves the page."""
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts]
    assert boxes
    for name, box in boxes:
        assert min(box.x0, box.y0) >= 0, (name, box)
        assert max(box.x1 - page.x1, box.y1 - page.y1) <= 0, (name, box)
    for (a, box), (b, other) in itertools.combinations(boxes, 2):
        across = min(box.x1, other.x1) - max(box.x0, other.x0)
        along = min(box.y1, other.y1) - max(box.y0, other.y0)
        assert min(across, along) <= 1, (a, b)


def curves(epochs: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    epoch = np.arange(1, epochs + 1)
    return {"train": (epoch, 12000 / epoch), "val": (epoch, 13000 / epoch)}


def kl(count: int, active: int) -> tuple[np.ndarray, np.ndarray]:
    values = np.random.default_rng(0).exponential(size=count).astype(np.float32)
    return values, np.argsort(np.argsort(-values)) < active


def chart(*traces: dict[str, Any], **layout: Any) -> dict[str, Any]:
    """What the report's page draws with Plotly."""
    named = {letter: {"title": {"text": "nats &lt;per&gt; image"}} for letter in ("xaxis", "yaxis")}
    if any(isinstance((trace.get("x") or [0])[0], str) for trace in traces):
        named["xaxis"] |= {"type": "category"}
    return {"data": list(traces), "layout": named | layout}


def curve(name: str, number: int) -> dict[str, Any]:
    values = {"x": [1, 2, 3], "y": [number, number + 1, None], "mode": "lines", "line": {"dash": "dash"}}
    return {"type": "scatter", **values, "legendgroup": name, "showlegend": False}


def bars(name: str, number: int) -> dict[str, Any]:
    values = {"x": [LONG, "b"], "y": [number, 3], "text": ["2", "3"], "marker": {"color": "#d55e00"}}
    return {"type": "bar", "name": name, **values}


HEAT = {
    "colorscale": "Viridis",
    "colorbar": {"title": {"text": "nats"}, "tickvals": [0, 2], "ticktext": ["1", "9"]},
}
LABELS = np.arange(300) % 12
POINTS = np.random.default_rng(0).normal(size=(300, 2))
NAMES = tuple(f"light brown hair {i}" for i in range(40))

NUMBERS = (np.arange(1000) * 50, np.random.default_rng(1).random(1000))
ONE = (np.array([50]), np.array([0.7]))
FALLING = 10 / np.arange(1, 100) ** 1.2
HAIR = (
    *("aqua", "black", "blonde", "blue", "brown", "gray"),
    *("green", "orange", "pink", "purple", "red", "white"),
)

DRAWN: dict[str, Drawing] = {
    "learning curve, VAE": learning_curve.drawing(
        {f"{name}\n(nats per image)": curves(1000) for name in ("−ELBO", "reconstruction", "KL")}, LONG
    ),
    "learning curve, four panels": learning_curve.drawing(
        {
            f"{name}\n(nats per image)": curves(7)
            for name in ("−ELBO", "reconstruction", "KL", "weighted loss")
        },
        LONG,
    ),
    "learning curve, AE, one epoch": learning_curve.drawing({"reconstruction": curves(1)}, LONG),
    "reconstructions, gray": reconstructions.drawing(pictures(16), pictures(16), LONG),
    "reconstructions, colour, odd count": reconstructions.drawing(pictures(11, 3), pictures(11, 3), LONG),
    "reconstructions, one": reconstructions.drawing(pictures(1), pictures(1), LONG),
    "reconstructions, wide": reconstructions.drawing(
        pictures(16, 3, (10, 40)), pictures(16, 3, (10, 40)), LONG
    ),
    "reconstructions, high": reconstructions.drawing(
        pictures(16, 3, (40, 10)), pictures(16, 3, (40, 10)), LONG
    ),
    "samples": prior_samples.drawing({"": pictures(64)}, LONG),
    "samples, two grids": prior_samples.drawing(
        {"prior N(0, I)": pictures(64, 3), "Gaussian fitted to the aggregate posterior": pictures(64, 3)},
        LONG,
    ),
    "interpolations": interpolations.drawing(
        pictures(8), pictures(72).reshape(8, 9, 12, 12, 1), pictures(8), LONG
    ),
    "traversals": traversals.drawing(
        pictures(70, 3).reshape(10, 7, 12, 12, 3),
        np.arange(10) + 147000,
        np.linspace(9, 0, 10),
        np.linspace(-3, 3, 7),
        LONG,
    ),
    "plane": atlas.drawing(
        pictures(225, 3).reshape(15, 15, 12, 12, 3),
        np.array([3, 147000]),
        np.linspace((-3, -30), (3, 30), 15).T,
        np.array([2.5, 0.1]),
        LONG,
    ),
    "plane of an autoencoder": atlas.drawing(
        pictures(4).reshape(2, 2, 12, 12, 1), np.array([0, 1]), np.array([[-1, 1], [0, 1]]), None, LONG
    ),
    "rate-distortion": partial(
        paper.charts,
        [
            (
                "",
                chart(
                    *(
                        {
                            "type": "scatter",
                            "mode": "markers+text",
                            "x": [x],
                            "y": [y],
                            "text": [name],  # as the plane has it: of the seeds of one λ the first
                            "name": f"λ = {w:g}",
                            "marker": {"color": "rgb(68, 1, 84)", "symbol": "square"},
                        }
                        for w, name, x, y in (
                            (0, "0", 300, 90),
                            (1, "1", 60, 95),
                            (1, "", 61, 96),
                            (100, "100", 0, 330),
                        )
                    ),
                    {
                        "type": "scatter",
                        "mode": "lines",
                        "x": [0, 300],
                        "y": [85, 85],
                        "name": "conv_ae (no rate)",
                        "error_x": {"array": [1, 2]},
                        "error_y": {"array": [1, 2]},
                        "line": {"color": "#8a8a8a"},
                    },
                ),
            )
        ],
        LONG,
    ),
    "charts of each kind": partial(
        paper.charts,
        [
            (LONG, chart(bars("one", 1), bars("two", 2), barmode="stack")),
            ("a heat map", chart({"type": "heatmap", "z": [[0, None], [1, 2]], "x": [LONG, "b"], **HEAT})),
            (
                "",
                chart(
                    curve("one", 1),
                    {**curve("band", 2), "fill": "tonexty", "fillcolor": "rgba(1, 2, 3, 0.2)"},
                ),
            ),
        ],
        LONG,
    ),
    "curves of 12 runs": partial(
        paper.charts,
        [("", chart(*(curve(f"conv_vae latent_dim=8 · λ = {n}", n) for n in range(12))))] * 3,
        LONG,
    ),
    "rows of images": partial(
        canvas.image_rows,
        [(f"conv_vae latent_dim=8 · λ = {n}, fitted Gaussian", pictures(12, 3)) for n in range(5)],
        LONG,
    ),
    "scatter, no labels": latent_space.drawing(POINTS, ("z0", "z1"), None, (), LONG),
    "scatter, 12 classes": latent_space.drawing(POINTS, ("z0", "z1"), LABELS, NAMES, LONG),
    "scatter, 40 classes": latent_space.drawing(POINTS, ("z0", "z1"), np.arange(300) % 40, NAMES, LONG),
    "kl, 32": kl_per_dimension.drawing(*kl(32, 27), f"KL per dimension · 27 of 32 units active · {LONG}"),
    "kl, none active": kl_per_dimension.drawing(*kl(64, 0), LONG),
    "kl, 512": kl_per_dimension.drawing(*kl(512, 100), LONG),
    "kl, spatial": kl_per_dimension.drawing(*kl(147456, 100000), LONG),
    "best and worst": test_metrics.drawing(
        pictures(6, 3), pictures(6, 3), ["100.0 dB\nSSIM −0.12"] * 6, 3, np.linspace(10, 30, 180), LONG
    ),
    "best, one image": test_metrics.drawing(pictures(1), pictures(1), ["9.0 dB"], 1, np.ones(1), LONG),
    "game, four panels": adversarial_curves.drawing(
        {
            f"class loss {i}\n(nats per image)": {"on real images": NUMBERS, "on generated": NUMBERS}
            for i in range(4)
        },
        LONG,
    ),
    "game, two panels, one epoch": adversarial_curves.drawing(
        {
            "loss\n(nats per image)": {"discriminator": ONE, "generator": ONE},
            "discriminator's accuracy": {"on real images": ONE, "on generated": ONE},
        },
        LONG,
    ),
    "noise paths": z_interpolations.drawing(pictures(54, 3).reshape(6, 9, 12, 12, 3), LONG),
    "latent edits": latent_edit.drawing(
        pictures(4, 3),
        pictures(4, 3),
        pictures(12, 3).reshape(4, 3, 12, 12, 3),
        ["z[0] + 20", "z[-1] = −3.5", "2.25 · z[100]"],
        LONG,
    ),
    "perturbed": noise_perturbation.drawing(
        pictures(20, 3), pictures(100, 3).reshape(20, 5, 12, 12, 3), [str(1470 + i) for i in range(20)], LONG
    ),
    "perturbed, three": noise_perturbation.drawing(
        pictures(3), pictures(6).reshape(3, 2, 12, 12, 1), ["1", "2", "3"], LONG
    ),
    "histograms": partial(
        canvas.histograms,
        {"samples": POINTS[:, 0], "training images": POINTS[:, 1]},
        "MS-SSIM of a pair",
        LONG,
    ),
    "histograms, log": partial(
        canvas.histograms,
        {"samples": np.exp(POINTS[:, 0]), "training images": np.zeros(5)},
        "variance",
        LONG,
        log=True,
    ),
    "neighbours": nearest_neighbours.drawing(
        pictures(8, 3), pictures(24, 3).reshape(8, 3, 12, 12, 3), np.full((8, 3), 0.1234), LONG
    ),
    "neighbours, one": nearest_neighbours.drawing(
        pictures(1), pictures(2).reshape(1, 2, 12, 12, 1), np.full((1, 2), 0.1), LONG
    ),
    "confusions, 2 classes": gan_test.drawing(
        {"generated images": np.eye(2), "test images": np.ones((2, 2))}, ("not smiling", "smiling"), LONG
    ),
    "confusions, 100 classes": gan_test.drawing(
        {"generated images": np.eye(100), "test images": np.ones((100, 100))}, (NAMES * 3)[:100], LONG
    ),
    "confusions, 12 classes": gan_test.drawing(
        {"generated images": np.eye(12), "test images": np.ones((12, 12))}, HAIR, LONG
    ),
    "codebook": codebook.drawing(np.arange(64) / 2016, LONG),
    "kl per layer": kl_per_layer.drawing(
        np.array([1.0, 20.5, np.inf]), [f"layer {n}\n16 of 16 units active" for n in (1, 2, 3)], LONG
    ),
    "information": information.drawing(
        {one.name: value for one, value in zip(information.PARTS, (3.2, 1, np.nan, -0.1), strict=True)},
        {one.name: 0.01 for one in information.PARTS},
        LONG,
    ),
    "rate-distortion of one network": rate_distortion.drawing(
        dict.fromkeys(rate_distortion.NUMBERS, np.linspace(1, 100, 9))
        | {"kl_weight": np.geomspace(0.01, 100, 9)},
        LONG,
    ),
    "spectrum": partial(draw_spectrum, spectrum.arrays(FALLING, [0, 0.1, 1, 5, 100], 1, 32), LONG),
    "spectrum, one unit": partial(draw_spectrum, spectrum.arrays(FALLING[:1], [1], 0.1, 1), LONG),
    "contact sheet": partial(canvas.contact_sheet, pictures(20, 3), LONG),
    "contact sheet, names": partial(canvas.contact_sheet, pictures(20, 3), LONG, NAMES[:20]),
}


@pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN.keys())
def test_texts_are_readable(draw: Drawing, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = draw()
    assert_readable(drawn_texts(figure, monkeypatch), figure.bbox)


def test_figures_travel_to_a_process_without_torch(tmp_path: Path) -> None:
    """What evaluations give is data, and functions of vaelab.canvas: torch would take seconds and 500 MB there."""
    (tmp_path / "drawings").write_bytes(pickle.dumps([*DRAWN.values()]))
    program = (
        "import pickle, sys; from pathlib import Path; from matplotlib.figure import Figure;"
        "drawings = pickle.loads(Path(sys.argv[1]).read_bytes());"
        "sys.exit('torch' in sys.modules or not isinstance(drawings[0](), Figure))"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path / "drawings")]).returncode == 0


def test_uint8_and_float_images_look_the_same(tmp_path: Path) -> None:
    bytes_ = np.random.default_rng(0).integers(0, 256, (8, 9, 7, 3), np.uint8)
    for name, images in (("bytes.png", bytes_), ("floats.png", (bytes_ / 255).astype(np.float32))):
        canvas.save(canvas.contact_sheet(images, "sheet"), tmp_path / name, 50)
    assert (tmp_path / "bytes.png").read_bytes() == (tmp_path / "floats.png").read_bytes()


def test_gray_is_not_stretched() -> None:
    figure = canvas.contact_sheet(np.full((4, 5, 5, 1), 0.5, np.float32), "gray")
    (image,) = figure.axes[0].images
    assert (image.get_clim(), image.get_cmap().name) == ((0, 1), "gray")


def test_pictures_stand_where_the_grid_says() -> None:
    images = pictures(6, 3).reshape(2, 3, 12, 12, 3)
    figure = traversals.drawing(images, np.arange(2), np.ones(2), np.arange(3), "grid")()
    ax = figure.axes[0]
    drawn = np.asarray(ax.images[0].get_array())
    for row, y in enumerate(ax.get_yticks()):
        for column, x in enumerate(ax.get_xticks()):
            top, left = int(y - 5.5), int(x - 5.5)
            np.testing.assert_array_equal(drawn[top : top + 12, left : left + 12], images[row, column])


def test_save_has_the_resolution_asked_for_and_leaves_nothing_else(tmp_path: Path) -> None:
    figure = canvas.contact_sheet(pictures(4), "samples")
    path = tmp_path / "reconstructions" / "epoch_0010.png"
    canvas.save(figure, path, 300)
    with Image.open(path) as image:
        assert image.size == tuple(int(side * 300) for side in figure.get_size_inches())
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_save_keeps_the_old_figure(tmp_path: Path) -> None:
    path = tmp_path / "figure.png"
    canvas.save(canvas.contact_sheet(pictures(4), "samples"), path, 50)
    before = path.read_bytes()
    figure = canvas.contact_sheet(pictures(4), "samples")
    figure.text(0.5, 0.5, "$\\no_such_symbol$")
    with pytest.raises(ValueError, match="no_such_symbol"):
        canvas.save(figure, path, 50)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# ---- the user's surroundings


def of_figure(figure: Figure, path: Path) -> np.ndarray:
    canvas.save(figure, path, 50)
    with Image.open(path) as image:
        return np.asarray(image)


HOSTILE = {
    "image.origin": "lower",
    "figure.facecolor": "black",
    "axes.facecolor": "black",
    "savefig.facecolor": "black",
    "text.usetex": True,
    "font.size": 30,
    "figure.dpi": 20,
    "savefig.dpi": 20,
    "savefig.bbox": "tight",
    "image.cmap": "jet",
    "axes.grid": True,
    "legend.loc": "lower left",
}


@pytest.mark.parametrize(
    "name", ["reconstructions, gray", "scatter, 12 classes", "learning curve, VAE", "histograms, log"]
)
def test_the_users_settings_do_not_reach_into_figures(name: str, tmp_path: Path) -> None:
    plain = of_figure(DRAWN[name](), tmp_path / "plain.png")
    with matplotlib.rc_context(HOSTILE):
        kept = dict(matplotlib.rcParams)
        hostile = of_figure(DRAWN[name](), tmp_path / "hostile.png")
        assert dict(matplotlib.rcParams) == kept
    np.testing.assert_array_equal(hostile, plain)


def test_no_figure_needs_a_backend_of_the_users(tmp_path: Path) -> None:
    program = (
        "import sys, numpy as np; from pathlib import Path; from vaelab import canvas;"
        "canvas.save(canvas.contact_sheet(np.zeros((4, 5, 5, 1), np.float32), 'x'), Path(sys.argv[1]), 50);"
        "canvas.save(canvas.histograms({'a': np.arange(3)}, 'a', 'x', log=True), Path(sys.argv[1]), 50);"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    environment = os.environ | {"MPLBACKEND": "qtagg"}
    command = [sys.executable, "-c", program, str(tmp_path / "a.png")]
    assert subprocess.run(command, env=environment, cwd=tmp_path).returncode == 0


ODD = ("$x_1$", "$$", "_background_", "50%", "\\alpha", "a&b <i>", "x" * 200, "{}", "^")


def test_names_are_drawn_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    images = pictures(len(ODD))
    labels = np.arange(300) % len(ODD)
    for figure in (
        latent_space.drawing(POINTS, ("z0", "z1"), labels, ODD, "costs $$")(),
        gan_test.drawing({"test images": np.eye(len(ODD))}, ODD, "costs $$")(),
        canvas.contact_sheet(images, "costs $$", ODD),
        canvas.image_rows([(name, images) for name in ODD], "costs $$"),
        paper.charts([("", chart(*(curve(html.escape(name), n) for n, name in enumerate(ODD))))], "costs $$"),
    ):
        texts = drawn_texts(figure, monkeypatch)
        shown = [text.get_text() for text in texts]
        assert not any(text.get_parse_math() for text in texts if "$" in text.get_text())
        assert {"$x_1$", "$$", "_background_", "50%", "\\alpha", "costs $$"} <= set(shown)
        assert any("x" * 10 in text for text in shown)


def test_a_chart_on_paper_has_the_numbers_names_and_scales_of_the_page() -> None:
    drawn = chart(curve("a &lt; b", 5), {**bars("c", 2), "x": [1, 2]})
    drawn["layout"]["yaxis"] |= {"type": "log"}
    drawn["layout"]["xaxis"] |= {"tickvals": [1, 2], "ticktext": ["one<br>1:1", "two"]}
    figure = paper.charts(
        [("", drawn), ("map", chart({"type": "heatmap", "z": [[0, None], [1, 2]], **HEAT}))], "t"
    )
    lines, heat = figure.axes[:2]
    np.testing.assert_equal(lines.lines[0].get_xydata(), [[1, 5], [2, 6], [3, np.nan]])
    assert [bar.get_height() for bar in lines.patches] == [2, 3]
    assert (lines.get_yscale(), lines.get_xlabel()) == ("log", "nats <per> image")
    assert [tick.get_text() for tick in lines.get_xticklabels()] == ["one\n1:1", "two"]
    np.testing.assert_equal(heat.images[0].get_array().filled(np.nan), [[0, np.nan], [1, 2]])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a < b", "c"]


def test_a_name_has_the_extent_of_its_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    figure = canvas.image_rows([("$x_1$", pictures(2)), ("$x", pictures(2))], "title")
    by_name = {text.get_text(): text.get_window_extent().width for text in drawn_texts(figure, monkeypatch)}
    assert by_name["$x_1$"] > by_name["$x"] * 1.5  # as mathematics it is one letter


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A font with two letters that DejaVu has not, as if it were installed."""
    letters = {0x732B: "cat", 0x0F40: "ka"}
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", *letters.values()])
    builder.setupCharacterMap(letters)
    pen = TTGlyphPen(None)
    for at in ((0, 0), (0, 700), (700, 700), (700, 0)):
        pen.lineTo(at) if at != (0, 0) else pen.moveTo(at)
    pen.closePath()
    builder.setupGlyf(dict.fromkeys([".notdef", *letters.values()], pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys([".notdef", *letters.values()], (800, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Noto Two Letters", "styleName": "Regular"})
    builder.setupOS2(sTypoAscender=800, usWinAscent=800, usWinDescent=200)
    builder.setupPost()
    builder.save(tmp_path / "two.ttf")
    monkeypatch.setattr(font_manager.fontManager, "ttflist", list(font_manager.fontManager.ttflist))
    font_manager.fontManager.addfont(tmp_path / "two.ttf")
    font_manager.fontManager._findfont_cached.cache_clear()
    fonts.fallback.cache_clear()
    yield
    fonts.fallback.cache_clear()
    font_manager.fontManager._findfont_cached.cache_clear()


def test_letters_come_from_a_font_that_has_them(installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    names, told = fonts.class_names(["猫", "dog ཀ"])
    assert (names, told) == (["猫", "dog ཀ"], "")
    figure = canvas.contact_sheet(pictures(2), "猫", names)
    texts = drawn_texts(figure, monkeypatch)  # a missing glyph would warn, and warnings are errors
    assert {text.get_text() for text in texts} == {"猫", "dog ཀ"}
    assert all("Noto Two Letters" in text.get_fontfamily() for text in texts)


def test_classes_without_a_font_are_numbered_and_other_names_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    strange = "\U00012000\U00012001"  # cuneiform
    names, told = fonts.class_names(["dog", strange])
    assert names == ["0", "1"]
    assert told.removeprefix(" · ").isascii()
    figure = canvas.contact_sheet(pictures(2), f"{strange} and \udcff and \x1b[31m{told}", names)
    shown = {text.get_text().replace("\n", " ") for text in drawn_texts(figure, monkeypatch)}
    assert any(r"\U00012000\U00012001 and \udcff and \x1b[31m · classes by number" in text for text in shown)
    panel = canvas.Panel(strange, "", [canvas.mark("plot", [0], [0], label=strange)])
    shown = {text.get_text() for text in drawn_texts(canvas.panels([panel], "", 2.0), monkeypatch)}
    assert r"\U00012000\U00012001" in shown


def test_long_and_wide_titles_stay_on_the_page(installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for title in ("猫" * 100, "a long chapter · " * 100):
        figure = canvas.contact_sheet(pictures(4), title)
        assert_readable(drawn_texts(figure, monkeypatch), figure.bbox)


def test_numbers_that_are_not_finite_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = np.array([np.nan, np.inf, 1.0, 2.0])
    for values in (lost, np.full(3, np.nan)):
        drawn_texts(canvas.histograms({"samples": values, "images": values}, "x", "t"), monkeypatch)
        drawn_texts(canvas.histograms({"samples": values, "images": values}, "x", "t", log=True), monkeypatch)
        drawn_texts(test_metrics.drawing(pictures(2), pictures(2), ["a", "b"], 1, values, "t")(), monkeypatch)
        drawn_texts(kl_per_dimension.drawing(values, values > 1, "t")(), monkeypatch)
        points = np.stack((values, values), axis=1)
        drawn_texts(latent_space.drawing(points, ("a", "b"), None, (), "t")(), monkeypatch)
