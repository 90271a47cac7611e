"""The written report: page, document and table agree with the runs, stay small, and cannot be broken by them."""

import base64
import csv
import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from PIL import Image

from vaelab import report
from vaelab.losses.base import LOSS
from vaelab.report import charts, dimensions, page, parts, pictures, plane
from vaelab.report.album import album
from vaelab.report.reading import collect

from .conftest import Make, history, measured

HOSTILE = "<script>window.bad=1</script>"


class Elements(HTMLParser):
    """The elements of a page with their attributes, and all text outside of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._raw = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._raw = tag in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._raw = False

    def handle_data(self, data: str) -> None:
        self.text += "" if self._raw else data


def written(folder: Path, where: Path | None = None) -> report.Report:
    return report.write(str(folder), where or folder / "report", ["vae-report"], 60)


def data_of(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text)
    assert found
    return dict(json.loads(found[1], parse_constant=pytest.fail))


def decoded(uri: str) -> np.ndarray:
    head, _, code = uri.partition(",")
    assert head == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(code))).convert("L")) / 255


def test_the_report_is_three_files_and_figures(sweep: Path) -> None:
    done = written(sweep)
    folder = sweep / "report"
    assert {p.name for p in folder.iterdir()} == {"index.html", "report.md", "table.csv", "figures"}
    assert done.problems == []
    assert done.summary.startswith("4 runs on digits: a page of ")
    links = re.findall(r"!\[[^]]*]\(([^)]*)\)", (folder / "report.md").read_text())
    assert {folder / link for link in links} == set((folder / "figures").iterdir())
    assert len(links) == 6
    for link in links:
        with Image.open(folder / link) as picture:
            assert picture.size[0] > 200


def test_the_page_asks_for_nothing(sweep: Path) -> None:
    written(sweep)
    elements = Elements((sweep / "report" / "index.html").read_text()).found
    policies = [a["content"] for tag, a in elements if tag == "meta" and "http-equiv" in a]
    assert policies == [
        "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
    ]
    for _, attributes in elements:
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/webp;base64,"))


def test_the_table_has_every_number(sweep: Path) -> None:
    written(sweep)
    with (sweep / "report" / "table.csv").open(newline="") as lines:
        rows = {row["folder"]: row for row in csv.DictReader(lines)}
    assert len(rows) == 4
    for folder, row in rows.items():
        metrics = json.loads((sweep / folder / "evaluation" / "metrics.json").read_text())
        assert {name: float(row[name]) for name in metrics} == metrics
        assert (row["images_test"], row["seconds"], row["status"]) == ("1234", "12.5", "done")
    assert rows["ae/default"]["kl_weight"] == ""
    assert rows["vae/hundred"]["kl_weight"] == "100.0"


def test_sentences_stand_in_the_page_and_in_the_document(sweep: Path) -> None:
    written(sweep)
    sentence = "λ = 100: 0 of 4 units active (KL 0.001 nats): the posterior has collapsed."
    text = Elements((sweep / "report" / "index.html").read_text()).text
    assert sentence in text.replace("\xa0", " ")
    assert sentence in (sweep / "report" / "report.md").read_text()


def test_pictures_are_those_of_the_runs(sweep: Path) -> None:
    written(sweep)
    data = data_of((sweep / "report" / "index.html").read_text())["part-0"]
    run = next(r for r in data["explorer"]["runs"] if r["run"] == "vae/one")
    assert (run["slice"]["rows"], run["slice"]["columns"], run["slice"]["cell"]) == (5, 5, [8, 8])
    assert decoded(run["slice"]["uri"]).mean() == pytest.approx(0.25, abs=0.02)
    shown = decoded(data["explorer"]["originals"][run["originals"]]["uri"])
    values = [shown[4, 8 * i + 4] for i in range(16)]
    np.testing.assert_allclose(values, np.linspace(0, 1, 16), atol=0.06)
    assert run["maps"]["PCA"]["at"] == list(range(16))
    with np.load(sweep / "vae" / "one" / "arrays" / "latent_space.npz") as stored:
        np.testing.assert_allclose(run["maps"]["PCA"]["x"], stored["embedding"][:, 0], rtol=1e-3)


def test_rows_of_other_images_are_not_put_in_one_matrix(sweep: Path) -> None:
    file = sweep / "vae" / "one" / "arrays" / "reconstructions.npz"
    with np.load(file) as stored:
        changed = dict(stored) | {"index": stored["index"] + 1}
    np.savez(file, **changed)
    written(sweep)
    text = Elements((sweep / "report" / "index.html").read_text()).text.replace("\xa0", " ")
    assert "Not here, for they have none yet, or show other images: conv_vae · λ = 1." in text


def test_runs_of_every_state_and_damage_do_not_stop_the_report(sweep: Path, run: Make) -> None:
    for status in ("running", "interrupted", "failed"):
        run(f"vae/{status}", 5.0, status=status, seed=status, info={"reason": f"why {status}"})
    (sweep / "vae" / "hundred" / "run.json").write_text("{")
    (sweep / "vae" / "one" / "arrays" / "atlas.npz").write_bytes(b"no zip")
    done = written(sweep)
    assert [name for name, _ in done.problems] == ["vae/hundred", "vae/one"]
    text = Elements((sweep / "report" / "index.html").read_text()).text.replace("\xa0", " ")
    assert "vae/hundred is left out" in text
    assert "arrays/atlas.npz is damaged" in text
    for status, words in (
        ("running", "running or killed, 2 of 2 epochs"),
        ("failed", "failed after 2 of 2 epochs"),
    ):
        assert f"seed {status}: {words}: why {status}." in text
    assert "running or killed" in (sweep / "report" / "report.md").read_text()


def test_a_run_with_nothing_but_its_beginning(run: Make, tmp_path: Path) -> None:
    folder = run("one", 1.0, status="running")
    (folder / "metrics.csv").unlink()
    done = written(tmp_path / "outputs")
    assert "It has no numbers yet." in Elements(done.page.read_text()).text


def test_texts_of_runs_are_only_text(run: Make, tmp_path: Path) -> None:
    hostile = f"{HOSTILE}</script>|`*_[x](y)${{a}}%{{x}}"
    run(
        f"{HOSTILE.replace('/', '')}",
        1.0,
        metrics=measured(-120.0, 30.0, 22.0, 0.96, 3),
        dataset={"name": hostile, "classes": [hostile, "one"]},
        info={"reason": hostile, "command": ["vae-train", hostile], "git_sha": hostile},
        latent_dim=hostile,
        reported=[{"metric": "loss", "value": 1, "source": hostile}],
    )
    run("other", 5.0, latent_dim=hostile + "2", dataset={"name": hostile}, loss__likelihood=hostile)
    done = written(tmp_path / "outputs")
    text = done.page.read_text()
    elements = Elements(text)
    assert len([tag for tag, _ in elements.found if tag == "script"]) == 3
    assert HOSTILE in elements.text
    assert HOSTILE not in text
    data_of(text)
    assert HOSTILE not in (done.page.parent / "report.md").read_text()
    assert all(p.suffix == ".png" for p in (done.page.parent / "figures").iterdir())


def test_figures_of_an_earlier_report_are_cleared_away_and_nothing_else(sweep: Path) -> None:
    figures = sweep / "report" / "figures"
    figures.mkdir(parents=True)
    for name in ("9-other-learning-curves.png", "2026-mine.png", "mine.png"):
        (figures / name).touch()
    earlier = "![curves](figures/9-other-learning-curves.png)\n![gone](figures/8-other-game.png)\n"
    (sweep / "report" / "report.md").write_text(earlier)
    written(sweep)
    names = {path.name for path in figures.iterdir()}
    assert {"mine.png", "2026-mine.png", "1-digits-learning-curves.png"} <= names
    assert "9-other-learning-curves.png" not in names


def test_many_runs_stay_under_the_limit(run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    for seed in range(12):
        folder = run(f"run-{seed}", 1.0, seed=seed, metrics=measured(-120.0, 30.0, 22.0, 0.96, 3))
        file = folder / "arrays" / "atlas.npz"
        with np.load(file) as stored:
            grainy = dict(stored)
        grainy |= {"slice": rng.random((15, 15, 28, 28, 3), np.float32), "slice_value": np.zeros((2, 15))}
        for name, axes in (("strip", (2, 3)), ("original", (16,)), ("reconstruction", (16,))):
            grainy[name] = rng.random((*axes, 28, 28, 3), np.float32)
        np.savez(file, **grainy)
    whole = written(tmp_path / "outputs").page.stat().st_size
    limit = whole - 2_000_000
    monkeypatch.setattr(page, "LARGEST", limit)
    done = written(tmp_path / "outputs")
    assert done.page.stat().st_size <= limit
    assert "of their size" in Elements(done.page.read_text()).text


@pytest.mark.parametrize(
    ("name", "key", "change"),
    [
        ("atlas", "slice_value", lambda a: a[:, :2]),
        ("atlas", "reconstruction", lambda a: a[:3]),
        ("atlas", "strip", lambda a: a[..., None]),
        ("prior_samples", "image", lambda a: a.astype(str)),
        ("interpolations", "index", lambda a: a[0]),
        ("kl_per_dimension", "kl", lambda a: np.array(3.0)),
        ("latent_space_tsne", "index", lambda a: a + 0.5),
        ("reconstructions", "reconstruction", lambda a: np.concatenate([a] * 2, -1)),
    ],
)
def test_arrays_of_another_shape_are_damage(
    name: str, key: str, change: Callable[[np.ndarray], np.ndarray], sweep: Path
) -> None:
    file = sweep / "vae" / "one" / "arrays" / f"{name}.npz"
    with np.load(file) as stored:
        changed = dict(stored) | {key: change(stored[key])}
    np.savez(file, **changed)
    done = written(sweep)
    ((run, problem),) = done.problems
    assert (run, problem.split(":")[0]) == ("vae/one", f"arrays/{name}.npz is damaged")


def test_what_is_no_number_becomes_nothing_and_the_page_can_be_read(sweep: Path) -> None:
    odd = (
        ("latent_space", "embedding"),
        ("atlas", "slice_value"),
        ("kl_per_dimension", "aggregate_variance"),
    )
    for name, key in odd:
        file = sweep / "vae" / "one" / "arrays" / f"{name}.npz"
        with np.load(file) as stored:
            changed = dict(stored) | {key: np.full_like(stored[key], np.nan)}
        np.savez(file, **changed)
    (sweep / "vae" / "one" / "evaluation" / "metrics.json").write_text(
        '{"elbo": NaN, "psnr": 1e400, "ssim": 0.5}'
    )
    data = data_of(written(sweep).page.read_text())["part-0"]
    run = next(r for r in data["explorer"]["runs"] if r["run"] == "vae/one")
    assert run["maps"]["PCA"]["x"] == [None] * 16
    assert data["runs"]["vae/one"]["metrics"] == {"SSIM": "0.500"}


def test_charts_are_figures_that_plotly_accepts(sweep: Path, run: Make) -> None:
    for seed in (1, 2):
        run(f"vae/one-{seed}", 1.0, seed=seed, metrics=measured(-120.0 - seed, 30.0 + seed, 22.0, 0.96, 3))
    found = collect(str(sweep), sweep / "report")
    figures = parts.part("part-0", found, found.sections[0], album(found.sections[0], 1.0)).charts
    assert set(figures) == {
        *(
            "rate-distortion-0",
            "curve-elbo",
            "curve-reconstruction",
            "curve-kl",
            "curve-psnr",
            "curve-loss",
        ),
        *("kl-heat-map", "active-units", "aggregate-posterior"),
    }
    for name, figure in figures.items():
        checked = go.Figure(figure.as_json())  # raises for what Plotly does not know
        assert len(checked.data) > 0, name


def test_the_plane_has_each_run_where_it_was_measured(sweep: Path, run: Make) -> None:
    for seed in (1, 2):
        run(f"vae/one-{seed}", 1.0, seed=seed, metrics=measured(-120.0 - 3 * seed, 30.0, 22.0, 0.96, 3))
    (section,) = collect(str(sweep), sweep / "report").sections
    figure = plane.rate_distortion(section, ("bernoulli",))
    assert figure
    at = {trace["meta"]: (trace["x"], trace["y"]) for trace in figure.traces if "meta" in trace}
    assert at["vae/zero"] == ([300.0], [100.0])
    assert at["ae/default"][1] == [85.0, 85.0]
    (line,) = [trace for trace in figure.traces if "error_y" in trace]
    assert line["x"] == [300.0, 30.0, 0.001]
    assert line["y"] == pytest.approx([100.0, 93.0, 329.999])
    assert line["error_y"]["array"] == pytest.approx([0, 3.0, 0])
    iso = [trace for trace in figure.traces if trace["name"].startswith("−ELBO = ")]
    assert len(iso) >= 3
    for trace in iso:
        total = float(trace["name"].split(" = ")[1])
        np.testing.assert_allclose(np.add(trace["x"], trace["y"]), total, rtol=1e-3)


def test_the_heat_map_orders_dimensions_by_their_kl(sweep: Path) -> None:
    (section,) = collect(str(sweep), sweep / "report").sections
    figure = dimensions.kl_heat_map(section)
    assert figure
    (trace,) = figure.traces
    column = [row[0] for row in trace["customdata"]]
    assert column == ["z0", "z1", "z2", "z3"]
    np.testing.assert_allclose([row[0] for row in trace["z"]], np.log10([2, 1, 0.01, 0.001]), atol=1e-3)


def test_a_sheet_holds_each_image_in_its_cell() -> None:
    values = np.linspace(0, 1, 6, dtype=np.float32).reshape(2, 3)
    images = np.broadcast_to(values[..., None, None, None], (2, 3, 16, 12, 3))
    found = pictures.sheet(images)
    assert (found.cell, found.size) == ((12, 16), (36, 32))
    shown = decoded(found.uri)
    np.testing.assert_allclose(shown.reshape(2, 16, 3, 12).mean((1, 3)), values, atol=0.02)
    assert pictures.sheet(images, 0.5).cell == (6, 8)


def test_bytes_of_images_are_rounded_and_what_is_no_number_is_black() -> None:
    images = np.array([0.0, 0.25, 1.0, 2.0, -1.0, np.nan, np.inf], np.float32)
    assert pictures.in_bytes(images).tolist() == [0, 64, 255, 255, 0, 0, 255]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        *((None, "–"), (float("nan"), "–"), (True, "True"), (3, "3"), (123456, "123,456"), (0.5, "0.5")),
        *((127.8508, "127.85"), (1e-5, "1e-05"), (2e300, "2e+300"), ("a", "a"), (-4419.549, "-4,419.55")),
    ],
)
def test_numbers_are_written_to_be_read(value: object, text: str) -> None:
    assert page.amount(value) == text


def test_no_cell_is_a_formula_and_numbers_stay_numbers(run: Make, tmp_path: Path) -> None:
    for name, text in (("one", "=cmd|' /C calc'!A1"), ("two", "@SUM(1)"), ("three", "-5"), ("four", "plain")):
        run(name, 1.0, metrics=measured(-120.0, 30.0, 22.0, 0.96, 3), info={"device": text}, lr=-0.5)
    run("-five", 1.0, metrics=measured(-120.0, 30.0, 22.0, 0.96, 3), **{"=key": "+1+1"})
    lines = (written(tmp_path / "outputs").page.parent / "table.csv").read_text().splitlines()
    rows = {row["folder"]: row for row in csv.DictReader(lines)}
    devices = {name: row["device"] for name, row in rows.items()}
    assert devices == {
        "one": "'=cmd|' /C calc'!A1",
        "two": "'@SUM(1)",
        "three": "-5",
        "four": "plain",
        "'-five": "",
    }
    assert (rows["one"]["lr"], rows["one"]["elbo"]) == ("-0.5", "-120.0")
    assert rows["'-five"]["'=key"] == "'+1+1"


def test_names_stand_in_markdown_as_they_are(run: Make, tmp_path: Path) -> None:
    for name, data in (("one", "$x_1$ *猫* &lt; | ཀ"), ("two", "1. _a_ <b>`c`</b> ~~d~~ [e](f) #g")):
        run(
            name,
            1.0,
            metrics=measured(-120.0, 30.0, 22.0, 0.96, 3),
            dataset={"name": data, "fingerprint": name},
        )
    done = written(tmp_path / "outputs")
    text = (done.page.parent / "report.md").read_text()
    assert r"## \$x\_1\$ \*猫\* \&lt; \| ཀ" in text
    assert r"## 1\. \_a\_ \<b\>\`c\`\</b\> \~\~d\~\~ \[e\](f) \#g" in text
    assert "$x_1$ *猫* &lt; | ཀ" in Elements(done.page.read_text()).text


def test_a_run_that_has_no_pictures_yet_gives_its_place_to_another_seed(run: Make, tmp_path: Path) -> None:
    begun = run("seed=0", 1.0, seed=0, status="interrupted")
    (begun / "metrics.csv").unlink()
    run("seed=1", 1.0, seed=1, metrics=measured(-120.0, 30.0, 22.0, 0.96, 3))
    done = written(tmp_path / "outputs")
    figures = {path.name for path in (done.page.parent / "figures").iterdir()}
    kinds = ("learning-curves", "rate-distortion", "kl-per-dimension", "reconstructions", "prior_samples")
    assert figures == {f"1-digits-{kind}.png" for kind in (*kinds, "interpolations-0")}


def test_long_rows_and_large_images_are_reduced(sweep: Path) -> None:
    file = sweep / "vae" / "one" / "arrays" / "interpolations.npz"
    np.savez(file, image=np.full((1, 5000, 2, 2, 1), 0.5, np.float32), index=np.zeros((1, 2), int))
    file = sweep / "vae" / "one" / "arrays" / "prior_samples.npz"
    np.savez(file, image=np.full((2, 600, 300, 3), 0.25, np.float16), z=np.zeros((2, 4)))
    done = written(sweep)
    assert done.problems == []
    uris = re.findall(r'<img src="(data:[^"]*)"', done.page.read_text())
    assert max(max(decoded(uri).shape) for uri in uris) <= pictures.WIDEST


@pytest.mark.parametrize("value", [np.nan, -1.0, 1e300])
def test_odd_numbers_of_one_run_do_not_stop_the_report(value: float, sweep: Path) -> None:
    for file in (sweep / "vae" / "one" / "arrays").glob("*.npz"):
        with np.load(file) as stored:
            odd = {k: np.full(v.shape, value) if v.dtype.kind == "f" else v for k, v in stored.items()}
        np.savez(file, **odd)
    (sweep / "vae" / "one" / "evaluation" / "metrics.json").write_text(
        json.dumps({"elbo": value, "kl": value})
    )
    assert len(written(sweep).collection.records) == 4


def test_reported_values_have_columns_beside_the_measured(run: Make, tmp_path: Path) -> None:
    reported = [{"metric": "psnr", "value": 21.96}]
    run("one", 1.0, metrics=measured(-120.0, 30.0, 22.0, 0.96, 3), reported=reported)
    written(tmp_path / "outputs")
    columns = list(pd.read_csv(tmp_path / "outputs" / "report" / "table.csv").columns)
    assert columns.index("psnr (reported)") == columns.index("psnr") + 1


def test_seeds_have_their_mean_in_a_band(run: Make, tmp_path: Path) -> None:
    def rows_of(elbo: float) -> list[dict[str, Any]]:
        return [
            {"epoch": epoch, "step": epoch, "split": "val", "loss": -elbo * epoch, "seconds": 1.0}
            for epoch in (1, 2)
        ]

    for seed, elbo in enumerate((-100.0, -104.0)):
        run(f"seed={seed}", 1.0, seed=seed, rows=rows_of(elbo))
    section = collect(str(tmp_path / "outputs"), tmp_path / "report").sections[0]
    chart = charts.learning_curve(section, LOSS)
    assert chart
    *own, low, high, mean = chart.traces
    assert [trace["y"] for trace in own] == [[100.0, 200.0], [104.0, 208.0]]
    assert mean["y"] == [102.0, 204.0]
    assert mean["name"] == "mean of 2 seeds"
    assert low["y"] == pytest.approx([102 - 8**0.5, 204 - 32**0.5], rel=1e-5)
    assert high["y"] == pytest.approx([102 + 8**0.5, 204 + 32**0.5], rel=1e-5)
    assert high["fill"] == "tonexty"
    assert chart.layout["xaxis"]["dtick"] == 1, "there are no halves of two epochs"


def test_many_epochs_have_ticks_as_they_fit(run: Make, tmp_path: Path) -> None:
    run("long", 1.0, rows=history(11, -100.0))
    section = collect(str(tmp_path / "outputs"), tmp_path / "report").sections[0]
    chart = charts.learning_curve(section, LOSS)
    assert chart
    assert "dtick" not in chart.layout["xaxis"]
