"""Tests of images from arrays: layouts, ranges, labels, and what is refused."""

import io
import json
import math
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_samples import Load, noise
from PIL import Image, ImageOps

from vaelab import UsageError
from vaelab.data.arrays import read_npy, read_npz
from vaelab.data.sources import Source

COUNT = 60


@pytest.fixture
def image() -> np.ndarray:
    return noise(COUNT, 9, 9, 1)


def saved(folder: Path, **arrays: Any) -> Path:
    np.savez(folder / "x.npz", **arrays)
    return folder / "x.npz"


def refused(load_data: Load, path: Path, *words: str, **overrides: Any) -> None:
    with pytest.raises(UsageError) as error:
        load_data(path, **overrides)
    assert "\n" not in str(error.value)
    for word in (path.name, *words):
        assert word in str(error.value)


@pytest.mark.parametrize("channels", [1, 3])
def test_npz_is_kept_as_stored(tmp_path: Path, load_data: Load, channels: int) -> None:
    images = noise(COUNT, 9, 7, channels)
    loaded = load_data(saved(tmp_path, image=images))
    np.testing.assert_array_equal(loaded.images, images)
    assert loaded.images.dtype == np.uint8
    assert isinstance(loaded.images, np.memmap)
    assert not loaded.images.flags.writeable
    assert loaded.labels is None
    assert loaded.classes == ()
    assert loaded.names[12] == "row 12"
    assert loaded.source == str(tmp_path / "x.npz")
    assert loaded.split.dtype == np.int8


def test_layouts_mean_the_same_images(tmp_path: Path, load_data: Load, image: np.ndarray) -> None:
    for stored in (image, image[..., 0], image.reshape(COUNT, 81), image.transpose(0, 3, 1, 2)):
        loaded = load_data(saved(tmp_path, image=stored))
        np.testing.assert_array_equal(loaded.images, image)


def test_channels_first_colour(tmp_path: Path, load_data: Load) -> None:
    images = noise(COUNT)
    np.testing.assert_array_equal(
        load_data(saved(tmp_path, image=images.transpose(0, 3, 1, 2))).images, images
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_float_ranges_map_to_bytes(tmp_path: Path, load_data: Load, image: np.ndarray, dtype: type) -> None:
    image[0, 0, 0], image[0, 0, 1] = 0, 255
    for stored in (image / 255, image / 127.5 - 1, image.astype(float)):
        loaded = load_data(saved(tmp_path, image=stored.astype(dtype)))
        np.testing.assert_array_equal(loaded.images, image)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64])
def test_binary_becomes_black_and_white(
    tmp_path: Path, load_data: Load, image: np.ndarray, dtype: type
) -> None:
    loaded = load_data(saved(tmp_path, image=(image > 100).astype(dtype)))
    np.testing.assert_array_equal(loaded.images, (image > 100) * np.uint8(255))


def test_integers_of_other_types_are_kept(tmp_path: Path, load_data: Load, image: np.ndarray) -> None:
    np.testing.assert_array_equal(load_data(saved(tmp_path, image=image.astype(np.int32))).images, image)


@pytest.mark.parametrize(
    ("value", "words"),
    [(np.nan, "row 3"), (np.inf, "row 3"), (-2.0, "-2 to 0"), (300.0, "300"), (-1, "-1 to 0"), (256, "256")],
)
def test_values_out_of_range_are_refused(tmp_path: Path, load_data: Load, value: float, words: str) -> None:
    images = np.zeros((COUNT, 9, 9), type(value))
    images[3, 4, 5] = value
    refused(load_data, saved(tmp_path, image=images), "'image'", words)


def test_a_small_overshoot_is_clipped_and_said(
    tmp_path: Path, load_data: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    image = np.tile(np.linspace(0, 1, 9, dtype=np.float32), (COUNT, 9, 1))
    plain = load_data(saved(tmp_path, image=image))
    image[3, :4, -1] = 1.03
    loaded = load_data(saved(tmp_path, image=image))
    np.testing.assert_array_equal(loaded.images, plain.images)
    clipped = [line for line in capsys.readouterr().err.splitlines() if line.startswith("clipped")]
    assert clipped == [f"clipped 4 values of {tmp_path / 'x.npz'}, key 'image' to [0,1]"]


def test_a_range_is_given_where_values_do_not_say_it(tmp_path: Path, load_data: Load) -> None:
    image = np.tile(np.linspace(0, 4000, 9).astype(np.uint16), (COUNT, 9, 1))
    path = saved(tmp_path, image=image)
    refused(load_data, path, "values from 0 to 4000", "dataset.range=[0,4095]")
    loaded = load_data(path, range=[0, 4095])
    np.testing.assert_array_equal(loaded.images[..., 0], np.rint(image / 4095 * 255))
    assert load_data(path, range=[0.0, 4095.0]).fingerprint == loaded.fingerprint
    assert load_data(path, range=[0, 4000]).images.max() == 255


def test_a_null_range_keeps_what_was_prepared_without_one(
    tmp_path: Path, load_data: Load, data_dir: Path, image: np.ndarray
) -> None:
    load_data(saved(tmp_path, image=image))
    (meta,) = (data_dir / "prepared").glob("*/meta.json")
    assert "range" not in json.loads(meta.read_text())["settings"]
    load_data(tmp_path / "x.npz", range=None)
    assert list((data_dir / "prepared").glob("*/meta.json")) == [meta]


@pytest.mark.parametrize("shape", [(64, 64, 3), (64, 60, 3), (3, 64, 64), (64, 64, 4), (16, 16, COUNT)])
def test_other_layouts_are_no_gray_images(tmp_path: Path, load_data: Load, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "x.npy", noise(1, *shape[:2], shape[2])[0])
    refused(load_data, tmp_path / "x.npy", str(shape), "(N, H, W")


@pytest.mark.parametrize("shape", [(COUNT,), (COUNT, 80), (COUNT, 9, 9, 4), (2, 2, 9, 9, 3), (0, 9, 9)])
def test_shapes_that_are_no_images_are_refused(
    tmp_path: Path, load_data: Load, shape: tuple[int, ...]
) -> None:
    refused(load_data, saved(tmp_path, image=np.zeros(shape, np.uint8)), str(shape))


def test_text_is_no_image(tmp_path: Path, load_data: Load) -> None:
    refused(load_data, saved(tmp_path, image=np.full((COUNT, 2, 2), "a")), "<U1")


def test_integer_labels_become_classes(tmp_path: Path, load_data: Load, image: np.ndarray) -> None:
    label = np.array([7, 3, 10] * 20)
    for stored in (label.astype(np.uint8), label[:, None], label.astype(float), label.astype("int16")):
        loaded = load_data(saved(tmp_path, image=image, label=stored))
        assert loaded.classes == ("3", "7", "10")
        assert loaded.labels is not None
        assert loaded.labels.dtype == np.int64
        assert loaded.labels.tolist() == [1, 0, 2] * 20


def test_string_labels_become_classes(tmp_path: Path, load_data: Load, image: np.ndarray) -> None:
    for stored in (np.array(["open", "closed"] * 30), np.array([b"open", b"closed"] * 30)):
        loaded = load_data(saved(tmp_path, image=image, label=stored))
        assert loaded.classes == ("closed", "open")
        assert loaded.labels is not None
        assert loaded.labels.tolist() == [1, 0] * 30


def test_keys_can_be_named_and_others_are_ignored(tmp_path: Path, load_data: Load, image: np.ndarray) -> None:
    path = saved(tmp_path, x=image, y=np.arange(COUNT) % 2, other=np.array([{}], dtype=object))
    loaded = load_data(path, image_key="x", label_key="y")
    np.testing.assert_array_equal(loaded.images, image)
    assert loaded.classes == ("0", "1")
    assert load_data(path, image_key="x", label_key=None).labels is None


def test_missing_image_key_names_the_keys(tmp_path: Path, load_data: Load, image: np.ndarray) -> None:
    refused(load_data, saved(tmp_path, x=image, y=image), "'image'", "x, y", "dataset.image_key")


def test_nearly_right_label_key_is_not_lost(tmp_path: Path, load_data: Load, image: np.ndarray) -> None:
    path = saved(tmp_path, image=image, labels=np.arange(COUNT))
    refused(load_data, path, "'label'", "dataset.label_key=labels")


def test_label_count_must_match(tmp_path: Path, load_data: Load, image: np.ndarray) -> None:
    refused(load_data, saved(tmp_path, image=image, label=np.zeros(COUNT - 1, int)), "59 labels", "60 images")


@pytest.mark.parametrize("label", [np.zeros((COUNT, 2), int), np.full(COUNT, 0.5), np.full(COUNT, np.nan)])
def test_labels_that_are_no_classes_are_refused(
    tmp_path: Path, load_data: Load, image: np.ndarray, label: np.ndarray
) -> None:
    refused(load_data, saved(tmp_path, image=image, label=label), "label")


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("key", ["image", "label"])
def test_pickles_in_npz_are_never_loaded(
    tmp_path: Path, load_data: Load, image: np.ndarray, key: str
) -> None:
    pickled = np.array([Bomb(tmp_path / "mark")] * COUNT, dtype=object)
    refused(load_data, saved(tmp_path, **({"image": image} | {key: pickled})), repr(key), "pickled")
    assert not (tmp_path / "mark").exists()


def test_pickles_in_npy_are_never_loaded(tmp_path: Path, load_data: Load) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.array([Bomb(tmp_path / "mark")], dtype=object), allow_pickle=True)
    refused(load_data, path, "pickled")
    path.write_bytes(b"\x80\x04]\x94.")
    refused(load_data, path, "not an .npy array")
    assert not (tmp_path / "mark").exists()


def test_broken_files_are_named(tmp_path: Path, load_data: Load, image: np.ndarray) -> None:
    path = saved(tmp_path, image=image)
    whole = path.read_bytes()
    for broken in (whole[:2000], b"", b"hello", whole[:500] + b"\xff" * 40 + whole[540:]):
        path.write_bytes(broken)
        refused(load_data, path)
    np.save(tmp_path / "y.npy", image)
    (tmp_path / "y.npy").write_bytes((tmp_path / "y.npy").read_bytes()[:-9])
    refused(load_data, tmp_path / "y.npy")


def test_npy_with_labels_beside_it(tmp_path: Path, load_data: Load, image: np.ndarray) -> None:
    np.save(tmp_path / "data.npy", image / 255)
    assert load_data(tmp_path / "data.npy").labels is None
    np.save(tmp_path / "label.npy", np.arange(COUNT)[:, None] % 2)
    loaded = load_data(tmp_path / "data.npy")
    np.testing.assert_array_equal(loaded.images, image)
    assert loaded.classes == ("0", "1")
    assert load_data(tmp_path).fingerprint == loaded.fingerprint  # the folder that holds both means the same
    assert load_data(tmp_path / "data.npy", label_key=None).labels is None


def test_own_splits_are_kept(tmp_path: Path, load_data: Load) -> None:
    rows = (noise(60, 4, 4, 1) > 100).reshape(60, 16)
    loaded = load_data(saved(tmp_path, train=rows[:40], valid=rows[40:50], test=rows[50:]))
    assert loaded.sizes() == {"train": 40, "val": 10, "test": 10}
    np.testing.assert_array_equal(
        loaded.images[loaded.indices("val"), ..., 0], rows[40:50].reshape(-1, 4, 4) * 255
    )


def test_own_splits_must_agree_in_shape(tmp_path: Path, load_data: Load) -> None:
    parts = {"train": noise(3, 4, 4), "valid": noise(3, 4, 4), "test": noise(3, 5, 4)}
    refused(load_data, saved(tmp_path, **parts), "test (3, 5, 4, 3)")


def test_own_splits_must_agree_in_range(tmp_path: Path, load_data: Load) -> None:
    parts = {"train": noise(30, 4, 4), "valid": noise(9, 4, 4) / 255, "test": noise(9, 4, 4)}
    refused(load_data, saved(tmp_path, **parts), "train [0,255], valid [0,1], test [0,255]")


def header(shape: tuple[int, ...], version: bytes = b"\x01\0") -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return stream.getvalue().replace(b"\x01\0", version, 1)


def packed(path: Path, head: bytes, zeros: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("image.npy", "w") as file:
        file.write(head)
        for _ in range(zeros >> 20):
            file.write(bytes(1 << 20))
    return path


ABSURD = [(10**9, 1000, 1000), (2**70, 9, 9), (-5, 9, 9)]


@pytest.mark.parametrize("shape", ABSURD)
def test_a_header_that_declares_more_than_there_is_is_refused(
    tmp_path: Path, load_data: Load, shape: tuple[int, ...]
) -> None:
    refused(load_data, packed(tmp_path / "x.npz", header(shape), 1 << 20), "'image'", "its header stands for")
    (tmp_path / "x.npy").write_bytes(header(shape) + bytes(999))
    refused(load_data, tmp_path / "x.npy", "cannot be read")


@pytest.mark.parametrize("text", [b"{'descr': ('", b"(" * 9000, b"{'descr': '|u1' 5}"])
def test_a_header_that_is_no_dict_is_damaged(tmp_path: Path, load_data: Load, text: bytes) -> None:
    head = b"\x93NUMPY\x01\0" + len(text).to_bytes(2, "little") + text
    refused(load_data, packed(tmp_path / "x.npz", head, 1 << 20), "cannot be read")
    (tmp_path / "x.npy").write_bytes(head + bytes(99))
    refused(load_data, tmp_path / "x.npy", "cannot be read")


def test_a_header_of_gigabytes_is_not_read(tmp_path: Path, load_data: Load) -> None:
    head = b"\x93NUMPY\x02\0" + (4_000_000_000).to_bytes(4, "little")
    refused(load_data, packed(tmp_path / "x.npz", head, 1 << 20), "cannot be read")
    with (tmp_path / "x.npy").open("wb") as file:
        file.write(head)
        file.truncate(4_000_000_100)
    with pytest.raises(UsageError, match="cannot be read"):
        read_npy((tmp_path / "x.npy",), None, None)


def test_what_inflates_without_bound_is_refused_unread(
    tmp_path: Path, load_data: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vaelab.data import limits

    path = packed(tmp_path / "x.npz", header((1 << 14, 32, 32)), 1 << 24)
    monkeypatch.setattr(limits, "BOMB_BYTES", 1 << 20)
    refused(load_data, path, "unpack to 0.0 GB", ".npy")
    monkeypatch.undo()
    monkeypatch.setattr(limits, "free_memory", lambda: 1 << 24)
    refused(load_data, path, "'image'", "of memory", "save it as .npy")


def test_an_npy_is_never_in_memory_as_a_whole(
    tmp_path: Path, load_data: Load, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vaelab.data import limits

    np.save(tmp_path / "x.npy", image)
    monkeypatch.setattr(limits, "free_memory", lambda: 0)
    np.testing.assert_array_equal(load_data(tmp_path / "x.npy").images, image)


@pytest.mark.parametrize(
    ("shape", "words"),
    [((10**9, 1, 1, 1), "1,000,000,000 images"), ((2, 10**5, 10**5), "100000×100000 pixels")],
)
def test_images_too_many_or_too_large_are_refused(tmp_path: Path, shape: tuple[int, ...], words: str) -> None:
    with (tmp_path / "x.npy").open("wb") as file:
        file.write(header(shape))
        file.truncate(file.tell() + math.prod(shape))
    with pytest.raises(UsageError, match=words):
        read_npy((tmp_path / "x.npy",), None, None)


@pytest.mark.parametrize("suffix", ["npz", "npy"])
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_pipes_and_devices_are_never_opened(tmp_path: Path, load_data: Load, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    os.mkfifo(path)
    refused(load_data, path, "not a regular file")
    path.unlink()
    path.symlink_to("/dev/zero")
    refused(load_data, path, "not a regular file")
    for read in (lambda: read_npz(path, None, "image", None, None), lambda: read_npy((path,), None, None)):
        with pytest.raises(UsageError, match="not a regular file"):
            read()


@pytest.mark.parametrize(("channels", "size"), [(1, 16), (3, [5, 20]), (3, 24)])
def test_arrays_are_resized_as_pillow_does(tmp_path: Path, load_data: Load, channels: int, size: Any) -> None:
    images = noise(COUNT, 12, 10, channels)
    loaded = load_data(saved(tmp_path, image=images), size=size)
    height, width = (size, size) if isinstance(size, int) else size
    assert loaded.image_shape == (channels, height, width)
    for row in (0, COUNT - 1):
        picture = Image.fromarray(images[row, ..., 0] if channels == 1 else images[row])
        expected = ImageOps.fit(picture, (width, height), method=Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(loaded.images[row].squeeze(), np.asarray(expected))


@pytest.mark.parametrize("size", [0, -3, [4], [4, 0], [4, 5, 6], True])
def test_impossible_sizes_are_refused(load_data: Load, size: Any) -> None:
    with pytest.raises(UsageError, match=r"dataset\.size"):
        load_data("embedded", size=size)


def test_digits_are_scikit_learns(load_data: Load) -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    small = load_data("embedded", name="digits", size=8)
    np.testing.assert_array_equal(small.images[..., 0], np.rint(digits.images / 16 * 255))
    loaded = load_data("embedded", name="digits", size=32)
    assert loaded.images.shape == (1797, 32, 32, 1)
    assert loaded.labels is not None
    np.testing.assert_array_equal(loaded.labels, digits.target)
    assert loaded.classes == tuple("0123456789")
    assert loaded.source == "embedded"


def test_a_truncated_array_is_refused_before_it_is_hashed(
    tmp_path: Path, load_data: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "large.npy").open("wb") as file:
        header = {"shape": (10**6, 100, 100), "fortran_order": False, "descr": "|u1"}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(10**9)  # of ten times as many bytes, with nothing on the disk

    def hashed(source: Source) -> str:
        raise AssertionError("hashed")

    monkeypatch.setattr(Source, "content", hashed)
    refused(load_data, tmp_path / "large.npy", "large.npy cannot be read")
