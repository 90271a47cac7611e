"""A data set: checkerboards of two sizes in random gray, made when they are asked for."""

import numpy as np

from vaelab.data import ImageSet


def checkers(count: int, side: int) -> ImageSet:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, count)
    rows, columns = np.indices((side, side))
    images = np.zeros((count, side, side, 1), np.uint8)
    for image, label in zip(images, labels, strict=True):
        field = 4 if label else 2
        shift = rng.integers(0, field, 2)
        image[..., 0] = (
            ((rows + shift[0]) // field + (columns + shift[1]) // field) % 2 * rng.integers(100, 256)
        )
    return ImageSet.of("checkers", images, labels, classes=["small", "large"])
