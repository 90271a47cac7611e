"""Whatever a run folder of another's holds: it is named in one line within bounds, and the others are reported."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from vaelab import UsageError, files
from vaelab.report import reading
from vaelab.report.reading import collect
from vaelab.report.records import Collection
from vaelab.runs import checksums, history

from .conftest import Make, measured
from .test_report import written

Damage = Callable[[Path], object]


def read(folder: Path) -> Collection:
    return collect(str(folder), folder / "report")


def text_in(name: str, text: str) -> Damage:
    return lambda folder: (folder / name).write_text(text)


def keys_in(name: str, **keys: object) -> Damage:
    def change(folder: Path) -> None:
        values = yaml.safe_load((folder / name).read_text())  # which reads JSON, too
        (folder / name).write_text(json.dumps(values | keys))

    return change


def link_to(target: str, name: str) -> Damage:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(target)

    return change


def pipe(folder: Path) -> None:
    (folder / "run.json").unlink()
    os.mkfifo(folder / "run.json")


def change_after_sealing(name: str) -> Damage:
    def change(folder: Path) -> None:
        info = json.loads((folder / "run.json").read_text())
        sums = {"config.yaml": files.digest(folder / "config.yaml")}
        (folder / "run.json").write_text(json.dumps(checksums.sealed(info | {"checksums": sums})))
        text = (folder / name).read_text()
        (folder / name).write_text(text.replace("seconds", "Seconds").replace("epochs: 2", "epochs: 3"))

    return change


BOMB = "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (text_in("config.yaml", f"a0: &a0 x\n{BOMB}\n"), "config.yaml is refused"),
        (text_in("config.yaml", "a: &a {b: *a}\n"), "config.yaml is refused"),
        (text_in("config.yaml", "a: " + "[" * 100_000), "config.yaml is refused"),
        (text_in("run.json", '{"a":' * 100_000), "run.json is damaged"),
        (text_in("run.json", "9" * 9_000_000), "run.json is refused"),
        (text_in("run.json", "[]"), "it holds no keys"),
        (keys_in("config.yaml", **{f"key{n}": 1 for n in range(3000)}), "more than 2,000 keys"),
        (keys_in("config.yaml", loss={"_target_": "a.ELBO", "kl_weight": "much"}), "kl_weight is no number"),
        (keys_in("config.yaml", model=["a"]), "model._target_ is missing"),
        (keys_in("run.json", dataset=None), "dataset.name is missing"),
        (pipe, "is not a regular file"),
        (link_to("/dev/zero", "run.json"), "is not a regular file"),
        (link_to("nowhere", "config.yaml"), "has no config.yaml"),
        (change_after_sealing("run.json"), "was changed or damaged after it was written: delete it"),
        (change_after_sealing("config.yaml"), "was changed or damaged after it was written: put it back"),
    ],
)
def test_a_folder_that_is_damaged_or_a_bomb_is_named_and_left_out(
    damage: Damage, words: str, sweep: Path
) -> None:
    damage(sweep / "vae" / "one")
    collection = read(sweep)
    ((name, reason),) = collection.refused
    assert name == "vae/one"
    assert words in reason
    assert len(reason.splitlines()) == 1
    assert {record.name for record in collection.records} == {"vae/zero", "vae/hundred", "ae/default"}


@pytest.mark.parametrize(
    "error", [RecursionError, MemoryError, AttributeError("x"), OSError(5, "no disk", "f")]
)
def test_whatever_goes_wrong_with_one_folder_ends_nothing(
    error: Exception, sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(folder: Path, *_: object) -> None:
        if folder.name == "one":
            raise error

    monkeypatch.setattr(reading, "_check", fail)
    collection = read(sweep)
    ((name, reason),) = collection.refused
    assert (name, len(reason.splitlines()), len(collection.records)) == ("vae/one", 1, 3)
    assert "Error" not in reason


def test_where_no_folder_can_be_read_one_line_says_why(sweep: Path) -> None:
    for file in sweep.rglob("run.json"):
        file.write_text("{")
    with pytest.raises(
        UsageError, match=r"none of 4 run folders .* can be read; ae/default: .*it is not JSON"
    ):
        read(sweep)


def test_many_damaged_folders_leave_a_report_of_the_others(run: Make, tmp_path: Path) -> None:
    stored = {"kl_per_dimension": {"kl": [1.0], "aggregate_variance": [1.0]}}
    for seed in range(40):
        folder = run(f"run-{seed}", 1.0, seed=seed, metrics=measured(-120.0, 30.0, 22.0, 0.9), stored=stored)
        if seed % 3 == 0:
            (folder / "config.yaml").write_bytes(bytes([seed, 255]))
    collection = read(tmp_path / "outputs")
    assert (len(collection.records), len(collection.refused)) == (26, 14)


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        (
            "metrics.csv",
            "epoch,step,split\n" + "1,1,train\n" * (history.MOST_ROWS + 1),
            "more than 250,000 rows",
        ),
        ("metrics.csv", "epoch,step,split" + ",x" * 198 + "\n1,1,train" + ",1" * 198, "rows, 200 columns or"),
        ("metrics.csv", "epoch,step,split\n1,1\n", "is damaged: line 2"),
        ("metrics.csv", "epoch,step,split\n\x00", "is damaged: line 2"),
        ("evaluation/metrics.json", json.dumps({f"m{n}": n for n in range(3000)}), "it has 3,000 numbers"),
        ("evaluation/metrics.json", "[", "it is not JSON: vae-evaluate run="),
    ],
)
def test_a_damaged_part_is_named_with_its_remedy_and_the_rest_is_shown(
    file: str, content: str, words: str, sweep: Path
) -> None:
    (sweep / "vae" / "one" / file).write_text(content)
    record = next(r for r in read(sweep).records if r.name == "vae/one")
    (problem,) = record.problems
    assert words in problem
    assert problem.endswith("writes it again")
    assert bool(record.history) != bool(record.metrics)


def test_a_run_that_asked_for_pictures_alone_is_told_how_to_measure_it(run: Make, tmp_path: Path) -> None:
    folder = run("pictures", 1.0, metrics={}, evaluation={"reconstructions": {}})
    lost = run("lost", 1.0, metrics={}, evaluation={"test_metrics": {}})
    (lost / "evaluation" / "metrics.json").unlink()
    run("samples", None, metrics={}, loss={"_target_": "a.Adversarial"}, evaluation={"samples": {}})
    problems = {record.name: record.problems for record in read(tmp_path / "outputs").records}
    assert problems == {
        "pictures": [
            "it has no numbers, for test_metrics was not among its evaluations:"
            f" vae-evaluate run='{folder}' 'evaluation=[test_metrics]' adds them"
        ],
        "lost": [f"its evaluation is missing: vae-evaluate run='{lost}' measures it again"],
        "samples": [],
    }


def test_no_terminal_is_reached_by_what_a_run_says(run: Make, tmp_path: Path) -> None:
    odd = "\x1b[2J\u202e\ud800"
    folder = run(
        "a\x1b]0;x\x07",
        1.0,
        metrics={},
        evaluation={},
        dataset={"name": odd, "classes": [odd]},
        info={"reason": odd},
    )
    (folder / "metrics.csv").write_text("\x1b[2J\n1,2\n")
    os.rename(folder, folder.with_name("b\x1b\udcff"))
    (run("c\x1b", 1.0) / "run.json").write_text("{")
    done = written(tmp_path / "outputs")
    shown = [done.summary, *(f"{name}: {reason}" for name, reason in done.problems)]
    shown += [(done.page.parent / name).read_text() for name in ("index.html", "report.md", "table.csv")]
    assert len(done.problems) == 3
    assert any(r"b\x1b\udcff" in text for text in shown)
    assert not any(mark in text for text in shown for mark in ("\x1b", "\x07", "\u202e"))


def test_reading_leaves_run_folders_as_they_are(sweep: Path, tmp_path: Path) -> None:
    def state() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (sweep, *sweep.rglob("*"))}

    before = state()
    folders = [path for path in before if path.is_dir()]
    for folder in folders:
        folder.chmod(0o555)
    try:
        done = written(sweep, tmp_path / "elsewhere")
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert done.problems == []
    assert done.page == tmp_path / "elsewhere" / "index.html"
    assert state() == before
