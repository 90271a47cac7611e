"""AE, VAE and GAN side by side: sentences, table, pictures and curves say what the run folders hold."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
from PIL import Image

from vaelab import report
from vaelab.quantities import Quantity
from vaelab.report import answers, chart, charts, parts, rows, samples, side_by_side
from vaelab.report.album import album
from vaelab.report.reading import collect
from vaelab.report.records import Section

from .conftest import Make, arrays, measured, of_samples
from .test_report import HOSTILE, Elements, data_of, written


def section(folder: Path) -> Section:
    (found,) = collect(str(folder), folder / "report").sections
    return found


def text_of(done: report.Report) -> str:
    return Elements(done.page.read_text()).text.replace("\xa0", " ")


@pytest.fixture
def zoo(run: Make, gan: Make, tmp_path: Path) -> Path:
    """The folder of a VAE at two λ, an autoencoder, a DCGAN and an ACGAN on the same images."""
    device = {"device": "cpu: small"}
    run(
        "vae/one",
        1.0,
        metrics=measured(-120.0, 30.0, 22.0, 0.96, 3) | of_samples(0.45, 0.003, 0.015),
        info=device | {"seconds": 20.0},
    )
    fitted = arrays(0, 0.25, np.ones(4, np.float32))
    fitted["prior_samples"]["aggregate_image"] = 0 * fitted["prior_samples"]["image"] + np.float32(0.6)
    run("vae/zero", 0.0, metrics=measured(-400.0, 300.0, 25.0, 0.95, 4), info=device, stored=fitted)
    run("ae/default", None, metrics={"psnr": 26.5, "ssim": 0.97}, info=device)
    found = {"adversarial_curves": ["the discriminator won: <b>"], "odd": 3, "odder": [None]}
    gan("dcgan/default", info=device | {"findings": found, "parameters": 1234567, "images_per_second": 512.5})
    tested = {"gan_test_accuracy": 0.91, "classifier_accuracy": 0.97}
    metrics = of_samples(0.2, 0.003, 0.004) | tested
    gan(
        "acgan/default",
        "acgan",
        metrics=metrics,
        inside=5,
        info=device | {"parameters": None, "seconds": "x"},
    )
    return tmp_path / "outputs"


def test_sentences_say_what_the_numbers_of_samples_say(zoo: Path) -> None:
    assert side_by_side.sentences(section(zoo)) == [
        "The samples of dcgan are 4 times as sharp as those of conv_vae λ = 1 (0.012 and 0.003; training images"
        " 0.014).",
        "The samples of dcgan are more diverse than those of conv_vae λ = 1 (MS-SSIM of pairs 0.31 and 0.45; training"
        " images 0.29).",
        "The samples of dcgan are as far from training images as test images are (0.021 and 0.02): no sign of copies.",
        "The samples of acgan are about as sharp as those of conv_vae λ = 1 (0.003 and 0.003; training images 0.014).",
        "The samples of acgan are more diverse than those of conv_vae λ = 1 (MS-SSIM of pairs 0.2 and 0.45; training"
        " images 0.29).",
        "The samples of acgan are much nearer to training images than test images are (0.004 and 0.02): a sign of"
        " copies; look at their nearest training images.",
        "GAN-test: a classifier trained on real images finds the class that was asked for in a share of 0.91 of the"
        " samples of acgan (of test images: 0.97).",
        "On the same device, training took 12.5 s for conv_ae (2 epochs), 20 s for conv_vae λ = 1 (2 epochs), 12.5 s"
        " for dcgan (2 epochs).",
    ]


@pytest.mark.parametrize(
    ("metrics", "words"),
    [
        (of_samples(0.6, 0.001, 0.03), "less sharp: 0.33 times as sharp as those of conv_vae"),
        (of_samples(0.6, 0.001, 0.03), "less diverse than those of conv_vae"),
        (of_samples(0.6, 0.001, 0.03), "farther from training images than test images are (0.03 and 0.02)"),
        (of_samples(0.6, 0.001, 0.015), "(0.015 and 0.02): copies are so, and blurry images, too"),
        (of_samples(0.46, 0.1, 0.02), "about as diverse as those of conv_vae"),
        (
            of_samples(0.46, 0.1, 0.02),
            "7.1 times as sharp as training images (0.1 and 0.014): noise and checkerboards",
        ),
        (
            {"gan_test_accuracy": 0.52},
            "a share of 0.52 of the samples of dcgan, little more than the 0.5 of chance.",
        ),
        (
            {"fid": 3.0},
            "By FID the samples of dcgan are nearer to the real images than those of conv_vae λ = 1 (3 and",
        ),
        (
            {"fid": 30.0},
            "By FID the samples of dcgan are farther from the real images than those of conv_vae",
        ),
    ],
)
def test_the_contrary_is_said_where_the_numbers_say_it(
    metrics: dict[str, float], words: str, run: Make, gan: Make, tmp_path: Path
) -> None:
    own = of_samples(0.45, 0.003, 0.015) | {"fid": 9.0}
    run("vae/one", 1.0, metrics=measured(-120.0, 30.0, 22.0, 0.96, 3) | own)
    gan("dcgan/default", metrics=metrics)
    assert any(words in sentence for sentence in side_by_side.sentences(section(tmp_path / "outputs")))


def test_numbers_are_means_over_seeds_and_small_differences_are_none(
    run: Make, gan: Make, tmp_path: Path
) -> None:
    for seed, sharpness in enumerate((0.002, 0.004)):
        own = of_samples(0.45, sharpness, 0.015)
        run(f"vae/{seed}", 1.0, seed=seed, metrics=measured(-120.0, 30.0, 22.0, 0.96, 3) | own)
        gan(f"dcgan/{seed}", seed=seed, metrics=of_samples(0.45, sharpness + 0.001, 0.01 + 0.01 * seed))
    first, *_, copies, _ = side_by_side.sentences(section(tmp_path / "outputs"))
    assert first == (
        "The samples of dcgan (means of 2 seeds) are about as sharp as those of conv_vae λ = 1 (means of 2 seeds)"
        " (0.004 and 0.003; training images 0.014)."
    )
    assert "(0.015 and 0.02)" in copies


def test_times_of_different_devices_are_not_compared(zoo: Path) -> None:
    file = zoo / "dcgan" / "default" / "run.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"device": "cuda: large"}))
    assert not any("training took" in sentence for sentence in side_by_side.sentences(section(zoo)))


def test_every_run_is_a_row_and_only_measured_columns_are_there(zoo: Path) -> None:
    table = side_by_side.table(section(zoo))
    assert table
    assert list(table.heads) == [
        "run",
        *("MS-SSIM of pairs", "sharpness", "distance to training images", "GAN-test accuracy"),
        *("seconds of training", "parameters", "images per second"),
    ]
    cells = {label: found for label, *found in table.rows}
    assert list(cells) == ["conv_ae", "conv_vae · λ = 0", "conv_vae · λ = 1", "dcgan", "acgan"]
    assert cells["dcgan"] == [
        *("0.31 (real 0.29)", "0.012 (real 0.014)", "0.021 (test images 0.02)", "–"),
        *(12.5, 1234567, 512.5),
    ]
    assert cells["acgan"][3] == "0.91 (test images 0.97)"
    assert np.isnan(cells["acgan"][4:]).all()
    assert cells["conv_ae"][0] == "–"


def test_without_a_gan_and_without_two_kinds_nothing_is_beside(sweep: Path, run: Make) -> None:
    assert side_by_side.contestants(section(sweep)) == ()
    assert "Models side by side" not in text_of(written(sweep))
    run("vae/own", 2.0, metrics=measured(-120.0, 30.0, 22.0, 0.96) | of_samples(0.4, 0.1, 0.1))
    assert side_by_side.contestants(section(sweep)) == ()
    run("ae/own", None, seed=1, metrics={"psnr": 20.0} | of_samples(0.8, 0.003, 0.05))
    assert len(side_by_side.contestants(section(sweep))) == 6
    sentences = side_by_side.sentences(section(sweep))
    assert sentences[1].startswith(
        "The samples of conv_ae (means of 2 seeds) are less diverse than those of conv_vae λ"
    )
    run("ae/worse", None, lr=1.0, metrics={"psnr": 10.0} | of_samples(0.8, 0.003, 0.05))
    assert {s.split(" are ")[0] for s in side_by_side.sentences(section(sweep))[:3]} == {
        "The samples of conv_ae lr=None (means of 2 seeds)"
    }


def test_samples_of_each_model_are_those_that_it_means(zoo: Path) -> None:
    found = samples.side_by_side(section(zoo), 1.0)
    assert found is not None
    rows = {strip.label: (strip.images.mean() / 255, len(strip.columns)) for strip in found.strips}
    assert rows == {
        "test images": (pytest.approx(0.5, abs=0.01), 16),
        "conv_vae · λ = 0, fitted Gaussian": (pytest.approx(0.6, abs=0.01), 16),
        "conv_vae · λ = 1": (pytest.approx(0.25, abs=0.01), 16),
        "dcgan": (pytest.approx(0.75, abs=0.01), 16),
        "acgan": (pytest.approx(0.75, abs=0.01), 16),
    }
    assert found.left_out == ("conv_ae",)
    assert found.strips[-1].columns[:2] == ("sample 1, zero", "sample 2, one")


def test_a_gallery_has_classes_epochs_and_nearest_training_images(zoo: Path) -> None:
    shown = section(zoo)
    by_name = {record.name: record for record in shown.records}
    found = {m.id: m for m in rows.gallery(shown, 1.0, by_name["acgan/default"]).matrices}
    matrices = {name: matrix.strips for name, matrix in found.items()}
    assert [strip.label for strip in matrices["class_pairs"]] == ["zero", "one"]
    assert [strip.label for strip in matrices["z_interpolations"]] == ["pair 1: zero", "pair 2: one"]
    epochs = [(when, frame.strips[0].images.mean()) for when, frame in found["samples"].frames]
    assert epochs == [("epoch 1", 0.0), ("epoch 2", pytest.approx(191, abs=1))]
    near = matrices["nearest_neighbours"]
    assert [strip.label for strip in near] == [
        "sample",
        "neighbour 1 (0.1)",
        "neighbour 2 (0.2)",
        "neighbour 3 (0.3)",
        "neighbour 4 (0.4)",
    ]
    assert near[2].columns[1] == "training image 5, distance 0.2"
    assert near[2].images.mean() == pytest.approx(255 / 3, abs=1)
    assert {m.id for m in rows.gallery(shown, 1.0, by_name["dcgan/default"]).matrices} == {
        *("samples", "z_interpolations", "nearest_neighbours"),
    }
    assert rows.gallery(shown, 1.0, by_name["vae/one"]).matrices == ()


def test_the_game_is_drawn_inside_epochs_where_rows_were_kept(zoo: Path) -> None:
    shown = section(zoo)
    (part,) = [parts.part("part-0", collect(str(zoo), zoo / "report"), shown, album(shown, 1.0))]
    figures = part.charts
    for name in ("curve-loss_generator", "curve-class_accuracy_fake", "curve-kl", "rate-distortion-0"):
        assert len(go.Figure(figures[name].as_json()).data) > 0
    traces = {t["name"]: t for t in charts.learning_curve(shown, Quantity("loss_generator", "title")).traces}  # type: ignore[union-attr]
    assert set(traces) == {"acgan (train)", "acgan (val)", "dcgan (train)", "dcgan (val)"}
    assert traces["dcgan (train)"]["x"] == [1, 2]
    assert traces["dcgan (train)"]["y"] == [1.5, 2.0]
    steps = np.arange(1, 11)
    np.testing.assert_allclose(traces["acgan (train)"]["x"], steps / 5)
    np.testing.assert_allclose(traces["acgan (train)"]["customdata"], steps / 5 * 4)
    np.testing.assert_allclose(traces["acgan (train)"]["y"], 1 + steps / 10)
    assert traces["acgan (val)"]["x"] == [1, 2]
    shades = chart.colours(shown)
    assert len({shades[name] for name in ("acgan/default", "dcgan/default", "ae/default")}) == 3


def test_a_gan_says_how_its_game_went_and_what_was_found(zoo: Path) -> None:
    lines = {line.label: line for line in section(zoo).lines}
    assert answers.paragraph(lines["dcgan"]) == [
        "In the last epoch the discriminator's loss was 1 and the generator's 2 nats per image; the discriminator was"
        " right on 75% of the real and on 50% of the generated images.",
        "The discriminator won: <b>.",
        "None.",
        "It has no encoder, so no reconstructions, no rate and no ELBO; its samples are compared below.",
    ]


def test_the_page_and_the_document_have_all_of_it_and_nothing_wrong_of_gans(zoo: Path) -> None:
    done = written(zoo)
    assert done.problems == []
    said = text_of(done)
    for words in (
        "4 times as sharp as those of conv_vae",
        "VAE against GAN",
        "neighbour 3 (0.3)",
        "The discriminator won: <b>.",
    ):
        assert words in said, words
    # A GAN has no reconstructions, no atlas, no likelihood and no λ, and is not said to lack them.
    assert "Not here" not in said
    assert "Without an atlas" not in said
    assert "different likelihood" not in said
    data = data_of(done.page.read_text())["part-0"]
    assert data["best"] == "vae/one"
    document = (zoo / "report" / "report.md").read_text()
    assert "4 times as sharp" in document
    assert (
        "| dcgan | 0.31 (real 0.29) | 0.012 (real 0.014) | 0.021 (test images 0.02) | – | 12.5 |" in document
    )
    with Image.open(zoo / "report" / "figures" / "1-digits-side-by-side.png") as picture:
        assert picture.size[0] > 200
    assert (zoo / "report" / "figures" / "1-digits-learning-curves.png").is_file()


def test_gans_alone_are_a_report_without_lambda(gan: Make, tmp_path: Path) -> None:
    gan("dcgan/pictures", metrics={})
    gan("dcgan/stopped", seed=1, status="interrupted")
    done = written(tmp_path / "outputs")
    assert done.problems == []
    said = text_of(done)
    assert "What the models make of the same images" in said
    assert "λ does" not in said
    assert "interrupted after 2 of 2 epochs" in said
    links = [a["href"] for tag, a in Elements(done.page.read_text()).found if tag == "a"]
    there = {a.get("id") for _, a in Elements(done.page.read_text()).found}
    assert {str(link)[1:] for link in links} <= there


ODD: list[tuple[str, str, Callable[[np.ndarray], np.ndarray]]] = [
    ("samples", "image", lambda a: a[..., 0]),
    ("samples", "label", lambda a: a[:3]),
    ("samples/epoch_0001", "image", lambda a: a.astype(str)),
    ("z_interpolations", "image", lambda a: a[0]),
    ("z_interpolations", "label", lambda a: a + 0.5),
    ("class_pairs", "label", lambda a: a[:1]),
    ("class_pairs", "image", lambda a: a[:, :0]),
    ("nearest_neighbours", "distance", lambda a: a[:, :2]),
    ("nearest_neighbours", "image", lambda a: a[:3]),
    ("nearest_neighbours", "neighbour", lambda a: a[:, 0]),
]


@pytest.mark.parametrize(("name", "key", "change"), ODD)
def test_arrays_of_another_shape_are_damage(
    name: str, key: str, change: Callable[[np.ndarray], np.ndarray], zoo: Path
) -> None:
    file = zoo / "acgan" / "default" / "arrays" / f"{name}.npz"
    with np.load(file) as stored:
        np.savez(file, **dict(stored) | {key: change(stored[key])})
    shown = section(zoo)
    record = next(record for record in shown.records if record.name == "acgan/default")
    samples.side_by_side(shown, 1.0)
    rows.gallery(shown, 1.0, record)
    assert [problem.split(":")[0] for problem in record.problems] == [f"arrays/{name}.npz is damaged"]


def test_odd_values_do_not_stop_the_report(zoo: Path) -> None:
    folder = zoo / "acgan" / "default"
    values = '{"sharpness": 1e400, "sharpness_data": -1, "nearest_distance": 0, "nearest_distance_data": 0, "fid": "x"}'
    (folder / "evaluation" / "metrics.json").write_text(values)
    (zoo / "vae" / "one" / "evaluation" / "metrics.json").write_text(
        '{"sharpness": 0, "elbo": NaN, "psnr": 1e308}'
    )
    header = (folder / "metrics.csv").read_text().splitlines()[0]
    with (folder / "metrics.csv").open("a") as file:
        for row in ("3,x,steps,1,1", ",,steps", "9,900,steps,nan,inf", "2,-5,train,2,2"):
            file.write(row + "," * (header.count(",") - row.count(",")) + "\n")
    odd = (
        ("samples", "label", 99),
        ("samples/epoch_0002", "z", np.nan),
        ("nearest_neighbours", "distance", np.nan),
    )
    for name, key, value in odd:
        path = folder / "arrays" / f"{name}.npz"
        with np.load(path) as stored:
            np.savez(path, **dict(stored) | {key: np.full_like(stored[key], value)})
    (folder / "arrays" / "samples" / "epoch_last.npz").write_bytes(b"no zip")
    info = json.loads((folder / "run.json").read_text())
    info |= {"findings": {HOSTILE: [HOSTILE]}, "seconds": [], "parameters": 10**400, "device": {}}
    (folder / "run.json").write_text(json.dumps(info))
    done = written(zoo)
    assert "sample 1, class 99" in done.page.read_text()
    assert HOSTILE not in done.page.read_text()
    assert HOSTILE not in (done.page.parent / "report.md").read_text()


def test_a_row_of_too_few_fields_is_damage(zoo: Path) -> None:
    with (zoo / "dcgan" / "default" / "metrics.csv").open("a") as file:
        file.write("3,30,val\n")
    ((run, problem),) = [(r.name, p) for r in section(zoo).records for p in r.problems]
    assert run == "dcgan/default"
    assert "metrics.csv is damaged" in problem
