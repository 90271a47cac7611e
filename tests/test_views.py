"""What a report shows of arrays is declared beside the code, kept in run.json, and read from others with care."""

import json
from pathlib import Path

import pytest
import yaml

from vaelab import config, evaluations, views
from vaelab.views import Bars, Grid, Rows, of_run, read, stored

CLASSES = {cls.__name__: cls for cls in evaluations.BUILDABLE}
BY_NAME = {
    file.stem: CLASSES[target.rpartition(".")[2]]
    for file in sorted(Path(config.CONF, "evaluation").glob("*.yaml"))
    if (target := (yaml.safe_load(file.read_text()) or {}).get("_target_"))
}


def test_older_runs_have_the_views_that_the_code_declares() -> None:
    assert of_run({}) == {name: views.of(cls) for name, cls in BY_NAME.items() if views.of(cls)}
    assert list(of_run({}))[:3] == ["reconstructions", "prior_samples", "interpolations"]


def test_what_run_json_says_is_what_was_declared() -> None:
    told = json.loads(json.dumps(stored(BY_NAME)))
    assert of_run({"views": told}) == of_run({})
    assert told["class_pairs"] == [
        {
            "kind": "rows",
            "title": "The same noise as each class",
            "images": "image",
            "rows": "{label}",
            "columns": "noise {number}",
        }
    ]


def test_every_kind_is_kept() -> None:
    declared = (
        Rows("a", "image", key=("index",), columns_first=True),
        Bars("b", "kl", unit="nats"),
        Grid("c", "table", x="unit"),
    )

    class Mine:
        views = declared

    assert read(json.loads(json.dumps(stored({"mine": Mine()})))) == {"mine": declared}


@pytest.mark.parametrize(
    "given",
    [
        5,
        {"kind": "rows", "title": "a"},
        {"kind": "rows", "title": 5, "images": "image"},
        {"kind": "rows", "title": "a", "images": "image", "key": [5]},
        {"kind": "rows", "title": "a" * 1000, "images": "image"},
        {"kind": "film", "title": "a", "images": "image"},
        {"kind": "grid", "title": "a", "values": "b", "x": None},
    ],
)
def test_what_is_no_view_is_left_out(given: object) -> None:
    good = {"kind": "bars", "title": "a", "values": "b", "what": "is not known"}
    assert read({"x": [given, good], "y": "no list"}) == {"x": (Bars("a", "b"),)}
    assert read({"../x": [good], "/etc/x": [good], "": [good], 5: [good]}) == {}
