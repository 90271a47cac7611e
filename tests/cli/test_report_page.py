"""The report's page as a reader uses it in a real browser: what is seen equals the arrays and tables of the runs."""

import base64
import csv
import io
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, Request

from .conftest import AXE, CHROMIUM, QUICK, Command

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
SMALL = (*QUICK[1:], "dpi=40", "evaluation.atlas.images=60", "evaluation.latent_space_tsne.points=60")
HOSTILE = "<script>window.bad=1</script><img src=x onerror=window.bad=1>"
CURVES = ".chart[data-chart^=curve]"
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def reported(vae: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a sweep of three λ, an autoencoder and their report were made."""
    cwd = tmp_path_factory.mktemp("reported")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        sweep, baseline = ("sweep", "model=fc_vae", "kl_weight=0,1,100"), ("train", "model=fc_ae")
        for name, *settings in ((*sweep, *SMALL), (*baseline, *SMALL), ("report", "dpi=40")):
            done = vae(name, *settings, cwd=cwd)
            assert done.returncode == 0, done.stderr
    return cwd


@pytest.fixture
def open_page(browser: Browser, reported: Path) -> Iterator[Open]:
    """open_page(width=390): the page of the report in a new window; at the end nothing may have gone wrong in it."""
    contexts = []
    wrong: dict[str, list[str]] = {"console": [], "errors": [], "requests": []}

    def opened(folder: Path = reported, width: int = 1440, scheme: str = "light") -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        contexts.append(context)
        page = context.new_page()
        address = (folder / "outputs/report/index.html").as_uri()

        def requested(request: Request) -> None:
            if request.url.partition("#")[0] != address and not request.url.startswith(("data:", "blob:")):
                wrong["requests"].append(request.url)

        page.on("request", requested)
        page.on("pageerror", lambda error: wrong["errors"].append(str(error)))
        page.on("console", lambda m: m.type in ("error", "warning") and wrong["console"].append(m.text))
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == {"console": [], "errors": [], "requests": []}


def wait(happened: Callable[[], Any], page: Page) -> None:
    """Waits until something is true that the page does on its own."""
    deadline = time.monotonic() + 10
    while not happened():
        assert time.monotonic() < deadline, "it did not happen"
        page.wait_for_timeout(20)


def scroll_through(page: Page) -> None:
    """Shows each part, so that all charts and the explorer are drawn."""
    for place in page.locator(".explorer, .chart").all():
        place.scroll_into_view_if_needed()
    undrawn = "(charts) => charts.filter((chart) => !chart.querySelector('svg path')).length"
    wait(lambda: page.locator(".chart").evaluate_all(undrawn) == 0, page)
    wait(lambda: pixels(page, ".map-pair").size > 150 * 300 or pixels(page, ".map-pair").any(), page)


def text(page: Page, selector: str) -> str:
    return page.locator(selector).first.inner_text().replace("\xa0", " ")


def pixels(page: Page, canvas: str) -> np.ndarray:
    """What a canvas shows, in gray, from 0 to 1."""
    address = page.locator(canvas).first.evaluate("(canvas) => canvas.toDataURL()")
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGBA"))[..., 0] / 255


def shows(page: Page, canvas: str, *images: np.ndarray) -> None:
    """Waits until a canvas shows these images beside each other, as nearly as its encoding tells."""
    gap = np.zeros((len(images[0]), 1))  # one pixel between two
    expected = np.hstack([part for image in images for part in (gap, image[..., 0])][1:])

    def same() -> bool:
        drawn = pixels(page, canvas)
        return drawn.shape == expected.shape and bool(np.abs(drawn - expected).mean() < 0.02)

    wait(same, page)


def change(page: Page, canvas: str, act: Callable[[], object]) -> None:
    """Does something that must change a canvas."""
    before = pixels(page, canvas)
    act()
    wait(lambda: not np.array_equal(pixels(page, canvas), before), page)


def arrays(reported: Path, run: str, name: str) -> dict[str, np.ndarray]:
    """An array file of the run whose folder's name has this in it."""
    (file,) = (reported / "outputs").glob(f"digits/*/*{run}*/arrays/{name}.npz")
    with np.load(file) as stored:
        return dict(stored)


def hover(page: Page, marker: str, place: int = 0) -> None:
    page.locator(marker).nth(place).scroll_into_view_if_needed()
    box = page.locator(marker).nth(place).bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=3)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_it_fits_is_drawn_and_is_accessible(open_page: Open, width: int, scheme: str) -> None:
    page = open_page(width=width, scheme=scheme)
    scroll_through(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("h1").is_visible()
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    page.locator("details").evaluate_all("(all) => all.forEach((one) => (one.open = true))")
    found = Axe().run(page, options=AXE).response["violations"]
    assert [(rule["id"], [node["html"][:120] for node in rule["nodes"]]) for rule in found] == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_command_or_name_that_is_longer_than_a_phone_is_wide_is_broken(open_page: Open) -> None:
    page = open_page(width=390)
    scroll_through(page)
    lengthen = "(all) => all.forEach((one) => one.append(' ' + 'evaluation=[atlas,latent_space]'.repeat(5)))"
    page.locator("main p, main li").evaluate_all(lengthen)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_keyboard_skips_the_navigation_and_reaches_all_controls(open_page: Open) -> None:
    page = open_page()
    scroll_through(page)
    page.keyboard.press("Tab")
    assert text(page, ":focus") == "Skip to the report"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    reached = set()
    last = "Columns"  # after it come the table and the details of each run
    for _ in range(150):
        page.keyboard.press("Tab")
        reached |= set(page.evaluate("[document.activeElement.tagName, ...document.activeElement.classList]"))
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
        if page.evaluate("document.activeElement.textContent") == last:
            break
    assert {"pointed", "run-toggle", "strip", "run-slider", "first", "second", "image-slider"} <= reached
    assert page.evaluate("document.activeElement.textContent") == last


def test_lambda_and_the_dimensions_decode_the_images_of_the_atlas(open_page: Open, reported: Path) -> None:
    page = open_page()
    scroll_through(page)
    atlas = {weight: arrays(reported, f"kl_weight={weight},", "atlas") for weight in (0, 1, 100)}
    slider = page.locator(".run-slider")
    slider.press("Home")
    assert text(page, ".follow output").endswith("λ = 0")
    shows(page, ".decoded", atlas[0]["slice"][7, 7])
    for weight in (1, 100):
        change(page, ".decoded", lambda: slider.press("ArrowRight"))
        assert text(page, ".follow output").endswith(f"λ = {weight}")
        shows(page, ".decoded", atlas[weight]["slice"][7, 7])
    (file,) = (reported / "outputs").glob("digits/fc_vae/*kl_weight=100,*/run.json")
    if "collapsed" in str(json.loads(file.read_text())["findings"]):  # as it does, but two epochs are few
        assert "the posterior has collapsed" in text(page, ".strips")
        assert "collapsed" in text(page, "[id$=-answer]")
    slider.press("Home")
    change(page, ".decoded", lambda: page.locator(".first").press("Home"))
    shows(page, ".decoded", atlas[0]["slice"][0, 7])
    change(page, ".decoded", lambda: page.locator(".second").press("End"))
    shows(page, ".decoded", atlas[0]["slice"][0, 14])
    box = page.locator(".slice").bounding_box()
    place = {"x": box["width"] * 2.5 / 15, "y": box["height"] * 12.5 / 15}
    change(page, ".decoded", lambda: page.locator(".slice").click(position=place))
    shows(page, ".decoded", atlas[0]["slice"][12, 2])
    value = float(text(page, "label:has(> .first) output").replace("−", "-"))
    assert value == pytest.approx(atlas[0]["slice_value"][0, 12], rel=5e-3)
    change(page, ".strips canvas", lambda: page.locator(".strips input").first.press("End"))
    shows(page, ".strips canvas", atlas[0]["strip"][0, -1])
    assert page.locator(".strips label").count() == len(atlas[0]["strip"])


def test_the_latent_map_shows_test_images_and_their_reconstructions(open_page: Open, reported: Path) -> None:
    page = open_page()
    scroll_through(page)
    page.locator(".run-slider").press("Home")
    atlas, codes = (arrays(reported, "kl_weight=0,", name) for name in ("atlas", "latent_space"))
    labels = dict(zip(codes["index"].tolist(), codes["label"].tolist(), strict=True))
    said = ".panel .slider output"

    def shows_image(place: int) -> None:
        index = int(atlas["index"][place])
        wait(lambda: text(page, said) == f"test image {index}, {labels[index]}", page)
        shows(page, ".map-pair", atlas["original"][place], atlas["reconstruction"][place])

    for key, place in (("End", len(atlas["index"]) - 1), ("ArrowLeft", len(atlas["index"]) - 2)):
        change(page, ".map-pair", lambda key=key: page.locator(".image-slider").press(key))
        shows_image(place)
    change(page, ".map-pair", lambda: hover(page, ".map .points path"))
    shows_image(int(page.locator(".image-slider").input_value()))

    def places() -> Any:
        return page.locator(".map").evaluate("(map) => map.data.map((trace) => trace.x[0])")

    before = places()
    page.get_by_role("radio", name="t-SNE").check()
    wait(lambda: page.locator(".map .xtitle").text_content() == "t-SNE 1", page)
    assert places() != before


def test_pictures_are_chosen_enlarged_and_moved_through(open_page: Open, reported: Path) -> None:
    page = open_page()
    tables, viewer = page.locator("[id$=-matrix] .matrix-box"), page.locator("#viewer")
    page.get_by_role("radio", name="Prior samples").check()
    assert [t.get_attribute("data-matrix") for t in tables.all() if t.is_visible()] == ["prior_samples"]
    page.get_by_role("radio", name="Reconstructions").check()
    strips = page.locator("[data-matrix=reconstructions] .strip")
    head = page.locator("[data-matrix=reconstructions] th")
    rows = [row.replace("\xa0", " ") for row in head.all_inner_texts()]
    stored = arrays(reported, "kl_weight=0,", "reconstructions")
    names = [f"test image {index}" for index in stored["index"][:12]]

    def enlarged(row: int, column: int) -> None:
        assert text(page, "#viewer-caption") == f"{rows[row]}: {names[column]}"

    box = strips.nth(1).bounding_box()
    strips.nth(1).click(position={"x": box["width"] * 2.5 / 12, "y": box["height"] / 2})
    enlarged(1, 2)
    shows(page, "#viewer canvas", stored["reconstruction"][2])
    change(page, "#viewer canvas", lambda: page.keyboard.press("ArrowRight"))
    enlarged(1, 3)
    change(page, "#viewer canvas", lambda: page.keyboard.press("ArrowUp"))
    enlarged(0, 3)
    shows(page, "#viewer canvas", stored["original"][3])
    page.keyboard.press("ArrowUp")  # there is no row above
    enlarged(0, 3)
    for key in ("ArrowDown", "ArrowLeft"):
        page.keyboard.press(key)
    enlarged(1, 2)
    page.keyboard.press("Escape")
    assert not viewer.is_visible()
    strips.nth(2).focus()
    page.keyboard.press("Enter")
    enlarged(2, 0)
    assert Axe().run(page, "#viewer", AXE).violations_count == 0


def rows_of(page: Page) -> list[list[str]]:
    """The whole values of the shown cells of the table of runs."""
    return page.locator("#runs").evaluate("""(table) => [...table.tBodies[0].rows].filter((row) => !row.hidden)
        .map((row) => [...row.cells].filter((cell) => !cell.hidden).map((cell) => cell.dataset.value))""")


def table_csv(reported: Path) -> list[dict[str, str]]:
    with (reported / "outputs/report/table.csv").open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def test_every_column_sorts_as_python_does(open_page: Open, reported: Path) -> None:
    page = open_page()
    expected = table_csv(reported)
    boxes = page.locator(".columns input")
    page.locator("summary", has_text="Columns").click()
    for box in boxes.all():
        box.check()
    assert rows_of(page) == [list(row.values()) for row in expected]
    clicked = """(heads) => heads.map((head, place) => ["ascending", "descending"].map((order) => {
        head.querySelector("button").click();
        const rows = [...document.querySelectorAll("#runs tbody tr")];
        return [head.ariaSort, rows.map((row) => row.cells[place].dataset.value)];
    }))"""
    orders = dict(zip(expected[0], page.locator("#runs th").evaluate_all(clicked), strict=True))
    for name, (up, down) in orders.items():
        there = [row[name] for row in expected if row[name]]
        numeric = all(re.fullmatch(r"-?[\d.]+(e-?\d+)?", value) for value in there)
        ordered = sorted(there, key=float if numeric else str)
        empty = [""] * (len(expected) - len(there))
        assert up == ["ascending", ordered + empty], name
        assert down == ["descending", ordered[::-1] + empty], name


def test_the_shown_part_of_the_table_is_copied(open_page: Open, reported: Path) -> None:
    page = open_page()
    columns = page.locator("#runs th:not([hidden])").all_inner_texts()
    assert "folder" not in columns
    page.locator("summary", has_text="Columns").click()
    page.locator(".columns label", has_text=re.compile(r"^\s*folder\s*$")).locator("input").check()
    columns = page.locator("#runs th:not([hidden])").all_inner_texts()
    page.locator("#filter").fill("KL_weight= done")
    expected = [row for row in table_csv(reported) if "kl_weight=" in row["folder"]]
    assert len(expected) == len(rows_of(page)) == 3
    page.locator("#copy-csv").click()
    wait(lambda: text(page, "#copied") == "4 lines copied", page)
    copied = list(csv.DictReader(io.StringIO(page.evaluate("navigator.clipboard.readText()"))))
    assert copied == [{name: row[name] for name in columns} for row in expected]
    page.locator("#copy-latex").click()
    wait(lambda: text(page, "#copied") == "9 lines copied", page)
    latex = page.evaluate("navigator.clipboard.readText()").splitlines()
    rows = [line for line in latex if line.endswith(r" \\")]
    assert len(rows) == 1 + len(expected)
    for row, line in zip(expected, rows[1:], strict=True):
        assert row["folder"].replace("_", r"\_") in line.removesuffix(r" \\").split(" & ")
    assert re.search(r"(?<!\\)_", "\n".join(latex)) is None


def test_learning_curves_change_their_axes_and_runs(open_page: Open) -> None:
    page = open_page()
    scroll_through(page)

    def state() -> list[Any]:
        script = """(all) => all.map((chart) => ({ x: chart.data.map((trace) => [...trace.x]),
            lines: [...chart.querySelectorAll(".js-line")].map((line) => line.getAttribute("d")) }))"""
        return page.locator(CURVES).evaluate_all(script)

    def titles() -> set[str]:
        return set(page.locator(CURVES).locator(".xtitle").all_text_contents())

    def drawn() -> list[int]:
        return [len(chart["lines"]) for chart in state()]

    whole = drawn()
    assert len(whole) == 6

    def ticks() -> set[str]:
        return set(page.locator(CURVES).locator(".xtick").all_text_contents())

    assert titles() == {"epoch"}
    assert ticks() == {"1", "2"}
    assert all(x == [1, 2] for chart in state() for x in chart["x"])
    page.get_by_role("radio", name="seconds of training").check()
    wait(lambda: titles() == {"seconds of training"}, page)
    assert all(0 < x[0] < x[1] for chart in state() for x in chart["x"])
    linear = state()
    page.get_by_role("radio", name="epochs").check()
    wait(lambda: ticks() == {"1", "2"}, page)
    page.get_by_role("radio", name="seconds of training").check()
    wait(lambda: [chart["x"] for chart in state()] == [chart["x"] for chart in linear], page)
    page.get_by_role("radio", name="logarithmic").check()
    wait(lambda: all(a["lines"] != b["lines"] for a, b in zip(state(), linear, strict=True)), page)
    page.locator(".run-toggle").first.uncheck()
    less = [n - m for n, m in zip(whole, (2, 2, 2, 2, 1, 1), strict=True)]  # MSE and PSNR: one split only
    wait(lambda: drawn() == less, page)
    page.locator(".run-toggle").first.check()
    wait(lambda: drawn() == whole, page)


def test_a_run_of_the_plane_shows_its_numbers_and_pictures(open_page: Open, reported: Path) -> None:
    page = open_page()
    scroll_through(page)
    runs = {row["label"]: row for row in table_csv(reported)}
    select = page.locator(".pointed")

    def numbers_are_of_the_chosen_run() -> None:
        chosen = select.evaluate("(select) => select.selectedOptions[0].textContent")
        columns = (page.locator(f".numbers {kind}").all_inner_texts() for kind in ("dt", "dd"))
        shown = dict(zip(*columns, strict=True))
        assert float(shown["PSNR (dB)"]) == pytest.approx(float(runs[chosen]["psnr"]), abs=5e-3)
        assert float(shown["SSIM"]) == pytest.approx(float(runs[chosen]["ssim"]), abs=5e-4)
        assert ("−ELBO (nats)" in shown) == bool(runs[chosen]["elbo"])

    for label in runs:
        if select.evaluate("(select) => select.selectedOptions[0].textContent") != label:
            change(page, ".probes", lambda label=label: select.select_option(label=label))
        numbers_are_of_the_chosen_run()
    markers = "[data-chart^=rate] .points path"
    assert page.locator(markers).count() == 3
    for place in range(3):
        change(page, ".probes", lambda place=place: hover(page, markers, place))
        numbers_are_of_the_chosen_run()


def luminance(page: Page, selector: str, name: str) -> float:
    colour = page.locator(selector).first.evaluate("(one, name) => getComputedStyle(one)[name]", name)
    return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) / 765


def test_the_theme_is_the_systems_until_it_is_switched(open_page: Open) -> None:
    page = open_page(scheme="dark")
    scroll_through(page)
    for theme in ("dark", "light", "dark"):
        assert page.evaluate("document.documentElement.dataset.theme") == theme
        is_dark = theme == "dark"
        assert (luminance(page, "body", "backgroundColor") < 0.5) is is_dark
        for chart in (CURVES, ".map"):
            wait(lambda c=chart, d=is_dark: (luminance(page, f"{c} .xtitle", "fill") > 0.5) is d, page)
        page.locator("#theme").click()


def test_paper_from_the_dark_theme_is_white_complete_and_without_controls(open_page: Open) -> None:
    page = open_page(scheme="dark")
    labels = [label.strip() for label in page.locator("label:has(.run-toggle)").all_text_contents()]
    assert len(page.pdf()) > 50_000
    page.emulate_media(media="print")  # which does not send the event that printing sends
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    wait(lambda: page.locator(f"{CURVES} .xtitle").count() == 6, page)
    page.wait_for_timeout(300)
    assert luminance(page, "body", "backgroundColor") == 1
    assert all(table.is_visible() for table in page.locator(".matrix-box").all())
    printed = text(page, "section[id$=-curves]")
    controls = page.locator("nav, #theme, input, .controls fieldset:not(.legend)").all()
    pictures = (".probes", ".decoded", ".slice", ".map-pair")
    charts = (CURVES, "[data-chart^=rate]", "[data-chart=kl-heat-map]")
    faults = {
        "controls": [c.get_attribute("class") for c in controls if c.is_visible()],
        "empty": [c for c in pictures if page.locator(c).is_visible() and not pixels(page, c).any()],
        "unnamed lines": [label for label in labels if label not in printed],
        "pale letters": [c for c in charts if luminance(page, f"{c} .ytitle", "fill") > 0.5],
    }
    assert faults == {name: [] for name in faults}


def test_gans_stand_beside_the_others(open_page: Open, reported: Path, tmp_path: Path, vae: Command) -> None:
    shutil.copytree(reported / "outputs", tmp_path / "outputs", ignore=shutil.ignore_patterns("report"))
    small = ("model.generator_maps=4", "model.discriminator_maps=4", "snapshot_epochs=[1]", *QUICK[1:])
    evaluations = "evaluation=[samples,z_interpolations,sharpness,nearest_neighbours]"
    for name, *settings in (("train", "model=dcgan", *small, evaluations), ("report",)):
        done = vae(name, *settings, "dpi=40", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    page = open_page(tmp_path)
    labels = page.locator("[id$=side-by-side] .compared tbody th").all_inner_texts()
    assert len(labels) == 5
    gallery = page.locator("[id$=-galleries] details").filter(has_text="dcgan")
    gallery.locator("summary").click()
    gallery.get_by_role("radio", name="Nearest training images").check()
    shown = [
        box.get_attribute("data-matrix") for box in page.locator(".matrix-box").all() if box.is_visible()
    ]
    assert [name for name in shown if name != "side-by-side"] == ["reconstructions", "nearest_neighbours"]
    gallery.locator("[data-matrix=nearest_neighbours] .strip").nth(1).press("Enter")
    assert "distance" in text(page, "#viewer-caption")
    page.keyboard.press("ArrowUp")
    shows(page, "#viewer canvas", arrays(tmp_path, "maps=4", "nearest_neighbours")["image"][0])
    page.keyboard.press("Escape")
    assert Axe().run(page, options=AXE).violations_count == 0


def test_texts_of_runs_stay_texts(open_page: Open, reported: Path, tmp_path: Path, vae: Command) -> None:
    shutil.copytree(reported / "outputs", tmp_path / "outputs", ignore=shutil.ignore_patterns("report"))
    for file in list((tmp_path / "outputs").rglob("run.json")):
        info = json.loads(file.read_text())
        info["dataset"] |= {"name": HOSTILE, "source": HOSTILE, "classes": [HOSTILE] * 10}
        info |= {"reason": HOSTILE, "command": [HOSTILE], "findings": {HOSTILE: [HOSTILE]}, "device": "=1+1"}
        del info["checksums"]
        file.write_text(json.dumps(info))
        # A folder's name has no slash.
        file.parent.rename(file.parent.with_name(f"<img src=x onerror=window.bad=1>{file.parent.name}"))
    done = vae("report", "dpi=50", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page = open_page(tmp_path)
    scroll_through(page)
    page.locator(".run-slider").press("Home")
    hover(page, "[data-chart^=rate] .points path")
    hover(page, ".map .points path")
    page.locator(".column").evaluate_all("(boxes) => boxes.forEach((box) => box.checked || box.click())")
    assert HOSTILE in text(page, "main h2")
    assert HOSTILE in text(page, ".panel .slider output")
    assert HOSTILE in page.locator(".map .legendtext").first.text_content()
    assert HOSTILE in text(page, "#runs tbody")
    assert "fc_vae/<img src=x onerror=window.bad=1>" in text(page, "#runs tbody")
    page.locator("details").evaluate_all("(all) => all.forEach((one) => (one.open = true))")
    assert text(page, "#made").count(HOSTILE) >= 3 * 4
    assert page.locator("img[src=x]").count() == 0
    page.locator("#copy-csv").click()
    wait(lambda: text(page, "#copied").endswith("lines copied"), page)
    copied = list(csv.DictReader(io.StringIO(page.evaluate("navigator.clipboard.readText()"))))
    assert {row["device"] for row in copied} == {"'=1+1"}
    assert all(float(row["elbo"]) < 0 for row in copied if row["elbo"])
    page.wait_for_timeout(200)
    assert page.evaluate("window.bad") is None


def test_moving_pictures_move_stop_and_are_still_where_motion_is_not_wanted(
    open_page: Open, reported: Path
) -> None:
    page = open_page()
    run = page.locator("details.run", has=page.locator(".moving")).first
    image, button = run.locator(".moving img").first, run.locator(".moving button").first
    still = image.get_attribute("src")
    assert still.startswith("data:image/webp")
    run.locator("summary").first.click()
    wait(lambda: image.get_attribute("src") != still, page)
    kept = {path.read_bytes() for path in (reported / "outputs/digits").rglob("*.gif")}
    assert base64.b64decode(image.get_attribute("src").partition("base64,")[2]) in kept
    button.click()
    assert (image.get_attribute("src"), button.inner_text()) == (still, "Play")
    calm = open_page()
    calm.emulate_media(reduced_motion="reduce")
    run = calm.locator("details.run", has=calm.locator(".moving")).first
    run.locator("summary").first.click()
    wait(lambda: run.locator(".moving img").first.is_visible(), calm)
    assert run.locator(".moving img").first.get_attribute("src") == still
    run.locator(".moving button").first.click()
    assert run.locator(".moving img").first.get_attribute("src") != still
    listed = (reported / "outputs/report/report.md").read_text(encoding="utf-8")
    targets = re.findall(r"\]\((\S+\.gif)\)", listed)
    assert len(targets) == len(kept) > 0
    assert {(reported / "outputs/report" / unquote(target)).read_bytes() for target in targets} == kept
