"""Sentences say what the numbers say, and nothing where there are none."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vaelab.report import answers, caveats
from vaelab.report.reading import collect
from vaelab.report.records import Collection

from .conftest import Make, arrays, measured


def read(folder: Path) -> Collection:
    return collect(str(folder), folder / "report")


def paragraph(folder: Path, line: int = 0) -> list[str]:
    return answers.paragraph(read(folder).sections[0].lines[line])


def test_sentences_of_a_sweep(sweep: Path) -> None:
    assert paragraph(sweep) == [
        "λ = 1 has the best ELBO: −ELBO is 120.00 nats per image on 1,234 test images; next is λ = 100 with 330.00.",
        "The best PSNR is that of λ = 0 (25.00 dB), the best SSIM that of λ = 1 (0.960).",
        "From λ = 0 to λ = 100 the rate (KL) goes from 300.00 to 0.001 nats and PSNR from 25.00 to 9.00 dB.",
        "λ = 0: 4 of 4 units active (KL 300.00 nats).",
        "λ = 1: 3 of 4 units active (KL 30.00 nats).",
        "λ = 100: 0 of 4 units active (KL 0.001 nats): the posterior has collapsed.",
        "λ = 0 costs 280.00 nats of ELBO against λ = 1: nothing holds its KL down, which is 300.00 nats.",
        "At λ = 0 the codes of test images have a standard deviation of 2.00 per dimension, where the prior has 1,"
        " so samples of the prior are not like them.",
    ]
    assert paragraph(sweep, 1) == [
        "PSNR 26.50 dB, SSIM 0.970, reconstruction 85.00 nats per image.",
    ]
    assert answers.across_lines(read(sweep).sections[0]) == [
        "An autoencoder has no KL term, so no rate, no ELBO and no prior: its samples are of a Gaussian fitted to its"
        " codes.",
        "PSNR: conv_ae reaches 26.50 dB, 1.50 dB more than the best VAE (conv_vae · λ = 0: 25.00 dB).",
        "SSIM: conv_ae reaches 0.970, 0.010 more than the best VAE (conv_vae · λ = 1: 0.960).",
    ]


def test_seeds_are_averaged_and_their_spread_is_said(run: Make, tmp_path: Path) -> None:
    for seed, elbo in enumerate((-100.0, -104.0)):
        run(f"one-{seed}", 1.0, seed=seed, metrics=measured(elbo, 10.0, 20.0, 0.5))
        run(f"five-{seed}", 5.0, seed=seed, metrics=measured(elbo - 1, 5.0, 20.0, 0.5))
    first = paragraph(tmp_path / "outputs")[0]
    assert "−ELBO is 102.00 nats per image on 1,234 test images (± 2.83 over 2 seeds)" in first
    assert first.endswith("next is λ = 5 with 103.00, which is within the spread of the runs.")


def test_samples_are_compared_by_their_distance_to_test_images(run: Make, tmp_path: Path) -> None:
    kl = np.ones(4, np.float32)
    for name, weight, elbo, value in (("zero", 0.0, -200.0, 0.5), ("one", 1.0, -100.0, 1.0)):
        stored = arrays(0, value, kl)
        stored["atlas"]["original"] = np.stack([np.zeros((8, 8, 1)), np.full((8, 8, 1), 0.7)]).astype(
            np.float32
        )
        stored["prior_samples"]["aggregate_image"] = stored["prior_samples"]["image"] * 0 + np.float32(0.7)
        run(name, weight, metrics=measured(elbo, 10.0, 20.0, 0.5), stored=stored)
    last = paragraph(tmp_path / "outputs")[-1]
    # Nearest to 0.5 and to 1 is 0.7: squared 0.04 and 0.09.
    assert last == (
        "Mean squared error per pixel between a prior sample and the nearest test image (of those in the map):"
        " 0.0400 at λ = 0, 0.0000 there for samples of a Gaussian fitted to the aggregate posterior, 0.0900 at λ = 1."
    )


def test_one_run_compares_with_nothing(run: Make, tmp_path: Path) -> None:
    run("one", 1.0, metrics=measured(-120.0, 30.0, 22.0, 0.96, 3))
    assert paragraph(tmp_path / "outputs") == [
        "λ = 1: −ELBO is 120.00 nats per image on 1,234 test images.",
        "Its reconstructions have a PSNR of 22.00 dB and an SSIM of 0.960.",
        "λ = 1: 3 of 4 units active (KL 30.00 nats).",
    ]


def test_unfinished_runs_support_no_sentence(run: Make, tmp_path: Path) -> None:
    run("one", 1.0, status="running")
    assert paragraph(tmp_path / "outputs") == [
        "No run of this model is done yet, so there is nothing to compare."
    ]


def test_images_too_small_for_ssim_have_no_sentence_on_it(run: Make, tmp_path: Path) -> None:
    for name, weight in (("one", 1.0), ("five", 5.0)):
        run(
            name,
            weight,
            metrics={"psnr": 20.0 - weight, "elbo": -100.0 - weight, "kl": 1.0, "reconstruction": 99.0},
        )
    assert not any("SSIM" in sentence for sentence in paragraph(tmp_path / "outputs"))


def test_runs_that_learn_from_fewer_images_compare(sweep: Path, run: Make) -> None:
    run("vae/few", 2.0, dataset={"sizes": {"train": 8, "val": 10, "test": 1234}}, train_images=8)
    collection = read(sweep)
    (section,) = collection.sections
    assert not [words for words in caveats.warnings(collection, section) if "split sizes" in words]
    assert section.sizes == "8–80 train, 10 val, 1,234 test"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"dataset": {"sizes": {"train": 1, "test": 2}}},
            "Runs of different split sizes (val 10, test 1234:",
        ),
        (
            {"loss__likelihood": "gaussian"},
            "(bernoulli: conv_vae likelihood=bernoulli",
        ),
        ({"loss__reduction": "mean"}, "Because of these conventions β_eff is plotted instead of λ"),
        ({"epochs": 7}, "did not train for the same time"),
        ({"info": {"versions": {"vaelab": "9"}}}, "Runs of different vaelab version (0.1.0: "),
    ],
)
def test_what_does_not_compare_is_said(
    changes: dict[str, object], words: str, sweep: Path, run: Make
) -> None:
    before = read(sweep)
    assert caveats.warnings(before, before.sections[0]) == []
    run("vae/odd", 2.0, **changes)
    after = read(sweep)
    assert any(words in warning for warning in caveats.warnings(after, after.sections[0]))


def test_two_versions_of_a_data_set_are_said(sweep: Path, run: Make) -> None:
    run("vae/odd", 2.0, dataset={"fingerprint": "def"})
    collection = read(sweep)
    for section, other in zip(collection.sections, ("def", "abc"), strict=True):
        assert f"others have {other}" in caveats.warnings(collection, section)[0]


def test_runs_of_one_seed_are_not_called_seeds(run: Make, tmp_path: Path) -> None:
    for name, elbo in (("one", -100.0), ("one-2", -104.0)):
        run(name, 1.0, metrics=measured(elbo, 30.0, 22.0, 0.96))
    assert "(± 2.83 over 2 runs)" in paragraph(tmp_path / "outputs")[0]


def test_different_epochs_need_no_warning_where_they_are_what_is_compared(run: Make, tmp_path: Path) -> None:
    def warnings() -> str:
        found = read(tmp_path / "outputs")
        return " ".join(caveats.warnings(found, found.sections[0]))

    run("vae", 1.0, epochs=10)
    run("ae", None, epochs=20)
    assert "did not train for the same time" in warnings()
    run("ae-10", None, epochs=10)
    assert "did not train for the same time" in warnings()  # the VAE has no run of 20
    run("vae-20", 1.0, epochs=20)
    assert warnings() == ""


def test_what_a_table_says_of_sizes_or_epochs_is_not_said_again(run: Make, tmp_path: Path) -> None:
    for epochs in (10, 20):
        run(f"ae-{epochs}", None, epochs=epochs)
    (section,) = read(tmp_path / "outputs").sections
    assert answers.paragraphs(section) == []
    found = {"diversity": ["mode collapse: the samples are all alike"]}
    run("ae-30", None, epochs=30, info={"findings": found})
    (section,) = read(tmp_path / "outputs").sections
    assert answers.paragraphs(section) == [
        ("conv_ae epochs=30", ["Mode collapse: the samples are all alike."])
    ]


def losses(train: list[float], val: list[float]) -> list[dict[str, Any]]:
    return [
        {"epoch": epoch + 1, "step": epoch + 1, "split": split, "kl_weight": 1.0, "loss": values[epoch]}
        for epoch in range(len(val))
        for split, values in (("train", train), ("val", val))
    ]


FALLING = [9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0]


@pytest.mark.parametrize(
    ("train", "val", "is_said"),
    [
        (FALLING, [9.0, 8.0, 7.0, 7.2, 7.4, 7.6, 7.8, 8.0], True),
        (FALLING, [9.0, 8.0, 7.0, 7.2, 7.4, 7.6, 7.01, 8.0], False),  # as low again
        (FALLING, [9.0, 8.0, 7.9, 7.8, 7.6, 7.5, 7.0, 8.0], False),  # only just
        (FALLING[:2] + [2.0] * 6, [9.0, 8.0, 7.0, 7.2, 7.4, 7.6, 7.8, 8.0], False),  # both have stopped
        (FALLING[:3], [7.0, 8.0, 9.0], False),  # too few to say
    ],
)
def test_a_validation_loss_that_rises_while_the_other_falls_is_said(
    train: list[float], val: list[float], is_said: bool, run: Make, tmp_path: Path
) -> None:
    run("one", 1.0, rows=losses(train, val), epochs=len(val))
    words = (
        "The validation loss was lowest after epoch 3 of 8 (7; 8 at the end) while the training loss still fell: a sign"
        " of overfitting."
    )
    assert (words in paragraph(tmp_path / "outputs")) == is_said
    run("five", 5.0, rows=losses(train, val), epochs=len(val))
    assert (f"λ = 5: {words[0].lower()}{words[1:]}" in paragraph(tmp_path / "outputs")) == is_said
