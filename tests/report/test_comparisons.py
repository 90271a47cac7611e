"""What was reported, moved codes, sizes of codes, epochs and iterations: shown as the run folders have them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from vaelab.evaluations.latent_edit import as_captioned
from vaelab.metrics import PSNR
from vaelab.quantities import Quantity
from vaelab.report import chart, charts, columns, comparisons, details, noise, rows, series
from vaelab.report.album import album
from vaelab.report.pictures import Matrix
from vaelab.report.reading import collect
from vaelab.report.records import Collection, Section
from vaelab.report.table import frame

from .conftest import SIDE, Make, history, measured
from .test_report import HOSTILE, Elements, decoded, written

Arrays = dict[str, dict[str, np.ndarray]]


def collection(folder: Path) -> Collection:
    return collect(str(folder), folder / "report")


def section(folder: Path) -> Section:
    (found,) = collection(folder).sections
    return found


def text_of(folder: Path) -> str:
    return Elements(written(folder).page.read_text()).text.replace("\xa0", " ")


def images(*values: float) -> np.ndarray:
    """Gray images of one value each."""
    return np.array(values, np.float32)[:, None, None, None] * np.ones((1, SIDE, SIDE, 1), np.float32)


def noisy(centre: float, noise: np.ndarray, size: int = 3) -> Arrays:
    """Two images with copies from codes around a centre: copy c of image n has the value 0.1 n + 0.2 c."""
    count, copies = noise.shape[:2]
    value = 0.1 * np.arange(count)[:, None] + 0.2 * np.arange(copies)
    z = centre * np.arange(1, count + 1)[:, None, None] + noise[..., :size]
    found = {"original": images(*np.linspace(0.5, 1, count)), "index": np.arange(count) + 7}
    found |= {"image": images(*value.ravel()).reshape(count, copies, SIDE, SIDE, 1), "z": z}
    return {"noise_perturbation": found | {"psnr": value, "label": np.arange(count)}}


def pictures_of(found: Section) -> dict[str, Matrix]:
    return {matrix.id: matrix for matrix in album(found, 1.0).matrices}


NOISE = np.random.default_rng(0).normal(size=(2, 3, 3)).astype(np.float32)
OF_NOISE = {"perturbed_mse": 0.025, "perturbed_psnr": 16.5, "perturbed_ssim": 0.25}


# ---- reported values


def test_reported_values_stand_beside_measured_ones_with_twins_below(run: Make, tmp_path: Path) -> None:
    told = [
        {"metric": "loss", "value": 120, "when": {"kl_weight": 1.0}, "source": "figure 3"},
        {"metric": "loss", "value": 200, "when": {"kl_weight": 5.0}},
        {"metric": "ssim", "value": 0.5},
        {"metric": "mse_signed", "value": 0.0392},
        *({"metric": "loss", "value": "much"}, {"metric": "loss", "value": 1, "when": "always"}, 3),
    ]
    metrics = measured(-127.9, 30.0, 22.0, 0.5)
    run("experiment=b,lr=2", 1.0, metrics=metrics, reported=told)
    for name, lr in (("a_tuned", 0.1), ("z", 0.2), ("a", 0.3)):
        command = {"command": ["vae-train", f"experiment={name}"]}
        run(f"run-{name}", 1.0, metrics=metrics, info=command, reported=told[1:3], lr=lr)
    run(
        "running", 5.0, status="running", reported=told[:2], info={"command": ["vae-sweep", "experiment=a,b"]}
    )
    found = comparisons.reported_values(collection(tmp_path / "outputs"))
    assert found
    assert [row[0] for row in found.rows] == ["a", "a_tuned", "b", "b", "b", "z", "–"]
    assert found.rows[2][3:] == ("loss", "figure 3", 120.0, 127.9, "+7.9")
    assert found.rows[3][3:] == ("ssim", "–", 0.5, 0.5, "0")
    assert found.rows[4][3:6] == ("mse_signed", "–", 0.0392)
    assert np.isnan(found.rows[4][6])
    assert found.rows[6][3:6] == ("loss", "–", 200.0)
    text = text_of(tmp_path / "outputs")
    assert text.count("Reported and measured") == 2  # the heading and the way to it
    document = (tmp_path / "outputs/report/report.md").read_text()
    assert document.index("## Reported and measured") < document.index("## digits")
    assert r"| loss | figure 3 | 120 | 127.90 | +7.9 |" in document


def test_numbers_of_training_images_stand_beside_those_of_training_images(run: Make, tmp_path: Path) -> None:
    told = [
        {"metric": "loss", "value": 120, "split": "train"},
        {"metric": "psnr", "value": 23, "split": "train"},
        {"metric": "psnr", "value": 21},
        {"metric": "ssim", "value": 0.5, "split": "train"},
    ]
    rows = [{"epoch": 1, "step": 9, "split": "train", "loss": 118.0, "seconds": 1.0}]
    metrics = measured(-127.9, 30.0, 22.0, 0.5) | {"train_psnr": 24.5}
    run("one", 1.0, metrics=metrics, reported=told, rows=rows)
    found = comparisons.reported_values(collection(tmp_path / "outputs"))
    assert found
    assert [(row[3], *row[5:8]) for row in found.rows[:3]] == [
        ("loss of training images", 120.0, 118.0, "−2"),
        ("psnr of training images", 23.0, 24.5, "+1.5"),
        ("psnr", 21.0, 22.0, "+1"),
    ]
    assert np.isnan(found.rows[3][6])
    table = frame(collection(tmp_path / "outputs"))
    assert {"train_loss (reported)", "train_psnr (reported)", "psnr (reported)"} <= set(table.columns)


@pytest.mark.parametrize("told", [3, [], [{"metric": "psnr", "value": 1, "when": {"kl_weight": 9}}], [[]]])
def test_nothing_reported_is_no_table(told: object, run: Make, tmp_path: Path) -> None:
    run("one", 1.0, metrics=measured(-127.9, 30.0, 22.0, 0.96), reported=told)
    assert not comparisons.reported_values(collection(tmp_path / "outputs"))


@pytest.mark.parametrize(
    ("folder", "command", "name"),
    [
        ("epochs=5,experiment=eyes_ae,lr=1", None, "eyes_ae"),
        ("experiment=eyes_ae-2", ["vae-sweep", "experiment=eyes_ae,eyes_vae"], "eyes_ae"),
        ("default", ["vae-train", "experiment=faces_vae", 3], "faces_vae"),
        ("default", "experiment=faces_vae", ""),
        ("my_experiment=x", [], ""),
    ],
)
def test_the_experiment_is_named(folder: str, command: object, name: str, run: Make, tmp_path: Path) -> None:
    run(folder, 1.0, info={"command": command})
    assert section(tmp_path / "outputs").records[0].experiment == name


def test_runs_of_one_configuration_are_named_by_their_experiments(run: Make, tmp_path: Path) -> None:
    for name in ("eyes_ae", "eyes_epochs"):
        run(f"experiment={name}", None)
    run("other", None)
    assert sorted(section(tmp_path / "outputs").labels.values()) == [
        "conv_ae · seed 0",
        "conv_ae · seed 0 · eyes_ae",
        "conv_ae · seed 0 · eyes_epochs",
    ]


# ---- codes and noise


def test_copies_of_all_runs_stand_below_their_images(run: Make, tmp_path: Path) -> None:
    asked = {"noise_perturbation": {"sigma": 0.5}}
    run("ae", None, stored=noisy(5.0, NOISE), metrics={"psnr": 20.0} | OF_NOISE, evaluation=asked)
    of_vae = {"psnr": 19.0} | OF_NOISE | {"perturbed_ssim": 0.75}
    run("vae", 1.0, stored=noisy(-1.0, NOISE), metrics=of_vae, evaluation=asked)
    found = section(tmp_path / "outputs")
    matrix = pictures_of(found)["noise_perturbation"]
    copies = [f"{label} · copy {n}" for label in ("conv_vae · λ = 1", "conv_ae") for n in (1, 2, 3)]
    assert [strip.label for strip in matrix.strips] == ["original", *copies]
    assert matrix.strips[5].columns == ("image 7", "image 8")
    shown = [decoded(strip.sheet.uri).reshape(SIDE, 2, SIDE).mean((0, 2)) for strip in matrix.strips]
    np.testing.assert_allclose(shown[0], [0.5, 1], atol=0.02)
    np.testing.assert_allclose(shown[3], [0.4, 0.5], atol=0.02)
    np.testing.assert_allclose(shown[5], [0.2, 0.3], atol=0.02)
    table = noise.table(found)
    assert table
    assert table.rows == (
        ("conv_vae · λ = 1", 0.5, 0.025, 16.5, 0.75, 19.0),
        ("conv_ae", 0.5, 0.025, 16.5, 0.25, 20.0),
    )
    assert "The noise was the same for all of them." in text_of(tmp_path / "outputs")
    document = (tmp_path / "outputs/report/report.md").read_text()
    assert "| conv\\_ae | 0.5 | 0.025 | 16.5 | 0.25 | 20 |" in document
    assert (tmp_path / "outputs/report/figures/1-digits-noise_perturbation.png").is_file()


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (
            noisy(-1.0, NOISE + np.float32(0.001) * (NOISE > 0)),
            "The noise was not the same: conv_ae had other",
        ),
        (
            noisy(-1.0, NOISE, size=2),
            "The noise was not the same: conv_ae had other noise, or a code of another",
        ),
        (noisy(-1.0, NOISE + np.nan), "The noise was not the same"),
        (noisy(1e38, NOISE), "The noise was not the same"),
        (noisy(3000.0, NOISE), "The noise was the same for all of them."),
        (noisy(2.0, NOISE + 4), "The noise was the same for all of them."),
    ],
)
def test_whether_noise_was_the_same_is_said(stored: Arrays, words: str, run: Make, tmp_path: Path) -> None:
    # As float32 has them: codes of thousands keep fewer digits of the noise.
    stored = {name: {k: np.float32(v) if k == "z" else v for k, v in a.items()} for name, a in stored.items()}
    run("vae", 1.0, stored=noisy(5.0, NOISE))
    run("ae", None, stored=stored)
    assert words in noise.same_noise(section(tmp_path / "outputs"))


def test_one_copy_or_one_run_says_nothing_of_the_noise(run: Make, tmp_path: Path) -> None:
    run("vae", 1.0, stored=noisy(5.0, NOISE[:, :1]))
    assert noise.same_noise(section(tmp_path / "outputs")) == ""
    assert "noise_perturbation" in pictures_of(section(tmp_path / "outputs"))
    run("ae", None, stored=noisy(1.0, NOISE[:, :1]))
    assert "cannot be told" in noise.same_noise(section(tmp_path / "outputs"))


def test_twenty_of_many_images_are_shown_and_other_images_are_left_out(run: Make, tmp_path: Path) -> None:
    many = np.zeros((45, 2, 3), np.float32)
    for seed in (0, 1):
        run(f"vae-{seed}", 1.0, seed=seed, stored=noisy(5.0, many))
    other = noisy(5.0, many)
    other["noise_perturbation"]["index"] += 1
    run("ae", None, stored=other)
    matrix = pictures_of(section(tmp_path / "outputs"))["noise_perturbation"]
    assert [len(strip.columns) for strip in matrix.strips] == [20] * 5
    assert matrix.left_out == ("conv_ae",)
    assert "or show other images: conv_ae" in text_of(tmp_path / "outputs")


# ---- edited codes

EDITS = [{"dim": 0, "add": 20}, {"dim": -1, "set": 0}, {"dim": 2, "scale": 0.5}, {"dim": 1, "add": -3}]
WORDS = ["z[0] + 20", "z[-1] = 0", "z[2] × 0.5", "z[1] − 3"]


def moved() -> Arrays:
    """Two images whose codes were changed by EDITS; edit e of image n has the value 0.1 n + 0.2 e."""
    code = np.random.default_rng(1).normal(size=(2, 4)).astype(np.float32)
    z = np.repeat(code[:, None], 5, axis=1)
    z[:, 1, 0] += 20
    z[:, 2, 3] = 0
    z[:, 3, 2] *= 0.5
    z[:, 4, 1] -= 3
    value = 0.1 * np.arange(2)[:, None] + 0.2 * np.arange(4)
    edited = images(*value.ravel()).reshape(2, 4, SIDE, SIDE, 1)
    found = {"index": np.array([0, 3]), "original": images(0.1, 0.9), "reconstruction": images(0.2, 0.8)}
    return {"latent_edit": found | {"edited": edited, "z": z} | as_captioned(EDITS)}


def test_edits_stand_below_reconstructions_in_words(run: Make, tmp_path: Path) -> None:
    run("ae", None, stored=moved())
    found = section(tmp_path / "outputs")
    (matrix,) = rows.gallery(found, 1.0, found.records[0]).matrices
    words = [f"edit {n}: {one}" for n, one in enumerate(WORDS, 1)]
    labels = [label for one in words for label in (one, f"{one}: difference × 1.4")]
    assert [strip.label for strip in matrix.strips] == ["original", "reconstruction", *labels]
    shown = [decoded(strip.sheet.uri).reshape(SIDE, 2, SIDE).mean((0, 2)) for strip in matrix.strips]
    np.testing.assert_allclose(shown[1], [0.2, 0.8], atol=0.02)
    np.testing.assert_allclose(shown[6], [0.4, 0.5], atol=0.02)
    np.testing.assert_allclose(shown[3], [0.2 / 0.7, 1], atol=0.02)  # the largest difference is white
    np.testing.assert_allclose(shown[7], [0.2 / 0.7, 0.3 / 0.7], atol=0.02)
    assert matrix.strips[0].columns == ("image 0", "image 3")
    text = text_of(tmp_path / "outputs")
    assert all(words in text for words in WORDS)
    assert (tmp_path / "outputs/report/figures/1-digits-latent_edit-0.png").is_file()


def test_edits_of_older_runs_which_say_nothing_of_them_are_counted(run: Make, tmp_path: Path) -> None:
    stored = moved()
    stored["latent_edit"] = {k: v for k, v in stored["latent_edit"].items() if k not in as_captioned([])}
    run("ae", None, stored=stored)
    found = section(tmp_path / "outputs")
    (matrix,) = rows.gallery(found, 1.0, found.records[0]).matrices
    assert [strip.label for strip in matrix.strips][2::2] == [f"edit {n}: z" for n in (1, 2, 3, 4)]


@pytest.mark.parametrize(
    ("name", "key", "change"),
    [
        ("noise_perturbation", "image", lambda a: a[0]),
        ("noise_perturbation", "z", lambda a: a[:1]),
        ("latent_edit", "edited", lambda a: a[:1]),
        ("latent_edit", "index", lambda a: a + 0.5),
        ("latent_edit", "dim", lambda a: a[:1]),
    ],
)
def test_arrays_of_another_shape_are_damage(
    name: str, key: str, change: Callable[[np.ndarray], np.ndarray], run: Make, tmp_path: Path
) -> None:
    stored = noisy(5.0, NOISE) | moved()
    stored[name][key] = change(stored[name][key])
    run("ae", None, stored=stored)
    done = written(tmp_path / "outputs")
    assert [problem.split(":")[0] for _, problem in done.problems] == [f"arrays/{name}.npz is damaged"]


def test_odd_values_do_not_stop_the_report(run: Make, tmp_path: Path) -> None:
    stored = noisy(5.0, NOISE + np.inf) | moved()
    stored["latent_edit"]["z"] *= np.nan
    stored["latent_space"] = {"mean": np.zeros(3)}
    for name, latent in (("ae", None), ("b", HOSTILE), ("c", 1e300), ("d", -4)):
        run(
            name,
            None,
            stored=stored,
            metrics={"psnr": float("nan"), "perturbed_psnr": 1e300, "mse": 1e-30},
            dataset={"shape": [1, "x", None]},
            epochs={"ae": [3], "b": 10, "c": 1e18, "d": 2}[name],
            evaluation=3,
            reported=[{"metric": "mse", "value": 1e300, "source": {"a": HOSTILE}}],
            model={"_target_": "vaelab.models.conv_ae", "latent_dim": latent},
        )
    done = written(tmp_path / "outputs")
    assert HOSTILE not in done.page.read_text()
    assert "edit 4: z[1] − 3" in Elements(done.page.read_text()).text


# ---- the size of the code


def coded(size: int) -> Arrays:
    return {"latent_space": {"mean": np.zeros((5, size), np.float32)}}


@pytest.fixture
def sizes(run: Make, tmp_path: Path) -> Path:
    """The folder of autoencoders with codes of 4, 16 and, in other layout, 128, and two that do not belong to them."""

    def make(name: str, size: int, psnr: float, model: str = "conv_ae", **changes: Any) -> None:
        own = {"latent_dim": size} if model == "conv_ae" else {}
        run(
            name,
            None,
            stored=coded(size),
            metrics={"psnr": psnr, "ssim": psnr / 100, "mse": 1 / psnr},
            info={"parameters": 1000 * size},
            model={"_target_": f"vaelab.models.{model}"} | own,
            **{"latent_dim": 32} | own | changes,
        )

    make("large", 16, 25.0)
    make("again", 16, 26.0, seed=1)
    make("small", 4, 20.0)
    make("spatial", 128, 40.0, "spatial_ae")
    make("longer", 4, 30.0, epochs=50)
    return tmp_path / "outputs"


def test_sizes_of_codes_are_compared_among_models_trained_alike(sizes: Path) -> None:
    found = section(sizes)
    table = comparisons.code_sizes(found)
    assert table
    assert table.heads[1:3] == ("code size", "compression ratio")
    assert [row[:4] for row in table.rows] == [
        ("conv_ae", 4.0, 16.0, 20.0),  # 64 values of an image by 4 of its code
        ("conv_ae (means of 2 seeds)", 16.0, 4.0, 25.5),
        ("spatial_ae", 128.0, 0.5, 40.0),
    ]
    assert [row[6] for row in table.rows] == [4000.0, 16000.0, 128000.0]
    assert comparisons.effect_of_code_size(found) == [
        "conv_ae: PSNR is 20.00 dB with a code of 4 values and 25.50 dB with a code of 16 values.",
        "spatial_ae: PSNR is 40.00 dB with a code of 128 values.",
    ]
    figure = charts.by_code_size(found, PSNR)
    assert figure
    go.Figure(figure.as_json())  # raises for what Plotly does not know
    lines = {trace["name"]: (trace["x"], trace["y"]) for trace in figure.traces}
    assert lines == {"conv_ae": ([4.0, 16.0], [20.0, 25.5]), "spatial_ae": ([128.0], [40.0])}
    assert figure.layout["xaxis"]["type"] == "log"
    assert [one.name for one in columns.image_quantities(found.records)] == ["psnr", "ssim"]
    assert "Compression ratio" in text_of(sizes)
    document = (sizes / "report/report.md").read_text()
    assert r"| spatial\_ae | 128 | 0.5 | 40 | 0.4 | 0.025 | 128,000 |" in document
    assert (sizes / "report/figures/1-digits-code-size.png").is_file()


def test_codes_of_one_size_are_not_compared(sweep: Path) -> None:
    found = section(sweep)
    assert {record.code_size for record in found.records} == {4.0}
    assert not comparisons.code_sizes(found)
    assert not charts.by_code_size(found, PSNR)


def test_each_weight_is_a_line_over_the_sizes(run: Make, tmp_path: Path) -> None:
    for size in (2, 8):
        for weight in (1.0, 100.0):
            name = f"{size}-{weight:g}"
            run(name, weight, stored=coded(size), metrics={"psnr": size + weight}, latent_dim=size)
    found = {line.label: line.curve("psnr") for line in series.by_code_size(section(tmp_path / "outputs"))}
    assert found == {
        "conv_vae λ = 1": ([2.0, 8.0], [3.0, 9.0]),
        "conv_vae λ = 100": ([2.0, 8.0], [102.0, 108.0]),
    }


def test_a_code_without_arrays_has_the_size_that_was_asked_for(run: Make, tmp_path: Path) -> None:
    stored: Arrays = {"latent_space": {"index": np.arange(3)}}
    run("one", 1.0, stored=stored, model={"_target_": "vaelab.models.conv_vae", "latent_dim": 12})
    run("none", 2.0, stored=stored, model={"_target_": "vaelab.models.spatial_vae"})
    (tmp_path / "outputs/none/arrays/latent_space.npz").write_bytes(b"no zip")
    sizes = {record.name: record.code_size for record in section(tmp_path / "outputs").records}
    assert sizes["one"] == 12
    assert np.isnan(sizes["none"])


# ---- epochs and iterations


def test_epochs_are_compared_beside_reported_values(run: Make, tmp_path: Path) -> None:
    told = [{"metric": "psnr", "value": v, "when": {"epochs": e}} for e, v in ((5, 22.99), (10, 22.84))]
    for weight, first in ((None, 20.0), (1.0, 30.0)):
        for epochs in (10, 5, 15):
            metrics = {"psnr": first + epochs / 10, "loss": 1 / epochs, "ssim": 0.5, "mse": 0.1}
            settings = {"epochs": epochs, "reported": told if weight is None else []}
            run(f"{weight}-{epochs}", weight, metrics=metrics, **settings)
    run("other", None, metrics={"psnr": 1.0}, epochs=5, lr=3)
    found = comparisons.epochs(section(tmp_path / "outputs"))
    assert found
    assert found.heads == ("model", "epochs", "loss", "psnr", "psnr (reported)", "ssim", "mse")
    assert [row[:2] + row[3:5] for row in found.rows] == [
        *(("conv_vae", 5.0, 30.5, ""), ("conv_vae", 10.0, 31.0, ""), ("conv_vae", 15.0, 31.5, "")),
        *(("conv_ae", 5.0, 20.5, "22.99"), ("conv_ae", 10.0, 21.0, "22.84"), ("conv_ae", 15.0, 21.5, "")),
    ]
    assert "beside them what was reported" in text_of(tmp_path / "outputs")
    document = (tmp_path / "outputs/report/report.md").read_text()
    assert r"| conv\_ae | 5 | 0.2 | 20.5 | 22.99 | 0.5 | 0.1 |" in document
    assert r"| conv\_ae | 15 | 0.06667 | 21.5 | – | 0.5 | 0.1 |" in document


def test_runs_of_the_same_epochs_have_no_table_of_them(sweep: Path) -> None:
    assert not comparisons.epochs(section(sweep))


@pytest.mark.parametrize("weight", [None, 1.0])
def test_the_loss_inside_epochs_is_drawn(weight: float | None, run: Make, tmp_path: Path) -> None:
    run("plain", 5.0)
    steps = [
        {"epoch": 1 + (step > 10), "step": step, "split": "steps", "loss": 100 - step}
        for step in range(2, 21, 2)
    ]
    rows = history(2, -100.0)
    run("inside", weight, rows=[*rows[:1], *steps[:5], *rows[1:3], *steps[5:], *rows[3:]])
    found = section(tmp_path / "outputs")
    figure = charts.learning_curve(found, Quantity("loss", "loss"))
    assert figure
    (thin,) = [t for t in figure.traces if t["meta"] == "inside" and t["name"].endswith("(train)")]
    assert (thin["line"]["width"], thin["line"]["dash"]) == (1.0, "solid")
    np.testing.assert_allclose(thin["x"], np.arange(0.2, 2.1, 0.2))
    np.testing.assert_allclose(thin["y"], np.arange(98, 79, -2))
    written(tmp_path / "outputs")
    assert (tmp_path / "outputs/report/figures/1-digits-loss-by-iteration.png").is_file()


def test_runs_of_other_regularisers_are_called_by_their_names(run: Make, tmp_path: Path) -> None:
    own = {"kl_weight": 1.0, "schedule": "constant", "schedule_epochs": 10}
    mmd = {"_target_": "vaelab.losses.regularisers.MMD", "kernel": "imq", **own}
    parts = {
        "kl": {"_target_": "vaelab.losses.regularisers.KL", "free_bits": None, **own},
        "weak": mmd | {"weight": 10.0},
        "strong": mmd | {"weight": 99.0},
    }
    loss = {"_target_": "vaelab.losses.ELBO", "reduction": "sum"}
    likelihood = {"_target_": "vaelab.losses.likelihoods.Bernoulli"}
    for name, regulariser in parts.items():
        run(name, 1.0, loss=loss, likelihood=likelihood, regulariser=regulariser)
    found = section(tmp_path / "outputs")
    assert {line.label for line in found.lines} == {
        "conv_vae regulariser=kl",
        "conv_vae regulariser=mmd regulariser.weight=10.0",
        "conv_vae regulariser=mmd regulariser.weight=99.0",
    }


def test_the_epoch_whose_weights_are_kept_is_marked(run: Make, tmp_path: Path) -> None:
    run("last", 1.0, trainer={"keep": "last"}, info={"training": {"weights_of_epoch": 2}})
    run("best", 5.0, trainer={"keep": "best", "ema": 0.99}, info={"training": {"weights_of_epoch": 1}})
    found = section(tmp_path / "outputs")
    for column, value in (("loss", 100.0), ("elbo", 100.0)):
        figure = charts.learning_curve(found, Quantity(column, "title", sign=-1 if column == "elbo" else 1))
        assert figure
        (star,) = [t for t in figure.traces if t["name"].endswith("(kept)")]
        assert (star["meta"], star["x"], star["y"], star["customdata"]) == ("best", [1.0], [value], [3.0])
    facts = {r.name: details.details(r)["facts"].get("weights") for r in found.records}
    assert facts == {
        "last": None,
        "best": "of epoch 1, whose validation was the best; a moving average (decay 0.99)",
    }


def test_a_run_says_by_what_it_was_checked_if_it_was(run: Make, tmp_path: Path) -> None:
    verified = {
        "by": "scikit-image 0.26.0",
        "images": 128,
        "largest_difference": {"psnr": 1.25e-6, "kl": 0.5},
    }
    odd = {"by": ["\x1b[31m"], "largest_difference": "none"}
    run("older", 1.0)
    run("checked", 1.0, info={"verified": verified})
    run("odd", 1.0, info={"verified": odd})
    run("no table", 1.0, info={"verified": "yes"})
    found = section(tmp_path / "outputs")
    facts = {r.name: details.details(r)["facts"].get("checked with") for r in found.records}
    assert facts["checked"] == (
        "scikit-image 0.26.0, 128 test images; largest difference: psnr 1.25e-06, kl 0.5"
    )
    assert facts["older"] is facts["no table"] is None
    assert "\x1b" not in facts["odd"]


def test_the_best_epochs_are_said_where_they_are_neither_the_fewest_nor_the_most(
    run: Make, tmp_path: Path
) -> None:
    for epochs, psnr in ((5, 20.0), (10, 24.0), (15, 23.0)):
        run(f"epochs={epochs}", None, epochs=epochs, metrics={"psnr": psnr})
    assert comparisons.effect_of_epochs(section(tmp_path / "outputs")) == [
        "conv_ae: PSNR is 20.00 dB after 5 epochs and 23.00 dB after 15 epochs; the best is 24.00 dB after 10 epochs."
    ]


def test_who_suffers_most_from_noise_is_said(run: Make, tmp_path: Path) -> None:
    vae = measured(-120.0, 30.0, 22.0, 0.96) | OF_NOISE
    for name in ("vae", "vae-2"):  # made again, with the same result
        run(name, 1.0, metrics=vae, stored=noisy(5.0, NOISE))
    assert noise.sentences(section(tmp_path / "outputs")) == ["The noise was the same for all of them."]
    worse, worst = ({"psnr": 25.0} | OF_NOISE | {"perturbed_psnr": psnr} for psnr in (11.0, 5.0))
    run("ae", None, metrics=worse, stored=noisy(-1.0, NOISE))
    run("other", None, lr=1, metrics=worst, stored=noisy(-1.0, NOISE[:1]))  # of other images
    asked = {"noise_perturbation": {"sigma": 9.0}}
    run("strong", None, lr=2, metrics=worst, stored=noisy(-1.0, NOISE), evaluation=asked)
    assert noise.sentences(section(tmp_path / "outputs"))[:1] == [
        "Decoded from their codes and noise, images stay nearest to the originals for conv_vae · λ = 1 · seed"
        " 0 (PSNR 16.50 dB) and go farthest for conv_ae lr=None (11.00 dB)."
    ]


def test_models_of_one_weight_are_told_apart_by_colour(run: Make, tmp_path: Path) -> None:
    for lr in (1, 2):
        run(f"vae-{lr}", 1.0, lr=lr)
        run(f"ae-{lr}", None, lr=lr)
    shades = chart.colours(section(tmp_path / "outputs"))
    assert len(set(shades.values())) == 4
    for lr in (1, 2):  # now λ is what is looked at, so that it has the colours
        run(f"vae-{lr}-5", 5.0, lr=lr)
    shades = chart.colours(section(tmp_path / "outputs"))
    assert shades["vae-1"] == shades["vae-2"] != shades["vae-1-5"] == shades["vae-2-5"]
    assert len(set(shades.values())) == 4


def test_what_was_reported_in_words_is_there_once(run: Make, tmp_path: Path) -> None:
    told = [
        {"finding": "All is <b>blurred</b>", "source": "report B"},
        {"finding": 3},
        {"finding": "Nothing"},
    ]
    for weight in (1.0, 100.0):
        run(f"vae-{weight:g}", weight, reported=told)
    assert comparisons.findings(section(tmp_path / "outputs")) == [
        "All is <b>blurred</b> (report B)",
        "Nothing",
    ]
    assert not comparisons.reported_values(collection(tmp_path / "outputs"))
    assert text_of(tmp_path / "outputs").count("All is <b>blurred</b> (report B)") == 1
    assert "**What was reported**\n\n- All is" in (tmp_path / "outputs/report/report.md").read_text()
