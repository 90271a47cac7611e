"""What numbers are called is declared beside the code, kept in run.json, and read from what others wrote with care."""

import json
from itertools import chain

import pytest

from vaelab import evaluations, losses, metrics, quantities
from vaelab.losses.elbo import ELBO_TERM, KL_TERM
from vaelab.quantities import LEARNING_RATE, SECONDS, SKIPPED, WEIGHT, Quantity, of_run, read, stored


def declared() -> dict[str, Quantity]:
    """All that versions without quantities could have had."""
    parts = [losses.Adversarial, *losses.regularisers.BUILDABLE, *evaluations.BUILDABLE]
    own = chain.from_iterable(getattr(part, "quantities", ()) for part in parts)
    common = (
        losses.base.LOSS,
        losses.base.RECONSTRUCTION,
        ELBO_TERM,
        KL_TERM,
        WEIGHT,
        SKIPPED,
        LEARNING_RATE,
        SECONDS,
    )
    return {one.name: one for one in (*own, *common)}


def test_older_runs_have_the_quantities_that_the_code_declares() -> None:
    assert of_run({}) == declared()
    assert list(of_run({}))[:4] == ["loss", "elbo", "reconstruction", "kl"]


def test_what_run_json_says_is_what_was_declared() -> None:
    told = json.loads(json.dumps(stored(declared().values())))
    assert of_run({"quantities": told}) == declared()
    assert told["kl"] == {"title": "KL", "unit": "nats per image", "digits": 2, "shown": "always"}


def test_each_number_is_declared_once() -> None:
    parts = [*losses.regularisers.BUILDABLE, *evaluations.BUILDABLE]
    found: dict[str, Quantity] = {}
    for part in parts:
        for one in getattr(part, "quantities", ()):
            assert found.setdefault(one.name, one) == one
    assert metrics.PSNR in found.values()


@pytest.mark.parametrize(
    "given",
    [
        5,
        {"unit": "dB"},
        {"title": 7},
        ["title"],
    ],
)
def test_what_is_no_quantity_is_left_out(given: object) -> None:
    assert read({"x": given, "psnr": {"title": "PSNR"}}) == {"psnr": Quantity("psnr", "PSNR")}


@pytest.mark.parametrize(
    "given",
    [
        {"digits": 10**9},
        {"digits": True},
        {"digits": "2"},
        {"better": "sideways"},
        {"sign": -1.5},
        {"sign": True},
        {"shown": ["always"]},
        {"unit": "x" * 1000},
        {"is_setting": "yes"},
        {"name": "other"},
        {"nothing": 1},
    ],
)
def test_a_value_that_is_none_is_the_default(given: dict[str, object]) -> None:
    assert read({"x": {"title": "X", **given}}) == {"x": Quantity("x", "X")}


def test_numbers_are_written_as_they_are_read() -> None:
    psnr = metrics.PSNR
    assert [psnr.written(v) for v in (21.4567, 1234.5, 0.001, 0, float("nan"), None, "lost", True)] == [
        *("21.46", "1,234.50", "0.001", "0.00", "–", "–", "lost", "True"),
    ]
    assert Quantity("x", "X").written(0.123456) == "0.1235"
    assert quantities.called("my_own_number", {}).heading == "my own number"
    assert (psnr.heading, psnr.short_heading) == ("PSNR (dB)", "PSNR (dB)")
    tc = losses.regularisers.TC.quantities[1]
    assert tc.short_heading == "mutual information of image and code (nats)"
    assert tc.lines(30) == ["mutual information of image", "and code", "(nats per image)"]
