"""Pictures come in as the data set would read them, and go out as what they are."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vaelab import UsageError
from vaelab.data import load
from vaelab.data.limits import MOST_PIXELS
from vaelab.explore import pictures


def photo(width: int, height: int) -> Image.Image:
    rows, columns = np.mgrid[:height, :width]
    pixels = np.stack((rows * 255 // height, columns * 255 // width, (rows + columns) % 256), -1)
    return Image.fromarray(pixels.astype(np.uint8))


def saved(picture: Image.Image, kind: str, **more: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **more)
    return stream.getvalue()


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_picture_is_made_as_the_data_set_makes_it(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    contents = {f"{size}.png": saved(photo(size, 40), "PNG", exif=exif) for size in range(30, 60)}
    contents["z.jpg"] = saved(photo(64, 80), "JPEG", exif=exif)
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    data = load(
        name="mine", path=str(tmp_path), data_dir=str(tmp_path / "data"), files=[], size=24, label_key=None,
        image_key=None, on_error="stop", attribute=None, attributes=None, hint=None, range=None,
    )  # fmt: skip
    for row, name in enumerate(contents):
        np.testing.assert_array_equal(pictures.as_data(name, contents[name], (3, 24, 24)), data.images[row])


def test_a_picture_becomes_gray_or_colour_as_the_data_are() -> None:
    content = saved(photo(50, 50), "PNG")
    assert pictures.as_data("x", content, (1, 8, 8)).shape == (8, 8, 1)
    assert pictures.as_data("x", saved(photo(5, 5).convert("L"), "PNG"), (3, 8, 8)).shape == (8, 8, 3)
    clear = Image.new("RGBA", (9, 9), (0, 0, 0, 0))
    assert (pictures.as_data("x", saved(clear, "PNG"), (1, 8, 8)) == 255).all()  # over white


def test_of_an_animation_the_first_frame_is_taken() -> None:
    content = saved(
        Image.new("RGB", (9, 9), "red"),
        "GIF",
        save_all=True,
        append_images=[Image.new("RGB", (9, 9), "blue")],
    )
    assert pictures.as_data("x.gif", content, (3, 4, 4)).reshape(-1, 3).tolist() == [[255, 0, 0]] * 16
    assert pictures.frames(content) == 2
    assert pictures.frames(saved(photo(5, 5), "JPEG")) == 1


def test_what_is_no_picture_is_refused_in_a_line() -> None:
    large = saved(Image.new("1", (10_000, MOST_PIXELS // 10_000 + 1)), "PNG")
    damaged = saved(photo(60, 60), "PNG")[:-400]
    for name, content, reason in (
        ("notes.txt", b"hello", "notes.txt cannot be read: not an image"),
        ("empty.png", b"", "empty.png cannot be read: an empty file"),
        ("huge.png", large, f"more than the {MOST_PIXELS:,} that are read"),
        ("cut.png", damaged, "cut.png cannot be read: "),
        (
            "page.png",
            b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
            "page.png cannot be read: not an image",
        ),
    ):
        with pytest.raises(UsageError) as refused:
            pictures.as_data(name, content, (3, 8, 8))
        assert reason in str(refused.value)
        assert "\n" not in str(refused.value)
    pictures.refuse_large("x.png", pictures.MOST_UPLOAD)
    with pytest.raises(UsageError, match=r"x.png has more than the 34 MB that are taken"):
        pictures.refuse_large("x.png", pictures.MOST_UPLOAD + 1)


def read(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize("channels", [1, 3])
def test_files_hold_the_images(channels: int) -> None:
    images = np.random.default_rng(0).random((3, 8, 8, channels), np.float32)
    bytes_of = np.rint(images * 255).astype(np.uint8)
    with read(pictures.png(images[0])) as picture:
        np.testing.assert_array_equal(np.asarray(picture).reshape(8, 8, channels), bytes_of[0])
    with read(pictures.files(images, {}, "png", 3)) as picture:
        times, side = 32, 256
        assert picture.size == (3 * side + 2 * pictures.SPACE, side)
        cells = np.asarray(picture).reshape(side, -1, channels)[::times]
        for place in range(3):
            left = place * (side + pictures.SPACE)
            np.testing.assert_array_equal(cells[:, left : left + side : times], bytes_of[place])
    with read(pictures.files(images, {}, "gif", 3)) as picture:
        assert picture.n_frames == 4  # there and back
        assert picture.info["loop"] == 0
        first = np.asarray(picture.convert("RGB" if channels == 3 else "L")).reshape(256, 256, channels)
        assert np.abs(first[::32, ::32].astype(int) - bytes_of[0]).max() <= 3
    with np.load(io.BytesIO(pictures.files(images, {"z": np.arange(3.0)}, "npz", 3))) as arrays:
        np.testing.assert_array_equal(arrays["image"], images)
        np.testing.assert_array_equal(arrays["z"], np.arange(3.0))
    with pytest.raises(UsageError, match="exe is not png, gif or npz"):
        pictures.files(images, {}, "exe", 3)


def test_one_image_is_a_gif_of_one_frame() -> None:
    with read(pictures.gif(np.zeros((1, 300, 300, 1), np.float32))) as picture:
        assert (picture.n_frames, picture.size) == (1, (300, 300))
