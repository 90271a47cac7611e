"""Tests of what the names of files say."""

import random
from pathlib import Path

import pytest
from data_samples import Load, noise, save_pngs

from vaelab import UsageError
from vaelab.data.filenames import is_hidden, is_image, natural


@pytest.mark.parametrize(
    "names",
    [
        ["1", "2", "10"],
        ["a", "a1", "a2", "a10", "b"],
        ["class 9", "class 10"],
        ["2.5", "2.10"],
        ["v1.9.0", "v1.10.0"],
        ["0", "00", "01", "1", "2"],
        ["9" * 200, "1" + "0" * 200],
        ["༡", "༢", "༡༠"],
    ],
)
def test_numbers_in_names_sort_by_their_size(names: list[str]) -> None:
    shuffled = random.Random(0).sample(names, len(names))
    assert sorted(shuffled, key=natural) == names


def test_names_without_numbers_sort_by_code_points() -> None:
    generator = random.Random(0)
    names = {"".join(generator.choices("ab-_ .AéZ~猫²", k=4)) for _ in range(500)}
    assert sorted(names, key=natural) == sorted(names)


@pytest.mark.parametrize("name", ["a.png", "x/y.JPE", "x.d/a.jp2", "a.J2K", "b.avif", "./c.heic", "d\n.heif"])
def test_images(name: str) -> None:
    assert is_image(name)
    assert not is_hidden(name)


@pytest.mark.parametrize(
    "name", ["png", ".png", "a.png/notes", "a.txt", ".x/a.png", "x/.a.png", "__MACOSX/x/a.png"]
)
def test_other_files(name: str) -> None:
    assert not is_image(name)


def test_formats_that_pillow_cannot_read_are_counted(
    tmp_path: Path, load_data: Load, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    known = {suffix: name for suffix, name in Image.registered_extensions().items() if suffix != ".heic"}
    monkeypatch.setattr(Image, "registered_extensions", lambda: known)
    save_pngs(tmp_path / "x", noise(60, 4, 4))
    alone = load_data(tmp_path / "x")
    for number in range(12):
        (tmp_path / "x" / f"{number:03}.HEIC").write_bytes(b"\0\0\0\x18ftypheic")
    capsys.readouterr()
    loaded = load_data(tmp_path / "x")
    said = [line for line in capsys.readouterr().err.splitlines() if "Pillow" in line]
    assert said == [
        f"left out of 72 images of {tmp_path / 'x'}: 12 .heic, which the installed Pillow cannot read: "
        "convert them to .png or .jpg"
    ]
    assert loaded.fingerprint == alone.fingerprint
    for file in (tmp_path / "x").glob("*.png"):
        file.unlink()
    with pytest.raises(UsageError, match=r"12 \.heic, which the installed Pillow cannot read"):
        load_data(tmp_path / "x")
