"""What the page is told: plain values that JSON can carry, for each kind of network, and files of what is shown."""

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vaelab import UsageError
from vaelab.explore.answers import MOST_UPLOADS, NEIGHBOURS, SIDE, STEPS, Answers

from .conftest import Make, any_weight, fc_vae

DATUM = {"source": {"kind": "data", "place": 3}, "label": None}
PRIOR = {"source": {"kind": "prior", "seed": 7}, "label": None}


def asked(**values: Any) -> dict[str, Any]:
    return {"line": 0, "weight": 0.5, "recipe": DATUM, "axes": [3, 1], "dims": [0, 3], **values}


def square(size: int = 20) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (size, size), "white").save(stream, "PNG")
    return stream.getvalue()


def test_all_answers_are_json(explorer: Make) -> None:
    answers = Answers([explorer(fc_vae(0), fc_vae(1))], ["a run is left out"])
    between = {"between": [DATUM, PRIOR], "t": 0.5}
    told = {
        name: json.loads(json.dumps(getattr(answers, name)(asked(**more)), allow_nan=False))
        for name, more in {
            "state": {},
            "line": {},
            "units": {},
            "show": {},
            "plane": {"row": 2},
            "every": {},
            "way": {"recipe": between},
            "neighbours": {},
            "datum": {"place": 3},
        }.items()
    }
    assert told["state"]["remarks"] == ["a run is left out"]
    assert told["line"]["weights"] == [0.5, 1.5]
    assert told["line"]["classes"] == []  # the network is told none
    units = told["units"]["units"]
    information = [unit["information"] for unit in units]
    assert information == sorted(information, reverse=True)
    assert units[-1]["dim"] == 0
    assert told["units"]["active"] == 4
    assert set(told["show"]) == {"image", "values", "original", "psnr", "bits"}
    assert set(told["show"]["values"]) == {"0", "3"}
    assert [found["kl_weight"] for found in told["every"]["pictures"]] == [0.5, 1.5]
    assert len(told["way"]["images"]) == STEPS
    assert len(told["neighbours"]["neighbours"]) == NEIGHBOURS
    shown = answers.show(asked(recipe=PRIOR))
    assert set(shown) == {"image", "values"}


def test_a_network_of_any_weight_has_a_slider_without_steps(explorer: Make) -> None:
    answers = Answers([explorer(any_weight(), weights=(None,))], [])
    line = answers.line(asked())
    assert line["bounds"] == (0.1, 10.0)
    assert len(answers.every(asked())["pictures"]) == len(line["weights"]) == 7
    shown = [answers.show(asked(weight=weight))["image"] for weight in (0.3, 0.31, 0.3)]
    assert shown[0] == shown[2] != shown[1]


def test_a_dropped_picture_is_kept_for_a_while(explorer: Make) -> None:
    answers = Answers([explorer(fc_vae())], [])
    taken = answers.take("a.png", square())
    upload = {"source": {"kind": "upload", "key": taken["key"]}, "label": None}
    assert taken["frames"] == 1
    assert answers.show(asked(recipe=upload))["bits"] > 0
    for _ in range(MOST_UPLOADS):
        answers.take("b.png", square(9))
    other = {**upload, "label": 1}  # whose code is not known yet
    with pytest.raises(UsageError, match="that picture is no longer kept"):
        answers.show(asked(recipe=other))


@pytest.mark.parametrize(
    ("what", "recipe", "count", "beside"),
    [
        ("picture", DATUM, 1, {"z", "kl", "kl_weight"}),
        ("plane", DATUM, SIDE**2, {"dims", "kl_weight"}),
        ("every_weight", DATUM, 3, {"kl_weight", "psnr", "bits"}),
        ("every_weight", PRIOR, 2, {"kl_weight"}),
        ("way", {"between": [DATUM, PRIOR], "t": 0}, 24, {"t", "kl_weight"}),
    ],
)
def test_files_hold_what_is_shown(
    explorer: Make, what: str, recipe: Any, count: int, beside: set[str]
) -> None:
    answers = Answers([explorer(fc_vae(0), fc_vae(1))], [])
    content, name = answers.save(asked(what=what, kind="npz", recipe=recipe))
    assert name == f"{what}.npz"
    with np.load(io.BytesIO(content)) as arrays:
        assert arrays["image"].shape == (count, 16, 16, 1)
        assert set(arrays) == {"image", *beside}
    for kind in ("png", "gif"):
        content, name = answers.save(asked(what=what, kind=kind, recipe=recipe))
        with Image.open(io.BytesIO(content)) as picture:
            assert picture.format == kind.upper()
            assert min(picture.size) >= 256
