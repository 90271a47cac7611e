"""Array files of another's run: what is too large, damaged or no file is named before it is read whole."""

import json
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vaelab import files
from vaelab.report import arrays
from vaelab.report.reading import collect
from vaelab.report.record import Record

from .conftest import Make

KEYS = {"original": "nhwc", "reconstruction": "nhwc", "index": "n"}


def record(sweep: Path) -> Record:
    return next(r for r in collect(str(sweep), sweep / "report").records if r.name == "vae/one")


def declaring(file: Path, size: int) -> None:
    """Changes the sizes that the directory of a file says its arrays inflate to."""
    data = bytearray(file.read_bytes())
    place = data.find(b"PK\x01\x02")
    while place >= 0:
        data[place + 24 : place + 28] = struct.pack("<L", size)
        place = data.find(b"PK\x01\x02", place + 1)
    file.write_bytes(data)


def large(file: Path) -> None:
    declaring(file, 12 * 6000 * 6000 * 4)


def small(file: Path) -> None:
    declaring(file, 200)


def crowded(file: Path) -> None:
    with zipfile.ZipFile(file, "a") as archive:
        for place in range(2000):
            archive.writestr(f"{place}.npy", b"")


def second_end(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[:-22] + b"PK\x06\x07" + bytes(16) + data[-22:])


def other_compression(file: Path) -> None:
    with np.load(file) as stored:
        images = dict(stored)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_LZMA) as archive:
        for key, values in images.items():
            with archive.open(f"{key}.npy", "w") as stream:
                np.save(stream, values)


def deep_header(file: Path) -> None:
    header = ("(" * 9000).encode()
    with zipfile.ZipFile(file, "w") as archive:
        for key in KEYS:
            archive.writestr(f"{key}.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)


def wide(file: Path) -> None:
    images = np.zeros((1, 1, arrays.LONGEST + 1, 1), np.uint8)
    np.savez(file, original=images, reconstruction=images, index=np.arange(1))


def pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def endless(file: Path) -> None:
    file.unlink()
    file.symlink_to("/dev/zero")


def sparse(file: Path) -> None:
    os.truncate(file, 1 << 40)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (large, "is left out: it holds more than the 268 MB"),
        (sparse, "is left out: it holds more than the 268 MB"),
        (small, "is damaged: vae-evaluate run="),
        (crowded, "is damaged: vae-evaluate run="),
        (second_end, "is damaged: vae-evaluate run="),
        (other_compression, "is damaged: vae-evaluate run="),
        (deep_header, "is damaged: vae-evaluate run="),
        (wide, "is damaged: vae-evaluate run="),
        (pipe, "is not a regular file"),
        (endless, "is not a regular file"),
    ],
)
def test_a_file_that_no_evaluation_wrote_is_named_and_left_out(
    damage: Callable[[Path], object], words: str, sweep: Path
) -> None:
    damage(sweep / "vae" / "one" / "arrays" / "reconstructions.npz")
    found = record(sweep)
    assert found.arrays("reconstructions", **KEYS) == {}
    assert found.arrays("reconstructions", original="nhwc") == {}  # a second time is no second problem
    (problem,) = found.problems
    assert words in problem
    assert found.arrays("prior_samples", image="nhwc")["image"].shape == (16, 8, 8, 1)


def test_arrays_that_have_changed_since_they_were_written_are_named(sweep: Path) -> None:
    folder = sweep / "vae" / "one"
    names = ("arrays/reconstructions.npz", "arrays/prior_samples.npz")
    sums = {name: files.digest(folder / name) for name in names}
    info = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(info | {"checksums": sums}))
    with np.load(folder / names[0]) as stored:
        changed = dict(stored) | {"reconstruction": 1 - stored["reconstruction"]}
    np.savez(folder / names[0], **changed)
    found = record(sweep)
    assert found.arrays("reconstructions", **KEYS) == {}
    assert found.arrays("prior_samples", image="nhwc") != {}
    (problem,) = found.problems
    assert "reconstructions.npz was changed or damaged after it was written: vae-evaluate run=" in problem


def test_the_remedy_names_an_evaluation_that_was_not_asked_for_in_training(run: Make, tmp_path: Path) -> None:
    asked, added = (
        run(name, 1.0, seed=seed, evaluation={evaluation: {}})
        for seed, (name, evaluation) in enumerate((("asked", "atlas"), ("added", "test_metrics")))
    )
    for folder in (asked, added):
        (folder / "arrays" / "atlas.npz").write_bytes(b"PK")
    records = collect(str(tmp_path), tmp_path / "report").records
    assert {tuple(record.arrays("atlas", slice="sshwc")) for record in records} == {()}
    assert {record.name: record.problems for record in records} == {
        "asked": [f"arrays/atlas.npz is damaged: vae-evaluate run={asked} writes it again"],
        "added": [
            f"arrays/atlas.npz is damaged: vae-evaluate run={added} 'evaluation=[atlas]' writes it again"
        ],
    }


def test_a_folder_of_arrays_that_may_not_be_looked_into_is_named(
    sweep: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = record(sweep)

    def refuse(_: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", refuse)
    assert found.arrays("atlas", slice="sshwc") == {}
    assert len(found.problems) == 1


def test_the_size_of_a_code_is_not_looked_for_in_a_pipe(sweep: Path) -> None:
    for name in ("latent_space", "kl_per_dimension"):
        pipe(sweep / "vae" / "one" / "arrays" / f"{name}.npz")
    assert record(sweep).code_size == 4  # as it was asked for
