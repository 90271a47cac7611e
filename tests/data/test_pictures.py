"""Tests of images from folders and zips: decoding, classes, and what is refused."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from data_samples import Load, noise, save_pngs
from PIL import Image, ImageOps

from vaelab import UsageError
from vaelab.data.pictures import classes_of, decode

COUNT = 60


def decoded(picture: Image.Image, mode: str, kind: str = "png", **options: Any) -> np.ndarray:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    stream.seek(0)
    return decode(stream, mode)


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


@pytest.mark.parametrize(
    ("names", "classes", "labels"),
    [
        (["a.png", "b.png"], (), None),
        (["x/a.png", "x/b.png"], (), None),
        (["x/cat/a.png", "x/dog/b.png", "x/dog/c.png"], ("cat", "dog"), [0, 1, 1]),
        (["dog/1/a.png", "cat/2/a.png"], ("cat", "dog"), [1, 0]),
        (["x/a.png", "x/y/b.png"], (), None),
    ],
)
def test_sub_folders_are_classes(
    names: list[str], classes: tuple[str, ...], labels: list[int] | None
) -> None:
    found, names_of_classes = classes_of(names)
    assert names_of_classes == classes
    assert (found is None and labels is None) or (found is not None and found.tolist() == labels)


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


def test_exif_turns_the_image(tmp_path: Path, load_data: Load) -> None:
    images = noise(COUNT, 12, 10)
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "x").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "x" / f"{number:03}.png", exif=exif)
    loaded = load_data(tmp_path / "x")
    np.testing.assert_array_equal(loaded.images, np.rot90(images, -1, axes=(1, 2)))


def test_alpha_is_laid_over_white() -> None:
    rgba = np.zeros((2, 1, 4), np.uint8)
    rgba[0, 0] = (10, 20, 30, 255)
    assert decoded(Image.fromarray(rgba), "RGB").tolist() == [[[10, 20, 30]], [[255, 255, 255]]]
    gray = Image.fromarray(np.array([[[7, 255]], [[7, 0]]], np.uint8))
    assert decoded(gray, "L").tolist() == [[[7]], [[255]]]
    palette = Image.new("P", (2, 1))
    palette.putpalette([9, 9, 9, 0, 0, 0])
    palette.putpixel((1, 0), 1)
    assert decoded(palette, "RGB", transparency=1).tolist() == [[[9, 9, 9], [255, 255, 255]]]


@pytest.mark.parametrize("kind", ["png", "ppm", "tiff"])
def test_16_bit_gray_becomes_8_bit(kind: str) -> None:
    values = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
    assert decoded(Image.fromarray(values), "L", kind)[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]


@pytest.mark.parametrize(("mode", "value"), [("1", 255), ("CMYK", 255), ("P", 0)])
def test_other_modes(mode: str, value: int) -> None:
    picture = Image.new("RGB", (4, 3), (255, 255, 255) if value else (0, 0, 0)).convert(mode)
    kind = "tiff" if mode == "CMYK" else "png"
    np.testing.assert_array_equal(decoded(picture, "RGB", kind), np.full((3, 4, 3), value))


def test_float_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="floating-point"):
        decoded(Image.new("F", (2, 2)), "L", "tiff")


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
    assert not list((data_dir / "prepared").iterdir())


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
