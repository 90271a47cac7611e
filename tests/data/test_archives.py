"""Tests of what a .zip holds, whichever program packed it."""

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from data_samples import Load, noise, save_pngs

from vaelab import UsageError
from vaelab.data.archives import images_in

LOCAL, CENTRAL = (
    (b"PK\3\4", 6, 8),
    (b"PK\1\2", 8, 10),
)  # where flags and method stand in the headers of an entry


def packed(path: Path, names: list[str], data: bytes = b"") -> Path:
    """A .zip whose entries have exactly these names."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            entry = zipfile.ZipInfo("x")
            entry.filename = name
            archive.writestr(entry, data)
    return path


def patched(path: Path, flags: int | None = None, method: int | None = None) -> Path:
    """The archive with other flags or another method in every entry."""
    data = bytearray(path.read_bytes())
    for signature, flags_at, method_at in (LOCAL, CENTRAL):
        place = data.find(signature)
        while place >= 0:
            for value, offset in ((flags, flags_at), (method, method_at)):
                if value is not None:
                    struct.pack_into("<H", data, place + offset, value)
            place = data.find(signature, place + 4)
    path.write_bytes(data)
    return path


def names_in(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return list(images_in(archive))


@pytest.mark.parametrize(
    ("entries", "names"),
    [
        (["set\\cat\\1.png", "set\\dog\\2.png"], ["set/cat/1.png", "set/dog/2.png"]),
        (["a\\1.png", "__MACOSX\\a\\._1.png", "a\\.hidden\\2.png"], ["a/1.png"]),
        (["b.png", "a.JPE", "notes.txt", ".x.png", "__MACOSX/a.png"], ["a.JPE", "b.png"]),
        (["x.png/", "y.jpg\\", "x.png/1.png"], ["x.png/1.png"]),
        (
            ["cat/1.png", "outputs/a/config.yaml", "outputs/a/run.json", "outputs/a/figures/1.png"],
            ["cat/1.png"],
        ),
        (["cat/1.png", "report/index.html", "report/table.csv", "report/figures/1.png"], ["cat/1.png"]),
        (["cat/1.png", "outputs/digits/contact_sheet.png"], ["cat/1.png"]),
        (["config.yaml", "run.json", "figures/1.png"], []),
    ],
)
def test_images_of_an_archive(tmp_path: Path, entries: list[str], names: list[str]) -> None:
    assert names_in(packed(tmp_path / "x.zip", entries)) == names


def test_folders_that_dos_marks_are_folders(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        folder = zipfile.ZipInfo("set.png")
        folder.external_attr = 0x10
        archive.writestr(folder, b"")
        archive.writestr("set.png/1.png", b"")
    assert names_in(tmp_path / "x.zip") == ["set.png/1.png"]


def test_names_of_the_finder_are_utf_8(tmp_path: Path) -> None:
    path = patched(packed(tmp_path / "x.zip", ["café/1.png", "猫/2.png"]), flags=0)
    assert names_in(path) == ["café/1.png", "猫/2.png"]


def test_names_of_dos_stay(tmp_path: Path) -> None:
    path = packed(tmp_path / "x.zip", ["cafX/1.png"])
    path.write_bytes(path.read_bytes().replace(b"cafX", b"caf\x82"))
    assert names_in(path) == ["café/1.png"]


@pytest.mark.parametrize(
    ("flags", "method", "reason"),
    [
        (1, None, r"1\.png is encrypted with a password; unpack it"),
        (1, 99, r"1\.png is encrypted with a password \(AES\); unpack it"),
        (None, 99, r"1\.png is encrypted with a password \(AES\); unpack it"),
        (None, 9, r"1\.png is compressed by Deflate64, which Python cannot unpack; unpack it"),
        (None, 77, r"1\.png is compressed by method 77, which Python cannot unpack; unpack it"),
    ],
)
def test_why_an_archive_cannot_be_unpacked(
    tmp_path: Path, load_data: Load, flags: int | None, method: int | None, reason: str
) -> None:
    path = patched(packed(tmp_path / "x.zip", ["1.png"], b"image"), flags, method)
    with pytest.raises(UsageError, match=rf"x\.zip cannot be read: {reason}.*dataset\.path=FOLDER"):
        load_data(path)


def test_what_is_no_image_may_be_encrypted(tmp_path: Path) -> None:
    path = patched(packed(tmp_path / "x.zip", ["notes.txt"], b"secret"), flags=1)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("1.png", b"")
    assert names_in(path) == ["1.png"]


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_archives_of_every_method_that_python_knows(tmp_path: Path, load_data: Load, method: int) -> None:
    images = noise(60, 4, 4)
    with zipfile.ZipFile(tmp_path / "x.zip", "w", method) as archive:
        for file in save_pngs(tmp_path / "x", images):
            archive.write(file, file.name)
    np.testing.assert_array_equal(load_data(tmp_path / "x.zip").images, images)


def test_classes_of_a_zip_by_powershell(tmp_path: Path, load_data: Load) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for file in save_pngs(tmp_path / "x", noise(60, 4, 4)):
            entry = zipfile.ZipInfo("x")
            entry.filename = f"set\\{'dog' if file.name < '020' else 'cat'}\\{file.name}"
            archive.writestr(entry, file.read_bytes())
    loaded = load_data(tmp_path / "x.zip")
    assert loaded.classes == ("cat", "dog")
    assert loaded.labels is not None
    assert np.bincount(loaded.labels).tolist() == [40, 20]


@pytest.mark.parametrize(
    "entry",
    [
        "../x.png",
        "a\\..\\..\\x.png",
        "/x.png",
        "\\\\host\\x.png",
        "C:x.png",
        "../notes.txt",
        "x\n/../../y.png",
    ],
)
def test_entries_that_point_outside_are_refused(tmp_path: Path, entry: str) -> None:
    with pytest.raises(UsageError, match=r"x\.zip is refused: its entry .* points outside") as error:
        names_in(packed(tmp_path / "x.zip", ["1.png", entry]))
    assert "\n" not in str(error.value)
