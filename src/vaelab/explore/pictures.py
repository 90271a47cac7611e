"""Pictures that come to a page and leave it: a user's own made as the data are, and arrays as PNG, GIF and npz."""

import base64
import io
from collections.abc import Mapping

import numpy as np

from vaelab import UsageError, moving
from vaelab.data.decode import decode, header, quiet_pillow
from vaelab.data.raw import resized

MOST_UPLOAD = 1 << 25  # bytes of a picture that is dropped in; a camera's JPEG has a third
SHOWN_SIDE = 256  # pixels at least of what is saved to be looked at
SPACE = 2  # pixels between the images of a saved row


def refuse_large(name: str, size: int) -> None:
    """Raises UsageError for a file of more bytes than are taken."""
    if size > MOST_UPLOAD:
        raise UsageError(
            f"{name} has more than the {MOST_UPLOAD / 1e6:.0f} MB that are taken: save it smaller, as a JPEG say"
        )


def as_data(name: str, content: bytes, image_shape: tuple[int, int, int]) -> np.ndarray:
    """A picture of any size as an image of the data, (H, W, C) uint8: upright, over white, cropped to the middle.

    Raises UsageError, which names the file, for what is no picture, damaged, or has too many pixels.
    """
    channels, height, width = image_shape
    try:
        with quiet_pillow(), header(io.BytesIO(content), upright=False).alone():
            pixels, _ = decode(io.BytesIO(content), "L" if channels == 1 else "RGB", None)
    except Exception as error:  # Pillow's decoders raise whatever they like on damaged bytes
        reason = " ".join(str(error).split()) or "damaged"
        raise UsageError(f"{name} cannot be read: {reason}") from None
    return resized(pixels, (height, width, channels))


def frames(content: bytes) -> int:
    """How many frames a picture that can be read has, of which the first is taken."""
    from PIL import Image

    with quiet_pillow(), Image.open(io.BytesIO(content)) as picture:
        return int(getattr(picture, "n_frames", 1))


def png(image: np.ndarray) -> bytes:
    """An image (H, W, C), float in [0, 1] or uint8, as the bytes of a .png."""
    stream = io.BytesIO()
    _picture(image).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def address(image: np.ndarray) -> str:
    """An image (H, W, C) as an address that carries it."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()


def grid(images: np.ndarray, columns: int, space: int = 0) -> np.ndarray:
    """Images (N, H, W, C) in rows of so many, with white between them, as one."""
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    sheet = np.ones(
        (rows * (height + space) - space, columns * (width + space) - space, channels), np.float32
    )
    for place, image in enumerate(images):
        top, left = place // columns * (height + space), place % columns * (width + space)
        sheet[top : top + height, left : left + width] = image
    return sheet


def gif(images: np.ndarray) -> bytes:
    """Images (N, H, W, C) float in [0, 1] one after the other and back again, without end."""
    return moving.gif(moving.there_and_back(np.stack([enlarged(image) for image in images])[None]))


def npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays by name as the bytes of a compressed .npz."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **dict(arrays))  # type: ignore[arg-type]
    return stream.getvalue()


def sheet(images: np.ndarray, columns: int) -> bytes:
    """Images (N, H, W, C) float in [0, 1] in rows, enlarged to be looked at, as the bytes of a .png."""
    return png(grid(np.stack([enlarged(image) for image in images]), columns, SPACE))


def enlarged(image: np.ndarray) -> np.ndarray:
    """An image (H, W, C) with each pixel as a square of so many that its sides have SHOWN_SIDE or more."""
    times = max(1, -(-SHOWN_SIDE // max(image.shape[:2])))
    return image.repeat(times, 0).repeat(times, 1)


def _picture(image: np.ndarray) -> "Image":  # type: ignore[name-defined]  # noqa: F821
    from PIL import Image

    if image.dtype != np.uint8:
        image = np.rint(image * 255).astype(np.uint8)
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def files(images: np.ndarray, arrays: Mapping[str, np.ndarray], kind: str, columns: int) -> bytes:
    """Images (N, H, W, C) as kind says: png, gif, or npz with their arrays; raises UsageError for another kind."""
    if kind == "npz":
        return npz({"image": images, **arrays})
    if kind not in ("png", "gif"):
        raise UsageError(f"{kind} is not png, gif or npz")
    return sheet(images, columns) if kind == "png" else gif(images)
