"""vae-explore: whom it serves, what it refuses, and its page in a real browser, which shows what the networks say."""

import base64
import http.client
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page

import vaelab
from vaelab import UsageError, explore

from .conftest import AXE, CHROMIUM, QUICK, Command, Process, command
from .test_report_page import text, wait

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def explored(vae: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a sweep of three λ and a conditional model were trained."""
    cwd = tmp_path_factory.mktemp("explored")
    small = ("evaluation=[test_metrics,kl_per_dimension]", "evaluation.test_metrics.verify=false", "dpi=40")
    for name, *settings in (
        ("sweep", "kl_weight=0,1,100", *QUICK, *small),
        (
            "train",
            "model=conditional_vae",
            "model.channels=8",
            "model.hidden=16",
            *QUICK[2:],
            "epochs=1",
            *small,
        ),
    ):
        done = vae(name, *settings, cwd=cwd)
        assert done.returncode == 0, done.stderr
    return cwd


def serving(cwd: Path, data_dir: Path, *settings: str) -> tuple[Process, str]:
    """A page that is served, and its address."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command("explore", *settings, data_dir=data_dir), cwd=cwd, text=True, env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heeding,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("open "):
            return process, line.split()[1]
    raise AssertionError(process.communicate()[1])


def heeding() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="module")
def address(explored: Path, data_dir: Path) -> Iterator[str]:
    process, found = serving(explored, data_dir)
    for line in (0, 1):  # which loads its networks; the first embedding of a process takes seconds
        asked(found, "line", line=line)
    yield found
    process.kill()
    process.communicate()


def request(
    address: str, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, bytes, Any]:
    host = address.removeprefix("http://").partition("/")[0]
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, content, response.headers


def asked(address: str, question: str, **values: Any) -> Any:
    status, content, _ = request(address, "POST", f"/{question}", json.dumps({"line": 0} | values).encode())
    assert status == 200, content
    return json.loads(content)


def refused(address: str, path: str, body: bytes, **headers: str) -> str:
    status, content, _ = request(address, "POST", path, body, **headers)
    assert status in (400, 403)
    return str(json.loads(content)["error"])


def test_it_answers_on_this_machine_alone(address: str, explored: Path) -> None:
    assert address.startswith("http://127.0.0.1:")
    status, content, headers = request(address, "GET", "/")
    assert status == 200
    assert b"https://" not in content
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    line = asked(address, "line")
    assert line["weights"] == [0, 1, 100]
    assert line["shape"] == [1, 32, 32]
    units = asked(address, "units", weight=1)
    stored = np.load(next(explored.glob("outputs/digits/fc_vae/*kl_weight=1,*/arrays/kl_per_dimension.npz")))
    assert [unit["dim"] for unit in units["units"]][: units["active"]] == [
        dim for dim in np.argsort(-stored["kl"], kind="stable") if stored["active"][dim]
    ]
    recipe = {"source": {"kind": "data", "place": 3}, "label": None}
    every = asked(address, "every", weight=1, recipe=recipe)["pictures"]
    assert [found["kl_weight"] for found in every] == [0, 1, 100]
    assert every[0]["bits"] > every[1]["bits"] > every[2]["bits"] > 0
    # A page of another host's, whose name leads here, is told nothing.
    assert request(address, "GET", "/", Host="evil.example")[0] == 400
    body = b"\x89PNG"
    assert "another page" in refused(address, "/take?name=a.png", body, Origin="http://evil.example")
    assert "cannot be read" in refused(address, "/take?name=a.png", body, Origin=address.rstrip("/"))
    assert request(address, "GET", "/run.json")[0] == 404
    assert request(address, "GET", "/../cli.py")[0] == 404


def test_what_cannot_be_answered_is_said_in_a_line(address: str) -> None:
    prior = {"source": {"kind": "prior", "seed": 1}}
    for question, values, reason in (
        ("show", {"line": 9, "recipe": prior}, "the page is of other runs: load it again"),
        ("show", {"line": 0, "weight": 7, "recipe": prior}, "no run of this page has λ = 7.0"),
        ("show", {"line": 0, "weight": 1, "recipe": {}}, "the page has asked for no code"),
        ("show", {"line": "x"}, "the page has asked for nothing that there is"),
        ("datum", {"line": 0, "place": 10_000}, "there is no test image 10000"),
        (
            "plane",
            {"line": 0, "weight": 1, "recipe": prior, "axes": [0, 10**6], "row": 0},
            "unit 1000000 is none of a code",
        ),
        ("show", {"line": 1e400, "recipe": prior}, "the page has asked for nothing that there is"),
        ("way", {"line": 0, "weight": 1, "recipe": prior}, "keep two pictures first, A and B"),
        (
            "save",
            {"line": 0, "weight": 1, "recipe": prior, "what": "x", "kind": "png"},
            "x is nothing that is saved",
        ),
    ):
        assert reason in refused(address, f"/{question}", json.dumps(values).encode())
    assert "the page has asked" in refused(address, "/show", b"not json")
    assert "the page has asked" in refused(address, "/show", b"[" + b" " * (1 << 20) + b"]")
    assert "notes.txt cannot be read: not an image" in refused(address, "/take?name=notes.txt", b"hello")
    assert "big.png has more than the 34 MB" in refused(address, "/take?name=big.png", bytes((1 << 25) + 1))


def test_a_shared_page_is_shared_by_its_whole_address_and_ends_with_ctrl_c(
    explored: Path, data_dir: Path
) -> None:
    process, address = serving(
        explored, data_dir, "host=0.0.0.0", "runs=outputs/digits/fc_vae/*kl_weight=1,*"
    )
    try:
        port = int(address.partition("/?")[0].rpartition(":")[2])
        token = address.partition("?token=")[2]
        assert len(token) > 20
        here = f"http://127.0.0.1:{port}"
        for path, headers, status in (
            ("/", {}, 403),
            ("/?token=wrong", {}, 403),
            (f"/?token={token}", {}, 200),
            ("/page.js", {}, 200),
        ):
            assert request(here, "GET", path, **headers)[0] == status
        assert "its whole address" in refused(here, "/state", b"{}")
        assert "its whole address" in refused(here, "/take", b"x", X_Token="wrong")
        assert request(here, "POST", "/state", b"{}", X_Token=token)[0] == 200
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        assert errors.strip() == "vae-explore: Ctrl-C"
    finally:
        process.kill()
        process.communicate()


def test_what_cannot_be_served_is_refused_in_one_line(
    explored: Path, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder,) = explored.glob("outputs/digits/fc_vae/*kl_weight=1,*")
    begun = tmp_path / "begun"
    shutil.copytree(folder, begun)
    info = json.loads((begun / "run.json").read_text())
    del info["checksums"]
    (begun / "run.json").write_text(json.dumps(info | {"status": "interrupted"}))

    def refusal(pattern: object = folder, host: str = "127.0.0.1", port: int | None = None) -> str:
        with pytest.raises(UsageError) as refused:
            explore.start(str(pattern), explored / "outputs", str(data_dir), [], "cpu", host, port)
        assert "\n" not in str(refused.value)
        return str(refused.value)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"port={port} of 127.0.0.1 is not free" in refusal(port=port)
    assert "host=192.0.2.1 is no address of this machine" in refusal(host="192.0.2.1")
    assert "host=no.such.name.invalid is no address" in refusal(host="no.such.name.invalid")
    assert "there are no run folders in nothing/**" in refusal("nothing/**")
    assert "begun is not done (interrupted)" in refusal(begun)
    (begun / "model.safetensors").unlink()
    (begun / "run.json").write_text(json.dumps(info))
    assert "has no model.safetensors" in refusal(begun)
    monkeypatch.setattr(explore, "NEEDED", ("no_such_package",))
    assert refusal() == "vae-explore needs no_such_package: pip install 'vaelab[explore]'"


def test_what_is_no_run_ends_the_command_with_a_line(vae: Command, tmp_path: Path) -> None:
    done = vae("explore", "runs=nothing", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("vae-explore: there are no run folders in nothing")
    assert done.stderr.count("\n") == 1


@pytest.fixture
def open_page(browser: Browser, address: str) -> Iterator[Open]:
    """open_page(width=390): the page in a new window; at the end nothing went wrong, and no other host was asked."""
    contexts = []
    wrong: dict[str, list[str]] = {"console": [], "errors": [], "other hosts": []}

    def opened(width: int = 1440, scheme: str = "light") -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        own = (address, "data:", f"blob:{address}")
        page.on(
            "request", lambda request: request.url.startswith(own) or wrong["other hosts"].append(request.url)
        )
        page.on("pageerror", lambda error: wrong["errors"].append(str(error)))
        page.on("console", lambda m: m.type in ("error", "warning") and wrong["console"].append(m.text))
        page.goto(address)
        wait(lambda: page.locator("body[data-ready]").count() == 1, page)
        settled(page)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == {"console": [], "errors": [], "other hosts": []}


def settled(page: Page) -> None:
    """Waits until the page has asked nothing more for longer than it waits before the plane is painted again."""
    calm = 0

    def is_calm() -> bool:
        nonlocal calm
        calm = calm + 1 if page.locator("#main").get_attribute("data-asking") == "0" else 0
        return calm > 12

    wait(is_calm, page)


def pixels(page: Page, selector: str) -> np.ndarray:
    """What an image shows, in gray, from 0 to 1."""
    source = page.locator(selector).first.get_attribute("src") or ""
    with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as image:
        return np.asarray(image.convert("L")) / 255


def shows(page: Page, selector: str, image: np.ndarray) -> None:
    wait(lambda: np.abs(pixels(page, selector) - image).max() < 2 / 255, page)


def run_of(explored: Path, weight: float) -> Any:
    (folder,) = explored.glob(f"outputs/digits/fc_vae/*kl_weight={weight:g},*")
    return vaelab.open_run(folder)


def choose_sweep(page: Page) -> None:
    page.locator("#model").select_option(label="digits · fc_vae")
    wait(lambda: page.locator("#weights").is_visible() and not page.locator("#classes").is_visible(), page)
    settled(page)


def picture_file(folder: Path) -> Path:
    """A picture that is wider than high, on its side by its EXIF."""
    rows, columns = np.mgrid[:90, :160]
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray((rows + columns).clip(0, 255).astype(np.uint8)).save(folder / "own.png", exif=exif)
    return folder / "own.png"


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_it_fits_and_is_accessible(open_page: Open, width: int, scheme: str) -> None:
    page = open_page(width=width, scheme=scheme)
    choose_sweep(page)
    for button in ("#keep-a", "#data", "#keep-b", "#edits button", "#find"):
        page.locator(button).click()
        settled(page)
    wait(lambda: page.locator("#way li").count() == 9 and page.locator("#neighbours li").count() == 5, page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("document.documentElement.dataset.theme") == scheme
    assert page.locator("#problem").is_hidden()
    found = Axe().run(page, options=AXE).response["violations"]
    assert [(rule["id"], [node["html"][:120] for node in rule["nodes"]]) for rule in found] == []


@needs_chromium
def test_a_dropped_picture_is_reconstructed_at_every_weight(
    open_page: Open, explored: Path, tmp_path: Path
) -> None:
    page = open_page()
    choose_sweep(page)
    page.locator("#file").set_input_files(picture_file(tmp_path))
    wait(lambda: "own.png" in text(page, "#said"), page)
    wait(lambda: page.locator("#every-strip span").count() == 6, page)
    with Image.open(tmp_path / "own.png") as stored:
        upright = stored.rotate(-90, expand=True)  # orientation 6
    side = upright.width
    middle = upright.crop((0, (upright.height - side) // 2, side, (upright.height + side) // 2))
    as_data = np.asarray(middle.resize((32, 32), Image.Resampling.BICUBIC)) / 255
    wait(lambda: np.abs(pixels(page, "#every-strip img") - as_data).mean() < 0.01, page)
    import torch

    planes = torch.from_numpy(pixels(page, "#every-strip img")).float()[None, None]
    for place, weight in enumerate((0, 1, 100), 1):
        network = run_of(explored, weight).model()
        with torch.inference_mode():
            code = network.encode(planes)
            image = network.decode(code.mean)
        shows(page, f"#every-strip li:nth-child({place + 1}) img", image[0, 0].numpy())
        psnr, bits = page.locator(f"#every-strip li:nth-child({place + 1}) span").all_inner_texts()
        assert float(psnr.split()[0].replace("−", "-")) == pytest.approx(
            float(-10 * (image - planes).square().mean().log10()), abs=0.06
        )
        assert float(bits.split()[0]) == pytest.approx(float(code.kl().sum()) / np.log(2), abs=0.06)


@needs_chromium
def test_sliders_the_plane_and_edits_move_the_code(open_page: Open, explored: Path) -> None:
    import torch

    page = open_page()
    choose_sweep(page)
    page.locator("#random").click()
    settled(page)
    network = run_of(explored, 1).model()
    dims = [
        int(dim)
        for dim in page.locator("#units input").evaluate_all("(all) => all.map((one) => one.dataset.dim)")
    ]

    def values() -> np.ndarray:
        shown = [
            float(value.replace("−", "-")) for value in page.locator("#units output").all_text_contents()
        ]
        return np.array(shown)[np.argsort(dims)]

    def decoded(z: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return network.decode(torch.from_numpy(z).float()[None])[0, 0].numpy()

    seed = int(text(page, "#said").rpartition("seed ")[2].rstrip("."))
    z = network.draw(1, torch.Generator().manual_seed(seed))[0].numpy()
    np.testing.assert_allclose(values(), z, atol=0.006)
    shows(page, "#picture", decoded(z))

    slider = page.locator("#units input").first
    slider.press("End")
    settled(page)
    z[dims[0]] = float(slider.get_attribute("max"))
    shows(page, "#picture", decoded(z))

    page.locator("#edit-dim").fill(str(dims[1]))
    page.locator("#edit-kind").select_option("scale")
    page.locator("#edit-value").fill("-2")
    page.locator("#edits button").click()
    settled(page)
    z[dims[1]] *= -2
    shows(page, "#picture", decoded(z))
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("button", name="Reset the code").click()
    settled(page)

    pad = page.locator("#pad")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 2, steps=5)
    page.mouse.up()
    settled(page)
    for place in (0, 1):  # the corner at the upper right
        top = float(page.locator("#units input").nth(place).get_attribute("max"))
        assert values()[dims[place]] == pytest.approx(top, abs=0.006)
    before = values()
    pad.focus()
    page.keyboard.press("ArrowLeft")
    settled(page)
    wait(lambda: values()[dims[0]] < before[dims[0]], page)


@needs_chromium
def test_the_keyboard_reaches_all_controls_and_moves_the_weight(open_page: Open) -> None:
    page = open_page()
    choose_sweep(page)
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Tab")
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id"))
        if reached[-1] == "find":
            break
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    assert {
        "random",
        "data",
        "file",
        "model",
        "weight",
        "pad",
        "reset",
        "keep-a",
        "keep-b",
        "edit-dim",
        "find",
    } <= {*reached}
    page.locator("#weight").focus()
    page.keyboard.press("End")
    wait(lambda: text(page, "#lambda") == "λ = 100", page)
    assert page.locator("#weight").get_attribute("aria-valuetext") == "λ = 100"
    wait(lambda: "λ = 100" in text(page, "#every-strip .now"), page)


@needs_chromium
def test_a_conditional_model_is_told_the_class_that_is_chosen(open_page: Open) -> None:
    page = open_page()
    page.locator("#model").select_option(label="digits · conditional_vae")
    wait(lambda: page.locator("#classes").is_visible(), page)
    settled(page)
    pictures = []
    for label in ("3", "8"):
        page.locator("#class").select_option(label=label)
        settled(page)
        pictures.append(pixels(page, "#picture"))
    assert not np.array_equal(*pictures)


@needs_chromium
def test_everything_can_be_saved(open_page: Open) -> None:
    page = open_page()
    choose_sweep(page)
    for button in ("#keep-a", "#data", "#keep-b"):
        page.locator(button).click()
        settled(page)
    counts = {}
    for button in page.locator(".saves button").all():
        page.wait_for_timeout(150)  # Chromium drops what a page downloads beyond ten files in a second
        with page.expect_download() as download:
            button.click()
        file = Path(download.value.path())
        name = download.value.suggested_filename
        if name.endswith("npz"):
            with zipfile.ZipFile(file) as packed:
                counts[name] = sorted(packed.namelist())
        else:
            with Image.open(file) as picture:
                assert picture.format == name.rpartition(".")[2].upper()
                counts[name] = [picture.n_frames]
    assert counts["picture.npz"] == ["image.npy", "kl.npy", "kl_weight.npy", "z.npy"]
    assert counts["every_weight.npz"] == ["bits.npy", "image.npy", "kl_weight.npy", "psnr.npy"]
    assert counts["way.gif"] == [46]
    assert len(counts) == 12
