"""Tests of finding a data set, preparing it once, and finding it again."""

import inspect
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_samples import CONF, DEFAULTS, Load, configured, noise, save_pngs

from vaelab import UsageError
from vaelab.data import find_prepared, load

COUNT = 60


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    return save_npz(tmp_path / "x.npz")


def save_npz(path: Path, seed: int = 0, count: int = COUNT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, image=noise(count, seed=seed), label=np.arange(count) % 3)
    return path


def refused(load_data: Load, path: Path | None, *words: str, **overrides: Any) -> None:
    with pytest.raises(UsageError) as error:
        load_data(path, **overrides)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def prepared(data_dir: Path) -> list[str]:
    return sorted(folder.name for folder in (data_dir / "prepared").iterdir() if folder.name[0] != ".")


def spoil(path: Path) -> None:
    """Make a file unreadable as what it is, without a trace in its size and time."""
    stat = path.stat()
    path.write_bytes(b"\0" * stat.st_size)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def test_prepared_folder_holds_everything(npz: Path, load_data: Load, data_dir: Path) -> None:
    loaded = load_data(npz)
    (name,) = prepared(data_dir)
    folder = data_dir / "prepared" / name
    assert name.startswith("small-")
    assert sorted(file.name for file in folder.iterdir()) == [
        "images.npy",
        "labels.npy",
        "meta.json",
        "split.npy",
    ]
    np.testing.assert_array_equal(np.load(folder / "images.npy"), noise(COUNT))
    meta = json.loads((folder / "meta.json").read_text())
    assert meta["fingerprint"] == loaded.fingerprint
    assert len(loaded.fingerprint) == 16
    assert int(loaded.fingerprint, 16) >= 0


def test_second_load_reads_no_source(npz: Path, load_data: Load) -> None:
    first = load_data(npz)
    spoil(npz)
    second = load_data(npz)
    assert isinstance(second.images, np.memmap)
    assert second.images.filename == first.images.filename  # type: ignore[attr-defined]
    np.testing.assert_array_equal(second.images, first.images)
    for field in ("name", "classes", "names", "fingerprint", "source"):
        assert getattr(second, field) == getattr(first, field)


def test_second_load_of_a_folder_reads_no_image(tmp_path: Path, load_data: Load) -> None:
    files = save_pngs(tmp_path / "x", noise(COUNT))
    first = load_data(tmp_path / "x")
    for file in files:
        spoil(file)
    assert load_data(tmp_path / "x").fingerprint == first.fingerprint


def test_second_start_imports_no_decoder(npz: Path, load_data: Load, data_dir: Path) -> None:
    arguments = DEFAULTS | {"data_dir": str(data_dir)}
    calls = [arguments | {"path": "embedded", "size": 32}, arguments | {"path": str(npz), "size": 8}]
    for call in calls:
        load(**call)
    script = (
        "import sys, json; from vaelab.data import load\n"
        "for call in json.loads(sys.argv[1]): load(**call)\n"
        "print([name for name in ('sklearn', 'PIL', 'scipy') if name in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", script, json.dumps(calls)], capture_output=True, text=True, check=True
    )
    assert out.stdout.strip() == "[]"
    assert out.stderr == ""


def test_moved_or_touched_source_is_known_by_its_content(npz: Path, load_data: Load, data_dir: Path) -> None:
    first = load_data(npz)
    moved = npz.rename(npz.with_name("y.npz"))
    os.utime(moved, (1, 1))
    second = load_data(moved)
    assert second.source == str(moved)
    assert second.fingerprint == first.fingerprint
    assert len(prepared(data_dir)) == 1
    spoil(moved)
    assert load_data(moved).fingerprint == first.fingerprint


def test_changed_content_is_prepared_again(npz: Path, load_data: Load, data_dir: Path) -> None:
    first = load_data(npz)
    save_npz(npz, seed=1)
    second = load_data(npz)
    assert second.fingerprint != first.fingerprint
    np.testing.assert_array_equal(second.images, noise(COUNT, seed=1))
    assert len(prepared(data_dir)) == 2


def test_other_settings_and_names_are_prepared_apart(npz: Path, load_data: Load, data_dir: Path) -> None:
    stored, small, other = load_data(npz), load_data(npz, size=8), load_data(npz, name="other")
    assert len(prepared(data_dir)) == 3
    assert small.image_shape == (3, 8, 8)
    np.testing.assert_array_equal(stored.images, other.images)
    assert (stored.split != other.split).any()
    assert load_data(npz, size=[8, 8]).fingerprint == small.fingerprint
    assert len(prepared(data_dir)) == 3


def test_fingerprint_is_of_pixels_labels_and_split(tmp_path: Path, load_data: Load) -> None:
    images, label = noise(COUNT), np.arange(COUNT) % 3
    arrays: list[dict[str, Any]] = [
        {"image": images, "label": label},
        {"image": images},
        {"image": images, "label": (label + 1) % 3},
        {"image": images[::-1], "label": label},
    ]
    fingerprints = set()
    for number, contents in enumerate(arrays):
        np.savez(tmp_path / f"{number}.npz", **contents)
        fingerprints.add(load_data(tmp_path / f"{number}.npz").fingerprint)
    save_pngs(tmp_path / "folder", images)
    assert len(fingerprints) == 4
    assert (
        load_data(tmp_path / "folder").fingerprint in fingerprints
    )  # the same pixels from another kind of source


def test_broken_array_is_prepared_again(npz: Path, load_data: Load, data_dir: Path) -> None:
    first = load_data(npz)
    file = data_dir / "prepared" / prepared(data_dir)[0] / "images.npy"
    for damage in (lambda: file.unlink(), lambda: os.truncate(file, 500)):
        damage()
        assert load_data(npz).fingerprint == first.fingerprint
        np.testing.assert_array_equal(np.load(file), noise(COUNT))
        assert len(prepared(data_dir)) == 1


def test_a_flipped_bit_is_never_trained_on(
    npz: Path, load_data: Load, data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = load_data(npz, files=["x.npz"])
    folder = data_dir / "prepared" / prepared(data_dir)[0]
    pixels = noise(COUNT)
    for name in ("images.npy", "labels.npy", "split.npy"):
        file = folder / name
        damaged = bytearray(file.read_bytes())
        damaged[-1] ^= 1
        file.write_bytes(damaged)
        with pytest.raises(UsageError, match=f"{folder} is damaged .*vae-data prepare"):
            find_prepared(first.fingerprint, [data_dir])
        capsys.readouterr()
        np.testing.assert_array_equal(load_data(npz, files=["x.npz"]).images, pixels)
        assert f"{folder} is damaged: its images are prepared again" in capsys.readouterr().err
    found = find_prepared(first.fingerprint, [data_dir / "nothing", data_dir])
    assert found is not None
    assert found.fingerprint == first.fingerprint
    assert found.names == first.names
    assert find_prepared("0" * 16, [data_dir]) is None


def test_damage_without_the_source_is_named(npz: Path, load_data: Load, data_dir: Path) -> None:
    load_data(npz, files=["x.npz"])
    npz.unlink()
    folder = data_dir / "prepared" / prepared(data_dir)[0]
    os.truncate(folder / "split.npy", 100)
    refused(load_data, None, str(folder), "is damaged", files=["x.npz"])
    (folder / "meta.json").write_text("{")
    refused(load_data, None, str(folder / "meta.json"), "is damaged", files=["x.npz"])


def test_two_processes_at_once(tmp_path: Path, data_dir: Path) -> None:
    save_pngs(tmp_path / "x", noise(300, 64, 64))
    arguments = DEFAULTS | {"data_dir": str(data_dir), "path": str(tmp_path / "x"), "size": 32}
    script = (
        "import sys, json; from vaelab.data import load\n"
        "print('ready', flush=True); sys.stdin.readline()\n"
        "print(load(**json.loads(sys.argv[1])).fingerprint)"
    )
    command = [sys.executable, "-c", script, json.dumps(arguments)]
    pipes: dict[str, Any] = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "text": True,
    }
    processes = [subprocess.Popen(command, **pipes) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0] == load(**arguments).fingerprint + "\n"
    assert len(prepared(data_dir)) == 1


def test_unwritable_data_dir_is_one_line(npz: Path, load_data: Load, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    refused(
        load_data,
        npz,
        "cannot write",
        str(tmp_path / "file"),
        "data_dir=FOLDER",
        data_dir=str(tmp_path / "file"),
    )


def test_read_only_copy_of_prepared_data_is_enough(npz: Path, load_data: Load, data_dir: Path) -> None:
    first = load_data(npz)
    folders = [data_dir / "prepared", *(data_dir / "prepared").iterdir()]
    for folder in folders:
        folder.chmod(0o555)
    try:
        os.utime(npz, (1, 1))
        assert load_data(npz).fingerprint == first.fingerprint
    finally:
        for folder in folders:
            folder.chmod(0o755)


@pytest.mark.parametrize("count", [1, 5])
def test_empty_split_is_refused(tmp_path: Path, load_data: Load, data_dir: Path, count: int) -> None:
    path = save_npz(tmp_path / "few.npz", count=count)
    refused(load_data, path, "few.npz", f"{count} images", " train, ", " val, ", " test", "more images")
    assert prepared(data_dir) == []


def test_missing_path_names_the_nearest(npz: Path, load_data: Load, tmp_path: Path) -> None:
    refused(load_data, tmp_path / "xx.npz", "xx.npz", f"did you mean {npz}?")
    refused(load_data, tmp_path / "nowhere" / "at" / "all", "nowhere", "dataset.path")


def test_file_of_another_kind_is_refused(tmp_path: Path, load_data: Load) -> None:
    (tmp_path / "face.png").write_bytes(b"")
    refused(load_data, tmp_path / "face.png", "face.png", "not a folder of images")


def test_first_pattern_wins(load_data: Load, data_dir: Path) -> None:
    second = save_npz(data_dir / "b" / "z.npz")
    assert load_data(files=["a.npz", "b/*.npz"]).source == str(second)
    first = save_npz(data_dir / "a.npz")
    assert load_data(files=["a.npz", "b/*.npz"]).source == str(first)
    assert load_data(second, files=["a.npz"]).source == str(second)


def test_newest_prepared_is_found_without_its_source(tmp_path: Path, load_data: Load) -> None:
    old, new = save_npz(tmp_path / "old.npz", seed=1), save_npz(tmp_path / "new.npz", seed=2)
    fingerprints = {}
    for time, path in enumerate((old, new)):
        loaded = load_data(path, files=["x.npz"])
        fingerprints[path] = loaded.fingerprint
        os.utime(Path(loaded.images.filename).with_name("meta.json"), (time, time))  # type: ignore[attr-defined]
    new.unlink()
    assert load_data(files=["x.npz"]).fingerprint == fingerprints[new]
    load_data(old, files=["x.npz"])  # asked for again: now the newest
    assert load_data(files=["x.npz"]).fingerprint == fingerprints[old]
    refused(load_data, None, "dataset=small", files=["x.npz"], size=8)
    refused(load_data, None, "dataset=other", files=["x.npz"], name="other")


def test_data_set_without_a_place_needs_a_path(npz: Path, load_data: Load) -> None:
    load_data(npz)
    refused(load_data, None, "dataset=small", DEFAULTS["hint"])


def test_missing_data_set_says_where_to_get_it(load_data: Load, data_dir: Path) -> None:
    refused(
        load_data, None, "get it at K", "a.zip, a", str(data_dir), files=["a.zip", "a"], hint="get it at K"
    )


@pytest.mark.parametrize("name", ["", "../x", "a/b", "-x"])
def test_names_stay_in_their_folder(npz: Path, load_data: Load, name: str) -> None:
    refused(load_data, npz, "dataset.name", name=name)


OWN = [file for file in sorted(CONF.glob("*.yaml")) if "load_published" not in file.read_text()]


@pytest.mark.parametrize("file", OWN, ids=lambda file: file.stem)
def test_configuration_has_every_argument(file: Path) -> None:
    text = file.read_text()
    config = configured(file.stem, Path("data"))
    assert text.startswith("# ")
    assert "data_dir: ${data_dir}" in text
    assert "\n_target_: vaelab.data.load\n" in text
    assert set(config) == set(inspect.signature(load).parameters)
    assert config["name"] == file.stem


REAL = {
    "tibetan_mnist": ((1, 28, 28), [1996, 2134, 1872, 1816, 1967, 1350, 1618, 1302, 1642, 2071]),
    "anime": ((3, 64, 64), [6000]),
    "eyes": ((3, 50, 50), [628, 848]),
}


@pytest.mark.parametrize("dataset", REAL)
def test_real_images_are_found_under_data_dir(shared_data: Path, data_dir: Path, dataset: str) -> None:
    shutil.copytree(shared_data / dataset, data_dir / dataset)
    loaded = load(**configured(dataset, data_dir))
    shape, counts = REAL[dataset]
    assert loaded.image_shape == shape
    assert len(loaded.images) == sum(counts)
    assert (loaded.labels is None) == (len(counts) == 1)
    if loaded.labels is not None:
        assert np.bincount(loaded.labels).tolist() == counts
    shares = np.array(list(loaded.sizes().values())) / len(loaded.images)
    np.testing.assert_allclose(shares, [0.8, 0.1, 0.1], atol=0.02)


def test_real_tibetan_digits_are_the_file(shared_data: Path, data_dir: Path) -> None:
    path = shared_data / "tibetan_mnist" / "TibetanMNIST.npz"
    loaded = load(**configured("tibetan_mnist", data_dir, path=str(path)))
    with np.load(path) as stored:
        np.testing.assert_array_equal(loaded.images[..., 0], stored["image"])


def test_real_binarized_mnist_keeps_its_splits(shared_data: Path, data_dir: Path) -> None:
    path = shared_data / "binarized_mnist"
    loaded = load(**configured("npz", data_dir, path=str(path)))
    assert loaded.sizes() == {"train": 50000, "val": 10000, "test": 10000}
    assert loaded.image_shape == (1, 28, 28)
    assert np.unique(loaded.images).tolist() == [0, 255]
    with np.load(path / "binarized_mnist.npz") as stored:
        np.testing.assert_array_equal(loaded.images[50000:60000].reshape(10000, 784) // 255, stored["valid"])


def test_real_faces_from_a_zip(shared_data: Path, data_dir: Path) -> None:
    loaded = load(**configured("image_folder", data_dir, path=str(shared_data / "faces")))
    assert loaded.images.shape == (4000, 64, 64, 3)
    assert loaded.labels is None
