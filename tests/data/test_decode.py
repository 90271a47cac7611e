"""Tests of decoding one picture: bits, colours, orientation, formats, and what is refused in words."""

import io
from typing import Any

import numpy as np
import pytest
from data_samples import noise
from PIL import Image, features

from vaelab.data.decode import decode, header, quiet_pillow
from vaelab.data.ranges import Range

ORIENTATION, XMP = 0x0112, 0x02BC
# What each value of EXIF's orientation asks for (TIFF 6.0, page 36), in terms of numpy.
TURNS = {
    1: lambda image: image,
    2: np.fliplr,
    3: lambda image: np.rot90(image, 2),
    4: np.flipud,
    5: lambda image: np.rot90(np.fliplr(image)),
    6: lambda image: np.rot90(image, -1),
    7: lambda image: np.rot90(np.fliplr(image), -1),
    8: np.rot90,
}


def saved(picture: Image.Image, kind: str = "png", **options: Any) -> io.BytesIO:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    stream.seek(0)
    return stream


def decoded(picture: Image.Image, mode: str, kind: str = "png", **options: Any) -> np.ndarray:
    return decode(saved(picture, kind, **options), mode, None)[0]


@pytest.mark.parametrize("kind", ["png", "tiff", "webp"])
@pytest.mark.parametrize("orientation", TURNS)
def test_pictures_are_turned_upright_and_so_is_their_size(kind: str, orientation: int) -> None:
    image = noise(1, 12, 10)[0]
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"tiffinfo": {ORIENTATION: orientation}} if kind == "tiff" else {"exif": exif}
    stream = saved(Image.fromarray(image), kind, **options, **({"lossless": True} if kind == "webp" else {}))
    pixels, _ = decode(stream, "RGB", None)
    np.testing.assert_array_equal(pixels, TURNS[orientation](image))
    assert header(stream, upright=True).size == pixels.shape[:2]


def test_a_tiff_may_be_turned_by_xmp() -> None:
    image = noise(1, 12, 10)[0]
    for own in ({}, {ORIENTATION: 8}):
        stream = saved(Image.fromarray(image), "tiff", tiffinfo={XMP: b'<rdf tiff:Orientation="6"/>'} | own)
        pixels, _ = decode(stream, "RGB", None)
        np.testing.assert_array_equal(pixels, TURNS[8 if own else 6](image))
        assert header(stream, upright=True).size == pixels.shape[:2]


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
@pytest.mark.parametrize(
    "exif",
    [
        b"Exif\0\0",
        b"Exif\0\0garbage!",
        b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x09\0\0\0\0\0\0",
    ],
    ids=["empty", "garbage", "nine"],
)
def test_invalid_exif_turns_nothing(kind: str, exif: bytes) -> None:
    stream = saved(Image.fromarray(noise(1, 12, 10)[0]), kind, exif=exif)
    with quiet_pillow():
        assert decode(stream, "RGB", None)[0].shape == (12, 10, 3)
        assert header(stream, upright=True).size == (12, 10)


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


def test_every_16_bit_value_is_rounded_to_the_nearest_of_8_bits() -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    expected = (values.astype(np.int64) + 128) // 257
    np.testing.assert_array_equal(decoded(Image.fromarray(values), "L")[..., 0], expected)


def test_a_range_scales_values_of_more_than_8_bits() -> None:
    stream = saved(Image.fromarray(np.array([[0, 2048, 4095, 5000]], np.uint16)))
    pixels, clipped = decode(stream, "L", Range(0, 4095))
    assert pixels[0, :, 0].tolist() == [0, 128, 255, 255]
    assert clipped == 1
    stream = saved(Image.fromarray(np.array([[-1, 0, 1, 1.5]], np.float32)), "tiff")
    pixels, clipped = decode(stream, "L", Range(-1, 1))
    assert pixels[0, :, 0].tolist() == [0, 128, 255, 255]
    assert clipped == 1


@pytest.mark.parametrize(("mode", "value"), [("1", 255), ("CMYK", 255), ("P", 0)])
def test_other_modes(mode: str, value: int) -> None:
    picture = Image.new("RGB", (4, 3), (255, 255, 255) if value else (0, 0, 0)).convert(mode)
    kind = "tiff" if mode == "CMYK" else "png"
    np.testing.assert_array_equal(decoded(picture, "RGB", kind), np.full((3, 4, 3), value))


def test_values_without_a_known_white_are_refused() -> None:
    for values in (
        np.zeros((2, 2), np.float32),
        np.full((2, 2), 70000, np.int32),
        np.full((2, 2), -1, np.int32),
    ):
        with pytest.raises(ValueError, match=r"dataset\.range"):
            decoded(Image.fromarray(values), "L", "tiff")
    with pytest.raises(ValueError, match="NaN"):
        decode(saved(Image.fromarray(np.full((2, 2), np.nan, np.float32)), "tiff"), "L", Range(0, 1))


@pytest.mark.parametrize("kind", ["avif", "jpeg2000"])
def test_newer_formats_are_read(kind: str) -> None:
    if not features.check({"avif": "avif", "jpeg2000": "jpg_2000"}[kind]):
        pytest.skip(f"this Pillow reads no {kind}")
    first, second = (Image.new("RGBA", (16, 12), colour) for colour in ((200, 40, 90, 255), (0, 0, 0, 255)))
    first.paste((0, 0, 0, 0), (0, 0, 8, 12))
    options: dict[str, Any] = {"save_all": True, "append_images": [second]} if kind == "avif" else {}
    pixels = decoded(first, "RGB", kind, **options).astype(int)
    assert pixels.shape == (12, 16, 3)
    assert abs(pixels[:, 2:6] - 255).max() <= 3  # transparent: white
    assert abs(pixels[:, 10:14] - (200, 40, 90)).max() <= 6  # of the first frame


def test_16_bit_jpeg_2000() -> None:
    if not features.check("jpg_2000"):
        pytest.skip("this Pillow reads no JPEG 2000")
    values = np.array([[0, 257, 32768, 65535]] * 4, np.uint16)
    assert decoded(Image.fromarray(values), "L", "jpeg2000")[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"\0\0\0\x18ftypheic", "HEIC, which this Pillow cannot read: convert it to PNG or JPEG"),
        (b"\0\0\0\x18ftypmif1", "HEIC"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
        (b"hello", "not an image"),
        (b"", "empty"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),  # no Ghostscript is started
    ],
)
def test_what_is_no_picture_is_named(head: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        decode(io.BytesIO(head and head + bytes(99)), "RGB", None)


def test_a_picture_of_more_pixels_than_are_read_is_refused_by_its_header() -> None:
    for side in (9_500, 60_000):  # Pillow itself warns of the first and refuses the second
        start = bytearray(saved(Image.new("L", (8, 8))).getvalue())
        start[16:24] = side.to_bytes(4, "big") * 2
        start[29:33] = _crc(bytes(start[12:29]))
        with quiet_pillow(), pytest.raises(ValueError, match="more than the 89,478,485"):
            decode(io.BytesIO(bytes(start)), "L", None)


def _crc(data: bytes) -> bytes:
    from zlib import crc32

    return crc32(data).to_bytes(4, "big")
