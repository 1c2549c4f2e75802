"""Images in panels: arrays brought into the shape of images, and drawn."""

import math
from typing import Any

import numpy as np

from fnn.errors import message


def as_images(argument: str, flat: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Rows of numbers as images, (n, height, width) or (n, height, width, 3 or 4)."""
    if len(shape) not in (2, 3) or shape[2:] not in ((), (1,), (3,), (4,)):
        raise ValueError(message("shape", shape, "(height, width) or (height, width, channels), 1, 3 or 4 channels"))
    size = math.prod(shape)
    if flat.ndim < 2 or not flat.size or flat[0].size != size:
        got = f"shape {flat.shape}"
        raise ValueError(message(argument, got, f"images of {size} numbers each, as shape={tuple(shape)} says"))
    return flat.reshape(len(flat), *(shape[:2] if shape[2:] == (1,) else shape))


def numbers(x: Any) -> np.ndarray:
    """Pixels as numbers: bytes count as shares of 255."""
    pixels = np.asarray(x)
    return pixels / 255 if pixels.dtype == np.uint8 else pixels.astype(np.float64)


def draw_image(axes: Any, image: np.ndarray, **how: Any) -> Any:
    """Draws an image without ticks and frame; colours outside of [0, 1] are scaled into it."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    if image.ndim == 3:
        image = (image - image.min()) / (np.ptp(image) or 1) if image.min() < 0 or image.max() > 1 else image
    return axes.imshow(image, interpolation="nearest", **how)
