"""Tests of images from folders and zips: decoding, classes, and what is refused."""

import os
import tracemalloc
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_samples import Load, noise, save_pngs
from PIL import Image, ImageOps

from vaelab import UsageError

COUNT = 60


def refused(load_data: Load, path: Path, *words: str, **overrides: Any) -> None:
    with pytest.raises(UsageError) as error:
        load_data(path, **overrides)
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def zipped(path: Path, files: list[Path], folder: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.write(file, folder + file.name)
    return path


@pytest.mark.parametrize("channels", [1, 3])
def test_folder_is_read_in_order_of_names(tmp_path: Path, load_data: Load, channels: int) -> None:
    images = noise(COUNT, channels=channels)
    save_pngs(tmp_path / "x", images)
    loaded = load_data(tmp_path / "x")
    np.testing.assert_array_equal(loaded.images, images)
    assert loaded.names == tuple(f"{number:03}.png" for number in range(COUNT))
    assert loaded.labels is None


def test_zip_is_the_folder(tmp_path: Path, load_data: Load) -> None:
    images = noise(COUNT)
    path = zipped(tmp_path / "x.zip", save_pngs(tmp_path / "x", images), "deep/down/")
    before = sorted(tmp_path.iterdir())
    loaded = load_data(path)
    np.testing.assert_array_equal(loaded.images, images)
    assert loaded.names[3] == "deep/down/003.png"
    assert loaded.labels is None
    assert sorted(tmp_path.iterdir()) == sorted([*before, tmp_path / "data"])


def test_other_files_are_ignored(tmp_path: Path, load_data: Load) -> None:
    folder = tmp_path / "x"
    files = save_pngs(folder, noise(COUNT))
    for other in ("notes.txt", ".hidden.png", "__MACOSX/._000.png", ".cache/a.png", "Thumbs.db"):
        (folder / other).parent.mkdir(exist_ok=True)
        (folder / other).write_bytes(b"no image")
        files.append(folder / other)
    assert len(load_data(folder).images) == COUNT
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for file in files:
            archive.write(file, file.relative_to(folder))
    assert len(load_data(tmp_path / "x.zip").images) == COUNT


def test_a_folder_with_one_archive_means_the_archive(tmp_path: Path, load_data: Load) -> None:
    (tmp_path / "y").mkdir()
    files = save_pngs(tmp_path / "x", noise(COUNT))
    zipped(tmp_path / "y" / "faces.zip", files)
    assert load_data(tmp_path / "y").source == str(tmp_path / "y" / "faces.zip")
    zipped(tmp_path / "y" / "other.zip", files)
    refused(load_data, tmp_path / "y", "faces.zip, other.zip")


def test_classes_of_a_folder(tmp_path: Path, load_data: Load) -> None:
    save_pngs(tmp_path / "x" / "top" / "open", noise(20))
    save_pngs(tmp_path / "x" / "top" / "closed", noise(40))
    loaded = load_data(tmp_path / "x")
    assert loaded.classes == ("closed", "open")
    assert loaded.labels is not None
    assert np.bincount(loaded.labels).tolist() == [40, 20]
    assert loaded.names[0] == "top/closed/000.png"


def test_one_colour_image_makes_all_rgb(tmp_path: Path, load_data: Load) -> None:
    gray = noise(COUNT, channels=1)
    save_pngs(tmp_path / "x", gray)
    colour = noise(1)[0]
    Image.fromarray(colour).save(tmp_path / "x" / "z.png")
    loaded = load_data(tmp_path / "x")
    np.testing.assert_array_equal(loaded.images[:-1], np.repeat(gray, 3, axis=-1))
    np.testing.assert_array_equal(loaded.images[-1], colour)


@pytest.mark.parametrize("size", [8, 16, [20, 6]])
def test_resizing_is_pillows(tmp_path: Path, load_data: Load, size: Any) -> None:
    images = noise(COUNT)
    save_pngs(tmp_path / "x", images)
    loaded = load_data(tmp_path / "x", size=size)
    height, width = (size, size) if isinstance(size, int) else size
    for row in (0, 31, COUNT - 1):
        picture = Image.fromarray(images[row])
        expected = ImageOps.fit(picture, (width, height), method=Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(loaded.images[row], expected)


def test_resizing_smooths_what_it_cannot_show() -> None:
    from vaelab.data.raw import resized

    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))[..., None]
    assert np.ptp(resized(stripes, (8, 8, 1))[:, 1:-1]) <= 2


def test_aspect_is_kept_by_a_centre_crop() -> None:
    from vaelab.data.raw import resized

    wide = np.zeros((16, 48, 1), np.uint8)
    wide[:, 16:32] = 255
    assert resized(wide, (8, 8, 1)).mean() > 250


@pytest.fixture
def jpegs(tmp_path: Path) -> Path:
    folder = tmp_path / "jpegs"
    folder.mkdir()
    for number, image in enumerate(noise(COUNT, 32, 32)):
        Image.fromarray(image).save(folder / f"{number:03}.jpg")
    return folder


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:700])


def test_truncated_jpeg_is_named(jpegs: Path, load_data: Load, data_dir: Path) -> None:
    truncate(jpegs / "041.jpg")
    refused(load_data, jpegs, "041.jpg", str(jpegs), "truncated", "dataset.on_error=skip", size=16)
    assert not [path for path in (data_dir / "prepared").iterdir() if path.suffix != ".lock"]


def test_truncated_jpeg_in_a_zip_is_named(tmp_path: Path, jpegs: Path, load_data: Load) -> None:
    truncate(jpegs / "041.jpg")
    refused(load_data, zipped(tmp_path / "x.zip", sorted(jpegs.iterdir())), "041.jpg", "x.zip")


def test_not_an_image_is_named(jpegs: Path, load_data: Load) -> None:
    (jpegs / "007.jpg").write_text("hello")
    refused(load_data, jpegs, "007.jpg", "not an image")


def test_damaged_images_are_skipped_on_request(
    tmp_path: Path, jpegs: Path, load_data: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = load_data(jpegs)
    truncate(jpegs / "041.jpg")
    (jpegs / "007.jpg").write_bytes(b"")
    loaded = load_data(jpegs, on_error="skip")
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("skipped")]
    assert lines == [f"skipped 2 of 60 images of {jpegs}, damaged: 007.jpg, 041.jpg"]
    kept = np.setdiff1d(np.arange(COUNT), [7, 41])
    np.testing.assert_array_equal(loaded.images, whole.images[kept])
    assert loaded.names == tuple(whole.names[row] for row in kept)
    assert len(loaded.split) == COUNT - 2
    # what was prepared without them is not passed off as complete
    refused(load_data, jpegs, "007.jpg", "dataset.on_error=skip")
    assert load_data(jpegs, on_error="skip").fingerprint == loaded.fingerprint


def test_labels_follow_when_images_are_skipped(tmp_path: Path, load_data: Load) -> None:
    save_pngs(tmp_path / "x" / "a", noise(20))
    save_pngs(tmp_path / "x" / "b", noise(40))
    (tmp_path / "x" / "a" / "005.png").write_bytes(b"")
    loaded = load_data(tmp_path / "x", on_error="skip")
    assert loaded.labels is not None
    assert np.bincount(loaded.labels).tolist() == [19, 40]


def test_on_error_is_stop_or_skip(jpegs: Path, load_data: Load) -> None:
    refused(load_data, jpegs, "dataset.on_error=ignore", "stop or skip", on_error="ignore")


def test_all_damaged(jpegs: Path, load_data: Load) -> None:
    for file in jpegs.iterdir():
        file.write_bytes(b"hello")
    refused(load_data, jpegs, "none of the 60 files", "000.jpg", on_error="skip")


def test_mixed_sizes_need_a_size(tmp_path: Path, load_data: Load) -> None:
    save_pngs(tmp_path / "x", noise(COUNT))
    Image.fromarray(noise(1, 20, 30)[0]).save(tmp_path / "x" / "z.png")
    refused(load_data, tmp_path / "x", "30×20", "10×12", "dataset.size=64")
    assert load_data(tmp_path / "x", size=16).images.shape == (COUNT + 1, 16, 16, 3)


def test_folder_and_zip_without_images(tmp_path: Path, load_data: Load) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "notes.txt").write_text("hello")
    refused(load_data, tmp_path / "x", "no images", "dataset.path")
    refused(load_data, zipped(tmp_path / "x.zip", [tmp_path / "x" / "notes.txt"]), "no images", "x.zip")


@pytest.mark.parametrize(
    "entry", ["../evil.png", "a/../../evil.png", "/evil.png", "..\\evil.png", "C:\\evil.png"]
)
def test_zip_that_points_outside_is_refused(tmp_path: Path, load_data: Load, entry: str) -> None:
    files = save_pngs(tmp_path / "x", noise(COUNT))
    path = zipped(tmp_path / "x.zip", files)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(entry, b"hello")
    refused(load_data, path, "x.zip", "outside")


def test_broken_zip(tmp_path: Path, load_data: Load) -> None:
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 hello")
    refused(load_data, tmp_path / "x.zip", "x.zip", "cannot be read")


def save_grays(folder: Path, values: np.ndarray, suffix: str = "png") -> None:
    """The same gray picture, of any type of values, COUNT times."""
    folder.mkdir()
    for number in range(COUNT):
        Image.fromarray(values).save(folder / f"{number:03}.{suffix}")


@pytest.mark.parametrize(("high", "remedy"), [(4080, 4095), (200, 255), (16000, 16383)])
def test_dark_16_bit_pictures_need_a_range(tmp_path: Path, load_data: Load, high: int, remedy: int) -> None:
    values = np.linspace(0, high, 120).astype(np.uint16).reshape(12, 10)
    save_grays(tmp_path / "x", values)
    refused(load_data, tmp_path / "x", f"values from 0 to {high}", f"dataset.range=[0,{remedy}]")
    loaded = load_data(tmp_path / "x", range=[0, remedy])
    np.testing.assert_array_equal(loaded.images[7, ..., 0], np.rint(values / remedy * 255))
    dark = load_data(tmp_path / "x", range=[0, 65535])
    np.testing.assert_array_equal(dark.images[7, ..., 0], (values.astype(int) + 128) // 257)


def test_where_all_16_bit_pictures_are_damaged_one_is_named(tmp_path: Path, load_data: Load) -> None:
    save_grays(tmp_path / "x", noise(1, 64, 64)[0, ..., 0].astype(np.uint16))
    for file in (tmp_path / "x").iterdir():
        file.write_bytes(file.read_bytes()[:200])
    refused(load_data, tmp_path / "x", "damaged image 000.png")


def test_floating_point_pictures_need_a_range(tmp_path: Path, load_data: Load) -> None:
    values = np.linspace(0, 1, 120, dtype=np.float32).reshape(12, 10)
    save_grays(tmp_path / "x", values, "tif")
    refused(load_data, tmp_path / "x", "000.tif", "dataset.range=[0,1]")
    images = load_data(tmp_path / "x", range=[0, 1]).images
    np.testing.assert_array_equal(images[3, ..., 0], np.rint(values * 255))


def test_dark_colours_of_16_bits_are_refused(tmp_path: Path, load_data: Load) -> None:
    (tmp_path / "x").mkdir()
    for number in range(COUNT):
        (tmp_path / "x" / f"{number:03}.png").write_bytes(png_of_16_bit_colours(4095))
    refused(load_data, tmp_path / "x", "000.png", "upper 8", "convert")
    refused(load_data, tmp_path / "x", "convert", range=[0, 4095])
    assert load_data(tmp_path / "x", range=[0, 65535]).images.max() == 15
    for number in range(COUNT):
        (tmp_path / "x" / f"{number:03}.png").write_bytes(png_of_16_bit_colours(4095, alpha=65535))
    refused(load_data, tmp_path / "x", "upper 8", "convert")


def png_of_16_bit_colours(value: int, alpha: int | None = None) -> bytes:
    """A PNG of 2×2 pixels, RGB or RGBA of 16 bits, which Pillow reads but cannot write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")

    size = (2).to_bytes(4, "big") * 2
    pixel = value.to_bytes(2, "big") * 3 + (b"" if alpha is None else alpha.to_bytes(2, "big"))
    rows = (b"\0" + pixel * 2) * 2
    colours = 2 if alpha is None else 6  # of the PNG specification: truecolour, and with alpha
    chunks = chunk(b"IHDR", size + bytes((16, colours, 0, 0, 0))) + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunks + chunk(b"IEND", b"")


def test_a_range_of_8_bit_pictures_is_refused(tmp_path: Path, load_data: Load) -> None:
    save_pngs(tmp_path / "x", noise(COUNT))
    refused(load_data, tmp_path / "x", "dataset.range=[0,4095]", "8 bits", range=[0, 4095])


@pytest.mark.parametrize("orientation", [5, 6, 7, 8, 9])
@pytest.mark.parametrize("kind", ["tif", "jpg"])
def test_no_size_of_a_header_is_turned_twice(
    tmp_path: Path, load_data: Load, orientation: int, kind: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "x").mkdir()
    for number, image in enumerate(noise(COUNT, 12, 10)):
        path = tmp_path / "x" / f"{number:03}.{kind}"
        Image.fromarray(image).save(path, **({"tiffinfo": exif} if kind == "tif" else {"exif": exif}))
    assert load_data(tmp_path / "x").images.shape[1:3] == ((10, 12) if orientation < 9 else (12, 10))


def test_a_picture_that_pillow_cannot_read_is_named_by_its_format(jpegs: Path, load_data: Load) -> None:
    (jpegs / "007.jpg").write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
    refused(load_data, jpegs, "007.jpg", "HEIC", "convert it to PNG or JPEG")
    assert len(load_data(jpegs, on_error="skip").images) == COUNT - 1
    for file in jpegs.iterdir():
        file.write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
    refused(load_data, jpegs, "none of the 60 files", "HEIC")


def test_a_picture_too_large_is_damaged_by_name(jpegs: Path, load_data: Load) -> None:
    Image.new("L", (9500, 9500)).save(jpegs / "007.jpg")
    refused(load_data, jpegs, "007.jpg", "9500×9500 pixels", "dataset.on_error=skip")
    assert len(load_data(jpegs, on_error="skip").images) == COUNT - 1


def test_large_pictures_are_decoded_one_at_a_time_to_the_same(
    jpegs: Path, load_data: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = load_data(jpegs).images
    monkeypatch.setattr("vaelab.data.decode.LARGE_PIXELS", 0)
    monkeypatch.setattr("vaelab.data.prepare.BLOCK_BYTES", 1)
    monkeypatch.setattr("vaelab.data.prepare.AHEAD_BYTES", 1)
    np.testing.assert_array_equal(load_data(jpegs, size=[32, 32]).images, images)


def test_entries_that_inflate_without_bound_are_refused_unread(
    tmp_path: Path, load_data: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zipped(tmp_path / "x.zip", save_pngs(tmp_path / "x", noise(COUNT)))
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.png", bytes(1 << 26))
    with monkeypatch.context() as patch:
        patch.setattr("vaelab.data.limits.BOMB_BYTES", 1 << 20)
        refused(load_data, path, "x.zip", "refused", "unpack to 0.1 GB")
    monkeypatch.setattr("vaelab.data.pictures.MOST_FILE_BYTES", 1 << 20)
    refused(load_data, path, "zeros.png", "more than a picture has")
    assert len(load_data(path, on_error="skip").images) == COUNT


def test_an_entry_that_declares_less_than_it_inflates_to_is_damaged(tmp_path: Path, load_data: Load) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros.png", bytes(1 << 26))
    data = path.read_bytes()
    path.write_bytes(data.replace((1 << 26).to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    tracemalloc.start()
    refused(load_data, path, "zeros.png", "CRC")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 25


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no FIFOs")
def test_pipes_and_devices_are_never_opened(tmp_path: Path, load_data: Load) -> None:
    save_pngs(tmp_path / "x", noise(COUNT))
    os.mkfifo(tmp_path / "x" / "z.png")
    refused(load_data, tmp_path / "x", "z.png", "not a regular file")
    (tmp_path / "x" / "z.png").unlink()
    (tmp_path / "x" / "z.png").symlink_to("/dev/zero")
    refused(load_data, tmp_path / "x", "z.png", "not a regular file")
    (tmp_path / "x.zip").symlink_to("/dev/zero")
    refused(load_data, tmp_path / "x.zip", "x.zip", "not a regular file")
