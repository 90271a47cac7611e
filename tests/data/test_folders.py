"""Tests of the images below a folder: links, and what the program wrote itself."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from data_samples import Load, noise, save_pngs
from omegaconf import OmegaConf

from vaelab import UsageError
from vaelab.data.folders import images_below
from vaelab.runs.folder import Run


def touch(top: Path, *names: str) -> Path:
    for name in names:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).touch()
    return top


def below(top: Path) -> list[str]:
    return images_below(top, top / "data")


def test_names_are_sorted_and_relative(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "b/1.png",
        "a/x/2.PNG",
        "c.jpg",
        "c/notes.txt",
        "d.png/3.png",
        ".git/4.png",
        "__MACOSX/5.png",
    )
    assert below(tmp_path) == ["a/x/2.PNG", "b/1.png", "c.jpg", "d.png/3.png"]


def test_links_to_folders_are_followed(tmp_path: Path) -> None:
    touch(tmp_path / "store", "cat/1.png", "dog/2.png", "dog/deep/3.png")
    view = touch(tmp_path / "view", "own/0.png")
    for name in ("cat", "dog"):
        (view / name).symlink_to(f"../store/{name}")
    assert below(view) == ["cat/1.png", "dog/2.png", "dog/deep/3.png", "own/0.png"]
    (tmp_path / "again").symlink_to("view")
    assert below(tmp_path / "again") == below(view)


@pytest.mark.parametrize("target", [".", "..", "../..", "/", "cat", "a", "b"])
def test_loops_end(tmp_path: Path, target: str) -> None:
    top = touch(tmp_path / "top", "cat/1.png", "dog/2.png")
    (top / "cat" / "link").symlink_to(target if target not in ("a", "b") else tmp_path / target)
    touch(tmp_path, "a/3.png", "b/4.png")
    (tmp_path / "a" / "to").symlink_to(tmp_path / "b")
    (tmp_path / "b" / "to").symlink_to(tmp_path / "a")
    outside = {"a": ["cat/link/3.png", "cat/link/to/4.png"], "b": ["cat/link/4.png", "cat/link/to/3.png"]}
    assert below(top) == ["cat/1.png", *outside.get(target, []), "dog/2.png"]


def test_what_a_link_shows_twice_counts_once(tmp_path: Path) -> None:
    touch(tmp_path, "all/cat/1.png")
    (tmp_path / "cat").symlink_to("all/cat")
    assert below(tmp_path) == ["all/cat/1.png"]


def running(folder: Path) -> None:
    Run(folder / "digits" / "conv_vae" / "default").start(OmegaConf.create({"seed": 0}), ["vae-train"], {})
    touch(folder, "digits/conv_vae/default/figures/samples/epoch_0001.png", "digits/contact_sheet.png")


def report(folder: Path) -> None:
    touch(folder, "report/index.html", "report/table.csv", "report/figures/1-digits-learning-curves.png")


@pytest.mark.parametrize("place", ["outputs", "deep/down", "."])
@pytest.mark.parametrize("write", [running, report])
def test_own_output_is_left_out(tmp_path: Path, write: Callable[[Path], None], place: str) -> None:
    touch(tmp_path, "cat/1.png", "dog/2.png", "cat/config.yaml", "dog/run.json")
    write(tmp_path / place)
    assert below(tmp_path) == ["cat/1.png", "dog/2.png"]


def test_own_output_behind_a_link_is_left_out(tmp_path: Path) -> None:
    top = touch(tmp_path / "top", "cat/1.png")
    running(tmp_path / "scratch")
    (top / "outputs").symlink_to(tmp_path / "scratch")
    touch(tmp_path / "disk", "prepared/x.png", "celeba/2.png")
    (top / "data").symlink_to(tmp_path / "disk")
    assert below(top) == ["cat/1.png"]


def test_data_dir_is_left_out_but_not_what_lies_in_it(tmp_path: Path) -> None:
    top = touch(tmp_path, "cat/1.png", "data/anime/2.png", "data/prepared/anime-00/3.png")
    assert below(top) == ["cat/1.png"]
    assert images_below(top / "data", top / "data") == ["anime/2.png"]
    assert images_below(top / "data" / "anime", top / "data") == ["2.png"]
    assert images_below(top, tmp_path / "elsewhere") == [
        "cat/1.png",
        "data/anime/2.png",
        "data/prepared/anime-00/3.png",
    ]


def test_training_in_the_folder_of_the_images_changes_no_data(tmp_path: Path, load_data: Load) -> None:
    for name in ("cat", "dog"):
        save_pngs(tmp_path / "x" / name, noise(30, 4, 4))
    data_dir = str(tmp_path / "x" / "data")
    before = load_data(tmp_path / "x", data_dir=data_dir)
    running(tmp_path / "x" / "outputs")
    report(tmp_path / "x" / "outputs")
    after = load_data(tmp_path / "x", data_dir=data_dir)
    assert (after.classes, after.fingerprint) == (("cat", "dog"), before.fingerprint)
    assert len(list((tmp_path / "x" / "data" / "prepared").glob("small-*"))) == 1


def test_a_folder_of_own_output_is_no_source(tmp_path: Path, load_data: Load) -> None:
    running(tmp_path)
    with pytest.raises(UsageError, match="is a run or a report of vaelab's"):
        load_data(tmp_path / "digits" / "conv_vae" / "default")
    touch(tmp_path, "data/1.png")
    with pytest.raises(UsageError, match=r"\(data_dir=.*data is left out\)"):
        load_data(tmp_path)


def test_a_folder_that_cannot_be_read_is_named(
    tmp_path: Path, load_data: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "x/cat/1.png")
    scandir = os.scandir

    def forbidden(path: str) -> "os.ScandirIterator[str]":
        if path.endswith("cat"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidden)
    with pytest.raises(UsageError, match=r"cannot read the folder .*x: Permission denied \(.*cat\)"):
        load_data(tmp_path / "x")
