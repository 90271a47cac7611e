"""Tests of sources: what is opened, what is recognised again, and odd names."""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_samples import Load, noise, save_pngs

from vaelab import UsageError

COUNT = 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_pngs(tmp_path / "x", noise(COUNT, 4, 4))
    return tmp_path / "x"


def zero(path: Path) -> None:
    path.symlink_to("/dev/zero")


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(path.name)


@pytest.mark.parametrize("make", [os.mkfifo, zero, listening])
@pytest.mark.parametrize("on_error", ["stop", "skip"])
def test_what_is_no_regular_file_is_refused_unopened(
    folder: Path,
    load_data: Load,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Path], None],
    on_error: str,
) -> None:
    monkeypatch.chdir(folder)
    make(folder / "pipe.png")
    with pytest.raises(UsageError, match=r"pipe\.png is not a regular file"):
        load_data(folder, on_error=on_error)


@pytest.mark.parametrize("name", ["pipe.npz", "pipe.npy", "pipe.zip"])
def test_a_source_that_is_no_regular_file_is_refused(tmp_path: Path, load_data: Load, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(UsageError, match="is not a regular file"):
        load_data(tmp_path / name)


def test_a_table_that_is_no_regular_file_is_refused(folder: Path, load_data: Load) -> None:
    zero(folder.with_suffix(".csv"))
    with pytest.raises(UsageError, match="is not a regular file"):
        load_data(folder, attribute="color", attributes=str(folder.with_suffix(".csv")))


def test_dangling_links_are_damaged_images(
    folder: Path, load_data: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = load_data(folder)
    (folder / "gone.png").symlink_to("away/gone.png")
    (folder / "self.png").symlink_to("self.png")
    reason = "gone.png in .*x \\(No such file or directory\\).* dataset.on_error=skip"
    with pytest.raises(UsageError, match=reason):
        load_data(folder)
    loaded = load_data(folder, on_error="skip")
    np.testing.assert_array_equal(loaded.images, whole.images)
    assert f"skipped 2 of 62 images of {folder}, damaged: gone.png, self.png" in capsys.readouterr().err
    assert load_data(folder, on_error="skip").fingerprint == loaded.fingerprint
    (folder / "away").mkdir()
    (folder / "000.png").rename(folder / "away" / "gone.png")
    assert len(load_data(folder, on_error="skip").images) == COUNT + 1  # it is there, by both names


def test_files_that_may_not_be_read_are_damaged_images(
    folder: Path, load_data: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def forbidden(path: Path, *arguments: Any, **named: Any) -> Any:
        if path.name == "007.png":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", forbidden)  # root may read everything
    with pytest.raises(UsageError, match=r"007\.png in .*x \(Permission denied\)"):
        load_data(folder)
    assert len(load_data(folder, on_error="skip").images) == COUNT - 1


ODD = ["caf\udce9", "new\nline", "\x1b[31mred", "a" * 255, "猫", " ", "-rf", "a\\b"]


def test_odd_names_of_folders_and_files(tmp_path: Path, load_data: Load, data_dir: Path) -> None:
    images = noise(COUNT, 4, 4)
    for number, file in enumerate(save_pngs(tmp_path / "plain", images)):
        name = ODD[number % len(ODD)]
        (tmp_path / "caf\udce9" / name).mkdir(parents=True, exist_ok=True)
        file.rename(tmp_path / "caf\udce9" / name / f"{number:03}{name[:248]}.png")  # 255 bytes at most
    loaded = load_data(tmp_path / "caf\udce9")
    assert set(loaded.classes) == {
        "caf\\udce9",
        "new\\nline",
        "\\x1b[31mred",
        "a" * 255,
        "猫",
        " ",
        "-rf",
        "a\\b",
    }
    assert loaded.labels is not None
    rows = [int(name.rpartition("/")[2][:3]) for name in loaded.names]
    np.testing.assert_array_equal(loaded.images, images[rows])
    for text in (*loaded.names, *loaded.classes):
        assert "\n" not in text
        text.encode()
    (file,) = data_dir.glob("prepared/*/meta.json")
    assert json.loads(file.read_text(encoding="utf-8"))["names"] == list(loaded.names)
    again = load_data(tmp_path / "caf\udce9")
    assert (again.names, again.classes, again.fingerprint) == (
        loaded.names,
        loaded.classes,
        loaded.fingerprint,
    )


def test_damage_of_a_file_with_an_odd_name_is_one_line(folder: Path, load_data: Load) -> None:
    (folder / "new\nline\udce9.png").write_bytes(b"hello")
    with pytest.raises(UsageError, match=r"damaged image new\\nline\\udce9\.png in"):
        load_data(folder)
