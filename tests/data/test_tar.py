"""Tests of pictures in a .tar, as webdataset keeps them."""

import gzip
import io
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_samples import Load, noise
from PIL import Image

from vaelab import UsageError

COUNT = 60
IMAGES = noise(COUNT)
ENDINGS = [".tar", ".tar.gz", ".tgz"]


def png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "png")
    return stream.getvalue()


def add(archive: tarfile.TarFile, name: str, data: bytes = b"", **header: Any) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for key, value in header.items():
        setattr(member, key, value)
    archive.addfile(member, io.BytesIO(data))


def pack(path: Path, label: Callable[[int], dict[str, bytes]] = lambda number: {}) -> Path:
    """Each image as 000012.png, after the files that `label` gives by their suffix."""
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as archive:
        for number, image in enumerate(IMAGES):
            add(archive, f"{number:06}.png", png(image))
            for suffix, data in label(number).items():
                add(archive, f"{number:06}{suffix}", data)
    return path


def refused(load_data: Load, path: Path, *words: str, **overrides: Any) -> None:
    with pytest.raises(UsageError) as error:
        load_data(path, **overrides)
    assert "\n" not in str(error.value)
    for word in (str(path), *words):
        assert word in str(error.value)


@pytest.mark.parametrize("ending", ENDINGS)
def test_pictures_and_their_labels(tmp_path: Path, load_data: Load, ending: str) -> None:
    path = pack(tmp_path / f"shard{ending}", lambda number: {".cls": str(number % 12).encode()})
    loaded = load_data(path)
    np.testing.assert_array_equal(loaded.images, IMAGES)
    np.testing.assert_array_equal(loaded.labels, np.arange(COUNT) % 12)
    assert loaded.classes == tuple(map(str, range(12)))
    assert loaded.names[3] == "000003.png"


@pytest.mark.parametrize(
    "label",
    [
        {".txt": b"dog\n"},
        {".json": b'{"label": "dog", "size": 3}'},
        {".cls": b"dog", ".txt": b"a caption", ".json": b"{}"},
    ],
    ids=["txt", "json", "cls"],
)
def test_labels_in_other_files(tmp_path: Path, load_data: Load, label: dict[str, bytes]) -> None:
    def label_of(number: int) -> dict[str, bytes]:
        return (
            label if number % 2 else {suffix: data.replace(b"dog", b"cat") for suffix, data in label.items()}
        )

    loaded = load_data(pack(tmp_path / "shard.tar", label_of))
    assert loaded.classes == ("cat", "dog")
    np.testing.assert_array_equal(loaded.labels, np.arange(COUNT) % 2)
    assert load_data(tmp_path / "shard.tar", label_key=None).labels is None


def test_captions_are_no_classes(tmp_path: Path, load_data: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vaelab.data.tar.MOST_CLASSES", COUNT - 1)
    captions = pack(
        tmp_path / "shard.tar", lambda number: {".txt": f"caption {number}".encode(), ".json": b"[1]"}
    )
    assert load_data(captions).labels is None


def test_folders_are_classes_and_splits(tmp_path: Path, load_data: Load) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for number, image in enumerate(IMAGES):
            split = "test" if number % 3 == 0 else "train"
            add(archive, f"./{split}/{'cat' if number < 30 else 'dog'}/{number:02}.png", png(image))
    loaded = load_data(tmp_path / "x.tar")
    np.testing.assert_array_equal(loaded.images, IMAGES)
    np.testing.assert_array_equal(loaded.labels, np.arange(COUNT) >= 30)
    np.testing.assert_array_equal(loaded.split == 2, np.arange(COUNT) % 3 == 0)


@pytest.mark.parametrize("ending", ENDINGS)
def test_links_devices_and_places_outside_do_nothing(tmp_path: Path, load_data: Load, ending: str) -> None:
    path = tmp_path / f"x{ending}"
    with tarfile.open(path, "w" if ending == ".tar" else "w:gz") as archive:
        add(archive, "../../outside.png", png(IMAGES[0]))
        add(archive, "/etc/absolute.png", png(IMAGES[0]))
        add(archive, "link.png", type=tarfile.SYMTYPE, linkname="/etc/passwd")
        add(archive, "hard.png", type=tarfile.LNKTYPE, linkname="/etc/passwd")
        add(archive, "device.png", type=tarfile.CHRTYPE, devmajor=1, devminor=5)
        add(archive, "pipe.png", type=tarfile.FIFOTYPE)
        for number, image in enumerate(IMAGES[1:]):
            add(archive, f"{number}.png", png(image))
    loaded = load_data(path)
    np.testing.assert_array_equal(loaded.images, IMAGES)
    assert {file.name for file in tmp_path.iterdir()} == {path.name, "data"}
    assert os.listdir(tmp_path / "data") == ["prepared"]


def test_some_labels_only(tmp_path: Path, load_data: Load) -> None:
    path = pack(tmp_path / "shard.tar", lambda number: {".cls": b"1"} if number else {})
    refused(load_data, path, "no 000000.cls", "dataset.label_key=null")
    assert load_data(path, label_key=None).labels is None


def test_damage_is_named(tmp_path: Path, load_data: Load) -> None:
    whole = pack(tmp_path / "whole.tar").read_bytes()
    for number, data in enumerate((whole[: len(whole) // 2], b"no archive" * 1000, b"")):
        path = tmp_path / f"{number}.tar"
        path.write_bytes(data)
        refused(load_data, path)
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(whole)[:-5000])
    refused(load_data, path)
    (tmp_path / "y.tgz").write_bytes(whole)
    refused(load_data, tmp_path / "y.tgz")
    os.mkfifo(tmp_path / "pipe.tar")
    refused(load_data, tmp_path / "pipe.tar", "not a regular file")


def test_damaged_pictures_are_named_or_skipped(tmp_path: Path, load_data: Load) -> None:
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        for number, image in enumerate(IMAGES):
            add(archive, f"{number:02}.png", b"no picture" if number == 7 else png(image))
    refused(load_data, tmp_path / "x.tar.gz", "07.png")
    loaded = load_data(tmp_path / "x.tar.gz", on_error="skip")
    np.testing.assert_array_equal(loaded.images, np.delete(IMAGES, 7, axis=0))


def test_bombs_are_refused_by_what_they_declare(
    tmp_path: Path, load_data: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaelab.data.limits.BOMB_BYTES", 1 << 20)

    class Zeros(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            return bytes(size)

    path = tmp_path / "x.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo("000.png")
        member.size = 1 << 23
        archive.addfile(member, Zeros())
    refused(load_data, path, "unpack")
    longest = tmp_path / "long.tar.gz"
    header = tarfile.TarInfo("././@LongLink")
    header.type, header.size = tarfile.GNUTYPE_LONGNAME, 1 << 33
    longest.write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 16)))
    refused(load_data, longest, "header")


def test_overlapping_members_end(tmp_path: Path, load_data: Load) -> None:
    member = tarfile.TarInfo("x.png")
    header = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 10 + b"\xfe\x00"  # a size of -512, in the notation of GNU
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    (tmp_path / "x.tar").write_bytes(bytes(header) + bytes(10240))
    refused(load_data, tmp_path / "x.tar")


def test_labels_are_small_text(tmp_path: Path, load_data: Load) -> None:
    path = pack(tmp_path / "shard.tar", lambda number: {".cls": b"\xff\xfe\xff"})
    refused(load_data, path, ".cls", "UTF-8")
    deep = b"[" * 100_000
    path = pack(tmp_path / "deep.tar", lambda number: {".json": deep, ".txt": b"a" if number % 2 else b"b"})
    assert load_data(path).classes == ("a", "b")
    assert json.loads(b'{"label": 1}')  # what a .json says otherwise
