"""Tests of what becomes of images that an older version prepared."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from data_samples import Load, noise, save_pngs

from vaelab.data import ImageSet

COUNT = 60


def place(loaded: ImageSet) -> Path:
    """The folder that prepared images lie in."""
    return Path(loaded.images.filename).parent  # type: ignore[attr-defined]


def of_before(loaded: ImageSet, **meta: object) -> Path:
    """The folder of prepared images, with a meta.json that knows of no rules."""
    folder = place(loaded)
    values = json.loads((folder / "meta.json").read_text())
    del values["rules"]
    (folder / "meta.json").write_text(json.dumps(values | meta))
    return folder


def classes(top: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        save_pngs(top / name, noise(20, 4, 4, seed=seed))
    return top


def spoil(top: Path, files: str = "*.png") -> None:
    """Make files unreadable, without a trace in their sizes and times."""
    for file in top.rglob(files):
        stat = file.stat()
        file.write_bytes(b"\0" * stat.st_size)
        os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))


@pytest.mark.parametrize("names", [("cat", "dog"), ("1", "2"), ("all",)])
def test_what_would_be_the_same_stays_known(
    tmp_path: Path, load_data: Load, capsys: pytest.CaptureFixture[str], names: tuple[str, ...]
) -> None:
    top = classes(tmp_path / "x", *names)
    first = load_data(top)
    folder = of_before(first)
    capsys.readouterr()
    assert place(load_data(top)) == folder
    spoil(top)  # it was looked at once, and is not again
    assert load_data(top).fingerprint == first.fingerprint
    assert "preparing" not in capsys.readouterr().err


def test_what_was_skipped_stays_known(tmp_path: Path, load_data: Load) -> None:
    top = classes(tmp_path / "x", "cat", "dog")
    (top / "cat" / "005.png").write_bytes(b"")
    folder = of_before(load_data(top, on_error="skip"))
    assert place(load_data(top, on_error="skip")) == folder


def test_touched_source_stays_known(tmp_path: Path, load_data: Load) -> None:
    top = classes(tmp_path / "x", "cat", "dog")
    folder = of_before(load_data(top))
    os.utime(top / "cat" / "000.png", (1, 1))
    assert place(load_data(top)) == folder


@pytest.mark.parametrize("touched", [False, True])
def test_what_would_be_otherwise_is_prepared_beside_it(
    tmp_path: Path, load_data: Load, touched: bool
) -> None:
    top = classes(tmp_path / "x", "1", "2", "10")
    today = load_data(top)
    assert today.labels is not None
    order = ["1", "10", "2"]  # by code points
    labels = np.array([order.index(today.classes[label]) for label in today.labels])
    folder = place(today)
    np.save(folder / "labels.npy", labels)
    of_before(today, classes=order, fingerprint="0" * 16)
    if touched:
        os.utime(top / "1" / "000.png", (1, 1))
    for _ in range(2):
        loaded = load_data(top)
        assert (loaded.classes, loaded.fingerprint) == (("1", "2", "10"), today.fingerprint)
    assert len(list(folder.parent.glob("small-*"))) == 2
    assert json.loads((folder / "meta.json").read_text())["classes"] == order  # for the runs that it trained


def test_arrays_are_the_same_by_any_rules(tmp_path: Path, load_data: Load) -> None:
    np.savez(tmp_path / "x.npz", image=noise(COUNT, 4, 4), label=np.arange(COUNT) % 3)
    folder = of_before(load_data(tmp_path / "x.npz"))
    spoil(tmp_path, "x.npz")
    assert place(load_data(tmp_path / "x.npz")) == folder
