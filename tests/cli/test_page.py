"""The report's page in a real browser: what a reader does with mouse and keyboard, on a phone, on paper."""

import csv
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import Command

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium on this machine: apt-get install chromium"
)
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
QUIET += ["--disable-background-networking", "--disable-component-update"]
SMALL = ["epochs=2", "latent_dim=4", "evaluation.latent_space_tsne.points=60", "evaluation.atlas.images=40"]


@pytest.fixture(scope="module")
def outputs(vae: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folders of a real sweep over λ and of an autoencoder, with their report."""
    cwd = tmp_path_factory.mktemp("page")
    for command in (("sweep", "model=fc_vae", "kl_weight=0,1,100"), ("train", "model=fc_ae")):
        done = vae(*command, *SMALL, cwd=cwd)
        assert done.returncode == 0, done.stderr
    done = vae("report", "dpi=60", cwd=cwd)
    assert done.returncode == 0, done.stderr
    return cwd / "outputs"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=BROWSER, args=QUIET)
        yield opened
        opened.close()


# What Plotly draws of lines, markers, bars and heat maps.
DRAWN = "path.js-line, .points path, .heatmaplayer image"


class Reader:
    """A page that has been opened, and everything that went wrong in it."""

    def __init__(self, browser: Any, file: Path, width: int = 1440, scheme: str = "light") -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.page = self.context.new_page()
        self.wrong: list[str] = []
        self.page.on(
            "console", lambda m: self.wrong.append(m.text) if m.type in ("error", "warning") else None
        )
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", self._requested)
        self.page.goto(file.as_uri())

    def _requested(self, request: Any) -> None:
        inside = request.url.startswith(("data:", "blob:")) or request.is_navigation_request()
        if not inside:
            self.wrong.append(request.url)

    def scroll_through(self) -> None:
        """Shows every part once, as a reader does, so that all is drawn."""
        self.page.evaluate(
            "document.querySelectorAll('.chart, .explorer').forEach((e) => e.scrollIntoView())"
        )
        for chart in self.page.locator(".chart").all():
            chart.scroll_into_view_if_needed()
            chart.locator(DRAWN).first.wait_for(state="attached")

    def pixels(self, canvas: str) -> str:
        """The picture of a canvas; waits for the one that is being drawn."""
        self.page.wait_for_timeout(150)
        return str(self.page.eval_on_selector(canvas, "(canvas) => canvas.toDataURL()"))

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).first.inner_text()).replace("\xa0", " ")

    def close(self) -> None:
        self.context.close()
        assert self.wrong == []


@pytest.fixture
def reader(browser: Any, outputs: Path) -> Iterator[Reader]:
    opened = Reader(browser, outputs / "report" / "index.html")
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("width", "scheme"), [(390, "light"), (390, "dark"), (1440, "light"), (1440, "dark")]
)
def test_it_fits_is_drawn_and_is_accessible(width: int, scheme: str, browser: Any, outputs: Path) -> None:
    from axe_playwright_python.sync_playwright import Axe

    opened = Reader(browser, outputs / "report" / "index.html", width, scheme)
    opened.scroll_through()
    assert opened.page.evaluate("document.documentElement.scrollWidth") <= width
    assert opened.page.evaluate("document.documentElement.dataset.theme") == scheme
    assert opened.page.locator("h1").is_visible()
    assert opened.page.locator(".chart").count() == 9
    found = Axe().run(opened.page).response["violations"]
    assert [(rule["id"], [node["html"][:120] for node in rule["nodes"]][:3]) for rule in found] == []
    opened.close()


def test_the_slider_of_the_weight_changes_the_pictures(reader: Reader) -> None:
    reader.scroll_through()
    slider, canvases = reader.page.locator(".run-slider"), (".decoded", ".slice", ".map-pair")
    slider.focus()
    slider.press("Home")
    before = [reader.pixels(canvas) for canvas in canvases]
    assert "λ = 0" in reader.text(".follow output")
    slider.press("ArrowRight")
    assert "λ = 1" in reader.text(".follow output")
    assert all(a != b for a, b in zip(before, [reader.pixels(c) for c in canvases], strict=True))
    assert slider.get_attribute("aria-valuetext") == reader.text(".follow output")


def test_sliders_of_dimensions_decode_other_images(reader: Reader) -> None:
    reader.scroll_through()
    reader.page.locator(".run-slider").press("Home")
    for control, canvas in (
        (".first", ".decoded"),
        (".second", ".decoded"),
        (".strips input", ".strips canvas"),
    ):
        before = reader.pixels(canvas)
        reader.page.locator(control).first.press("Home")
        assert reader.pixels(canvas) != before
    before = reader.pixels(".decoded")
    box = reader.page.locator(".slice").bounding_box()
    reader.page.locator(".slice").click(position={"x": box["width"] - 4, "y": box["height"] - 4})
    assert reader.pixels(".decoded") != before
    assert [reader.page.locator(c).input_value() for c in (".first", ".second")] == ["14", "14"]


def test_the_latent_map_shows_image_and_reconstruction(reader: Reader) -> None:
    reader.scroll_through()
    words, before = reader.text(".panel .slider output"), reader.pixels(".map-pair")
    reader.page.locator(".image-slider").press("End")
    assert reader.pixels(".map-pair") != before
    assert reader.text(".panel .slider output") != words
    words = reader.text(".panel .slider output")
    for point in reader.page.locator(".map .points path").all()[:3]:
        point.hover(force=True)
        reader.page.wait_for_timeout(100)
    assert reader.text(".panel .slider output") != words
    axis = reader.page.locator(".map .xtitle").text_content()
    reader.page.get_by_role("radio", name="t-SNE").check()
    reader.page.wait_for_timeout(300)
    assert (axis, reader.page.locator(".map .xtitle").text_content()) == ("PCA 1", "t-SNE 1")


def test_pictures_are_enlarged_and_the_arrow_keys_move(reader: Reader) -> None:
    page = reader.page
    page.get_by_role("radio", name="Prior samples").check()
    assert [box.is_visible() for box in page.locator(".matrix-box").all()].count(True) == 1
    page.get_by_role("radio", name="Reconstructions").check()
    strip = page.locator(".matrix-box:not([hidden]) .strip").nth(1)
    box = strip.bounding_box()
    strip.click(position={"x": box["width"] * 2.5 / 12, "y": 5})
    names = json.loads(strip.get_attribute("data-columns"))
    rows = [
        row.inner_text().replace("\xa0", " ") for row in page.locator(".matrix-box:not([hidden]) th").all()
    ]
    assert reader.text("#viewer-caption") == f"{rows[1]}: {names[2]}"
    before = reader.pixels("#viewer canvas")
    page.keyboard.press("ArrowRight")
    assert reader.text("#viewer-caption") == f"{rows[1]}: {names[3]}"
    page.keyboard.press("ArrowUp")
    assert reader.text("#viewer-caption") == f"{rows[0]}: {names[3]}"
    assert reader.pixels("#viewer canvas") != before
    page.keyboard.press("Escape")
    assert not page.locator("#viewer").is_visible()
    strip.focus()
    page.keyboard.press("Enter")
    assert reader.text("#viewer-caption") == f"{rows[1]}: {names[0]}"


def shown(page: Any) -> list[list[str]]:
    """The visible cells of the table of runs."""
    script = """(table) => [...table.querySelectorAll("tbody tr:not([hidden])")].map((row) =>
        [...row.cells].filter((cell) => !cell.hidden).map((cell) => cell.dataset.value))"""
    return list(page.eval_on_selector("#runs", script))


def test_the_table_sorts_filters_and_is_copied(reader: Reader, outputs: Path) -> None:
    page = reader.page
    with (outputs / "report" / "table.csv").open(newline="") as lines:
        rows = {row["label"]: row for row in csv.DictReader(lines)}
    head = [h.inner_text() for h in page.locator("#runs th:not([hidden])").all()]
    place = head.index("psnr")
    page.locator("#runs th button", has_text="psnr").click()
    measured = sorted(float(row["psnr"]) for row in rows.values())
    assert [float(row[place]) for row in shown(page)] == measured
    page.locator("#runs th button", has_text="psnr").click()
    assert [float(row[place]) for row in shown(page)] == measured[::-1]
    page.locator("#runs th button", has_text="elbo").click()
    assert shown(page)[-1][head.index("elbo")] == ""  # the autoencoder has none and stays last
    page.locator("#filter").fill("fc_vae")
    assert len(shown(page)) == 3
    page.locator("summary", has_text="Columns").click()
    page.locator(".columns label", has_text="label").check()
    page.locator("#copy-csv").click()
    reader.page.locator("#copied", has_text="4 lines copied").wait_for()
    copied = list(csv.DictReader(io.StringIO(page.evaluate("navigator.clipboard.readText()"))))
    assert len(copied) == 3
    for row in copied:
        for name, value in row.items():
            expected = rows[row["label"]][name]
            assert value == expected or float(value) == pytest.approx(float(expected))
    page.locator("#copy-latex").click()
    page.wait_for_timeout(200)
    latex = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert latex[0].startswith(r"\begin{tabular}{ll")
    assert len([line for line in latex if line.endswith(r"\\")]) == 4
    assert r"fc\_vae" in latex[4]


def test_curves_change_axes_and_runs_can_be_hidden(reader: Reader) -> None:
    reader.scroll_through()
    page = reader.page
    curve = ".chart[data-chart=curve-psnr]"
    state = f"""() => {{ const c = document.querySelector("{curve}"); return {{
        x: [...c.data[0].x], title: c.layout.xaxis.title.text, kind: c.layout.yaxis.type,
        visible: c.data.filter((t) => t.visible !== false).length }} }}"""
    before = page.evaluate(state)
    assert (before["x"], before["title"], before["visible"]) == ([1, 2], "epoch", 4)
    page.get_by_label("seconds of training").check()
    page.get_by_label("logarithmic").check()
    page.locator(".run-toggle").first.uncheck()
    page.wait_for_timeout(500)
    after = page.evaluate(state)
    assert after["x"] != before["x"]
    assert (after["title"], after["kind"], after["visible"]) == ("seconds of training", "log", 3)


def test_a_run_of_the_plane_shows_its_numbers_and_pictures(reader: Reader) -> None:
    reader.scroll_through()
    page = reader.page
    page.locator(".pointed").select_option(index=0)
    numbers, picture = reader.text(".numbers"), reader.pixels(".probes")
    page.locator("[data-chart^=rate]").scroll_into_view_if_needed()
    for point in page.locator("[data-chart^=rate] .points path").all()[:3]:
        point.hover(force=True)
        page.wait_for_timeout(100)
    assert reader.text(".numbers") != numbers
    assert reader.pixels(".probes") != picture


def test_the_theme_can_be_switched(reader: Reader) -> None:
    reader.scroll_through()
    colours = "[getComputedStyle(document.body).backgroundColor, document.querySelector('.chart').layout.font.color]"
    light = reader.page.evaluate(colours)
    reader.page.locator("#theme").click()
    reader.page.wait_for_timeout(300)
    dark = reader.page.evaluate(colours)
    assert light[0] == "rgb(255, 255, 255)"
    assert all(a != b for a, b in zip(light, dark, strict=True))


def test_it_prints(reader: Reader) -> None:
    reader.scroll_through()
    reader.page.emulate_media(media="print")
    assert not reader.page.locator(".side").is_visible()
    assert not reader.page.locator(".controls").first.is_visible()
    assert all(box.is_visible() for box in reader.page.locator(".matrix-box").all())
    assert len(reader.page.pdf()) > 100_000


def test_texts_of_runs_cannot_become_part_of_the_page(
    browser: Any, outputs: Path, tmp_path: Path, vae: Command
) -> None:
    shutil.copytree(outputs, tmp_path / "outputs", ignore=shutil.ignore_patterns("report"))
    text = "<script>window.bad=1</script><img src=x onerror='window.bad=1'>"
    for file in list((tmp_path / "outputs").rglob("run.json")):
        info = json.loads(file.read_text())
        info["dataset"] |= {"name": text, "classes": [text] * 10}
        info |= {"command": [text], "reason": text, "git_sha": text}
        file.write_text(json.dumps(info))
        file.parent.rename(file.parent.with_name(f"<img src=x onerror='window.bad=1'>{file.parent.name}"))
    assert vae("report", "dpi=60", cwd=tmp_path).returncode == 0
    opened = Reader(browser, tmp_path / "outputs" / "report" / "index.html")
    opened.scroll_through()
    opened.page.locator(".image-slider").press("End")
    assert opened.page.evaluate("window.bad") is None
    assert opened.page.locator("img[src=x]").count() == 0
    assert text in opened.text("main h2")
    opened.close()
