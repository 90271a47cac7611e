"""Moving pictures: a GIF decodes to the frames that it was made of, in order, as long as each was to be seen."""

import io
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from PIL import Image

from vaelab.moving import (
    COLUMNS,
    EPOCH,
    GAP,
    HOLD,
    MOST_BYTES,
    STEP,
    Moving,
    along_epochs,
    gif,
    save_gif,
    there_and_back,
)  # fmt: skip
from vaelab.report import animations
from vaelab.report.record import Record


def decoded(data: bytes) -> tuple[list[np.ndarray], list[int]]:
    """The frames (H, W, 3) and the milliseconds of each."""
    frames, milliseconds = [], []
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.info["loop"] == 0
        for place in range(picture.n_frames):
            picture.seek(place)
            milliseconds.append(picture.info["duration"])
            frames.append(np.asarray(picture.convert("RGB")))
    return frames, milliseconds


def sheet(images: np.ndarray) -> np.ndarray:
    """Images (rows, columns, H, W, C) beside and below each other, as a reader would lay them."""
    lines = []
    for row in images:
        cells = [np.pad(image, ((0, GAP), (0, GAP), (0, 0)), constant_values=1) for image in row]
        lines.append(np.concatenate(cells, 1))
    return np.concatenate(lines)[:-GAP, :-GAP]


def random_images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape, np.float32)


def test_gray_frames_decode_to_the_arrays() -> None:
    images = random_images(10, 5, 7, 6, 1)
    moving = there_and_back(images)
    frames, milliseconds = decoded(gif(moving))
    there = [
        sheet(np.concatenate((images[:, t], np.ones((6, 7, 6, 1)))).reshape(2, COLUMNS, 7, 6, 1))
        for t in range(5)
    ]
    for found, expected in zip(frames, [*there, *there[3:0:-1]], strict=True):
        assert np.array_equal(found, np.round(expected * 255).astype(np.uint8).repeat(3, -1))
    assert milliseconds == [HOLD, STEP, STEP, STEP, HOLD, STEP, STEP, STEP]


def test_colours_are_256_that_all_frames_share_and_near_the_arrays() -> None:
    ramp = np.linspace(0, 1, 16, dtype=np.float32)
    one = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], 0.5), -1)
    frames, _ = decoded(gif(Moving(np.stack([one, one[::-1]])[:, None, None], [STEP, STEP])))
    expected = [one * 255, one[::-1] * 255]
    assert max(np.abs(a - b).mean() for a, b in zip(frames, expected, strict=True)) < 4
    colours = {tuple(pixel) for frame in frames for pixel in frame.reshape(-1, 3)}
    assert len(colours) <= 256


def test_few_colours_are_exact() -> None:
    images = np.random.default_rng(1).integers(0, 3, (3, 1, 2, 8, 8, 3)).astype(np.float32) / 2
    frames, milliseconds = decoded(gif(along_epochs(list(images))))
    for found, expected in zip(frames, images, strict=True):
        assert np.array_equal(found, np.round(sheet(expected) * 255).astype(np.uint8))
    assert milliseconds == [EPOCH, EPOCH, 2 * EPOCH]


def test_the_same_arrays_give_the_same_bytes() -> None:
    images = random_images(3, 4, 8, 8, 3)
    assert gif(there_and_back(images)) == gif(there_and_back(images.copy()))


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_too_large_loses_columns(channels: int) -> None:
    images = random_images(16, 8, 64, 64, channels)  # of noise, which nothing makes smaller
    data = gif(there_and_back(images))
    assert len(data) <= MOST_BYTES
    frames, _ = decoded(data)
    assert len(frames) == 14
    height, width = frames[0].shape[:2]
    assert height == 2 * 64 + GAP
    assert width in [n * (64 + GAP) - GAP for n in (1, 2, 4)]


def test_frames_that_are_alike_last_as_long() -> None:
    images = np.zeros((2, 4, 8, 8, 1), np.float32)  # of a collapsed dimension
    images[:, 3] = 1
    _, milliseconds = decoded(gif(there_and_back(images)))
    assert sum(milliseconds) == 2 * HOLD + 4 * STEP


def test_save_is_whole(tmp_path: Path) -> None:
    moving = there_and_back(random_images(1, 3, 4, 4, 1))
    save_gif(moving, tmp_path / "figures" / "a.gif")
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["a.gif"]
    assert (tmp_path / "figures" / "a.gif").read_bytes() == gif(moving)


def test_a_report_leaves_out_what_is_no_moving_picture(tmp_path: Path) -> None:
    """A header of 65,535 × 65,535 in 40 bytes, which no reader unpacks, and text."""
    (tmp_path / "figures").mkdir()
    Image.new("L", (4, 4)).save(tmp_path / "figures" / "small.gif")
    data = bytearray((tmp_path / "figures" / "small.gif").read_bytes())
    data[6:10] = b"\xff\xff\xff\xff"
    (tmp_path / "figures" / "bomb.gif").write_bytes(data)
    (tmp_path / "figures" / "text.gif").write_text("GIF89a")
    record = cast("Record", SimpleNamespace(name="run", folder=tmp_path))
    assert [one.title for one in animations.of_runs([record], 10**6)["run"]] == ["small"]
