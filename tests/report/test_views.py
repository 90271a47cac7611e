"""Views of evaluations that the report has never heard of: rows of images, bars, grids."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.report.conftest import Make, arrays
from vaelab.report import rows, views
from vaelab.report.reading import collect
from vaelab.report.records import Section

SIDE = (8, 8, 1)


def section(folder: Path) -> Section:
    return collect(str(folder), folder / "report").sections[0]


def made(run: Make, name: str, weight: float, declared: list[dict[str, Any]], mine: dict[str, Any]) -> None:
    stored = arrays(0, 0.5, np.ones(4)) | {"mine": mine}
    run(name, weight, info={"views": {"mine": declared}}, stored=stored)


def test_rows_with_a_key_are_compared_and_differences_are_drawn(run: Make, tmp_path: Path) -> None:
    declared = [
        {
            "kind": "rows", "title": "Mine", "images": "made", "columns": "image {index}, {score} dB",
            "above": "given", "above_title": "given", "key": ["index"],
        }
    ]  # fmt: skip
    for weight, value in ((0.0, 0.25), (1.0, 0.75)):
        mine = {
            "made": np.full((3, *SIDE), value, np.float32),
            "given": np.zeros((3, *SIDE), np.float32),
            "index": np.array([7, 8, 9]),
            "score": np.array([1.5, 2.5, 3.5]),
        }
        made(run, f"kl_weight={weight:g}", weight, declared, mine)
    found = section(tmp_path / "outputs")
    every = [rows.comparable_rows(found, 1.0, record) for record in found.records]
    own, error, to_best = (m for m in rows.matrices(found, 1.0, every) if m.id.startswith("mine"))
    assert [strip.label for strip in own.strips] == ["given", "λ = 0", "λ = 1"]
    assert own.strips[1].columns == ("image 7, 1.5 dB", "image 8, 2.5 dB", "image 9, 3.5 dB")
    assert [int(strip.images.mean()) for strip in own.strips] == [0, 64, 191]
    # 0.25 and 0.75 from what stands above, and 0.5 from each other, each matrix made bright by one factor.
    assert error.title == "|x − x̂|"
    assert [int(strip.images.mean()) for strip in error.strips] == [0, 64, 191]
    assert to_best.title.startswith("difference to λ = ")
    assert int(to_best.strips[1].images.mean()) == pytest.approx(2 * 127, abs=2)
    assert to_best.title.endswith("2 times as bright")


def test_rows_without_a_key_stand_for_themselves(run: Make, tmp_path: Path) -> None:
    declared = [
        {
            "kind": "rows", "title": "Mine", "images": "made", "rows": "{label}{: size}",
            "columns": "t = {t}",
        }
    ]  # fmt: skip
    mine = {"made": np.zeros((2, 3, *SIDE), np.float32), "label": np.array([1, 0])}
    made(run, "one", 1.0, declared, mine)
    found = section(tmp_path / "outputs")
    (matrix,) = rows.gallery(found, 1.0, found.records[0]).matrices
    assert [strip.label for strip in matrix.strips] == ["one", "zero"]
    assert matrix.strips[0].columns == ("t = 0", "t = 0.5", "t = 1")


def test_earlier_epochs_are_frames_of_the_same_rows(run: Make, tmp_path: Path) -> None:
    folder = run("one", 1.0)
    with np.load(folder / "arrays" / "reconstructions.npz") as stored:
        now = dict(stored)
    (folder / "arrays" / "reconstructions").mkdir()
    for epoch, value in ((1, 0.0), (10, 1.0)):
        earlier = now | {"reconstruction": np.full_like(now["reconstruction"], value)}
        np.savez(folder / "arrays" / "reconstructions" / f"epoch_{epoch:04d}.npz", **earlier)
    found = section(tmp_path / "outputs")
    matrix = next(rows.matrices(found, 1.0, [rows.comparable_rows(found, 1.0, found.records[0])]))
    assert [(when, int(frame.strips[1].images.mean())) for when, frame in matrix.frames] == [
        ("epoch 1", 0),
        ("epoch 10", 255),
    ]


def test_bars_and_grids_are_charts(run: Make, tmp_path: Path) -> None:
    declared = [
        {"kind": "bars", "title": "Shares", "values": "share", "x": "vector"},
        {"kind": "grid", "title": "Correlations", "values": "table"},
    ]
    for weight in (0.0, 1.0):
        mine = {"share": np.array([0.25, weight]), "table": np.array([[1.0, weight], [np.nan, 1.0]])}
        made(run, f"kl_weight={weight:g}", weight, declared, mine)
    drawn = {one.name: (one.label, one.chart) for one in views.drawings(section(tmp_path / "outputs"))}
    assert list(drawn) == ["view-mine-0", "view-mine-1-0", "view-mine-1-1"]
    title, chart = drawn["view-mine-0"]
    assert title == "Shares"
    assert [trace["y"] for trace in chart.traces] == [[0.25, 0.0], [0.25, 1.0]]
    title, chart = drawn["view-mine-1-1"]
    assert title == "Correlations: λ = 1"
    assert chart.traces[0]["z"] == [[1.0, 1.0], [None, 1.0]]


@pytest.mark.parametrize(
    "made_of",
    [
        np.zeros((3, 8, 8), np.float32),
        np.zeros((3, 8, 8, 2), np.float32),
        np.array(["text"]),
    ],
)
def test_arrays_that_are_no_images_are_damage(made_of: np.ndarray, run: Make, tmp_path: Path) -> None:
    declared = [{"kind": "rows", "title": "Mine", "images": "made", "key": ["index"]}]
    made(run, "one", 1.0, declared, {"made": made_of, "index": np.arange(3)})
    found = section(tmp_path / "outputs")
    assert all("mine" not in one.id for one in rows.comparable_rows(found, 1.0, found.records[0]))
    assert any("arrays/mine.npz is damaged" in problem for problem in found.records[0].problems)
    json.dumps(found.records[0].problems)


@pytest.mark.parametrize(
    ("changes", "arrays_of"),
    [
        ({"columns": "{label}"}, {"label": np.zeros((3, 3), int)}),
        ({"columns": "{foo}"}, {"foo": np.array(5)}),
        ({"columns": "{foo}"}, {"foo": np.zeros(1)}),
        ({"above": "index"}, {}),
        ({"beside": "index"}, {}),
        ({"key": ["foo"]}, {"foo": np.array(5)}),
        ({"images": "index"}, {}),
        (
            {"images": "five", "key": ["foo"]},
            {"five": np.zeros((4, 3, *SIDE), np.float32), "foo": np.zeros(1)},
        ),
        ({"images": "five", "columns_first": True}, {"five": np.zeros((3, 4, *SIDE), np.float32)}),
        ({"key": []}, {}),
    ],
)
def test_whatever_a_view_says_the_other_runs_are_reported(
    changes: dict[str, Any], arrays_of: dict[str, Any], run: Make, tmp_path: Path
) -> None:
    declared = [{"kind": "rows", "title": "Mine", "images": "made", "key": ["index"], **changes}]
    mine = {"made": np.zeros((3, *SIDE), np.float32), "index": np.arange(3)} | arrays_of
    made(run, "odd", 1.0, declared, mine)
    run("kl_weight=5", 5.0)
    found = section(tmp_path / "outputs")
    every = [rows.comparable_rows(found, 1.0, record) for record in found.records]
    assert "reconstructions" in [matrix.id for matrix in rows.matrices(found, 1.0, every)]
    for record in found.records:
        rows.gallery(found, 1.0, record)
    list(views.drawings(found))


def test_a_name_of_a_built_in_evaluation_may_show_arrays_of_its_own(run: Make, tmp_path: Path) -> None:
    declared = [{"kind": "rows", "title": "Mine", "images": "mine", "key": ["index"]}]
    stored = arrays(0, 0.5, np.ones(4))
    stored["samples"] = {"mine": np.zeros((3, *SIDE), np.float32), "index": np.arange(3)}
    run("one", 1.0, info={"views": {"samples": declared}}, stored=stored)
    found = section(tmp_path / "outputs")
    assert "samples" in [one.id for one in rows.comparable_rows(found, 1.0, found.records[0])]
    assert rows.gallery(found, 1.0, found.records[0]).matrices == ()
    assert found.records[0].problems == []


def test_groups_of_rows_have_frames_and_few_of_many_epochs(run: Make, tmp_path: Path) -> None:
    declared = [{"kind": "rows", "title": "Mine", "images": "made", "key": ["index"]}]
    mine = {"made": np.zeros((2, 3, *SIDE), np.float32), "index": np.arange(2)}
    made(run, "one", 1.0, declared, mine)
    folder = tmp_path / "outputs" / "one" / "arrays" / "mine"
    folder.mkdir()
    for epoch in range(1, 61):
        np.savez(folder / f"epoch_{epoch:04d}.npz", **mine)
    found = section(tmp_path / "outputs")
    every = [rows.comparable_rows(found, 1.0, found.records[0])]
    first, second = (m for m in rows.matrices(found, 1.0, every) if m.id.startswith("mine"))
    assert [first.id, second.id] == ["mine-0", "mine-1"]
    assert [when for when, _ in second.frames] == [f"epoch {n}" for n in (1, 9, 18, 26, 35, 43, 52, 60)]


def test_views_of_two_runs_at_one_place_are_both_shown(run: Make, tmp_path: Path) -> None:
    bars = {"kind": "bars", "title": "Shares", "values": "share"}
    grid = {"kind": "grid", "title": "Table", "values": "table"}
    made(run, "kl_weight=0", 0.0, [bars], {"share": np.ones(2)})
    made(run, "kl_weight=1", 1.0, [grid], {"table": np.ones((2, 2))})
    titles = [one.label for one in views.drawings(section(tmp_path / "outputs"))]
    assert titles == ["Shares", "Table: λ = 1"]
