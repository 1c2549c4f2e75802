"""What a convolution makes of one image."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fnn.errors import check_count, check_finite, message
from fnn.plot.images import as_images, draw_image, numbers
from fnn.plot.style import grid, styled


@styled
def feature_maps(a: ArrayLike, *, image: ArrayLike | None = None, count: int = 32) -> Any:
    """Where each filter answers in one image: the channels of a layer's output, the strongest first.

    One scale for all: from 0 on where no number is negative (after a ReLU), else symmetric about 0, red
    positive and blue negative. The small number is the channel's, as in `filters`.

    Args:
        a: activations (height, width, channels) of one image.
        image: that image, (height, width) or (height, width, channels), put beside them; bytes count as
            shares of 255.
        count: how many channels at most.

    Raises:
        ValueError: activations of another shape, or NaN or infinity among them; an image of another shape.

    Example:
        >>> figure = feature_maps(np.ones((4, 4, 6)), image=np.zeros((8, 8)))
        >>> len(figure.axes)  # the image, six channels and the scale
        8

    Source: Zeiler and Fergus 2014, "Visualizing and understanding convolutional networks", section 4.
    """
    from matplotlib.figure import Figure

    check_count("count", count)
    maps = np.asarray(a, np.float64)
    if maps.ndim != 3 or not maps.size:
        remedy = "Of a batch take one image's: a[0]."
        raise ValueError(message("a", f"shape {maps.shape}", "activations (height, width, channels)", remedy))
    check_finite("a", maps)
    seen = None if image is None else as_images("image", np.asarray(image)[None], np.shape(image))[0]
    maps = np.moveaxis(maps, -1, 0)
    order = np.argsort(-np.linalg.norm(maps, axis=(1, 2)), kind="stable")[:count]
    columns = math.ceil(math.sqrt(2 * len(order)))
    rows = math.ceil(len(order) / columns)
    beside = 0.0 if seen is None else 2.2
    figure: Any = Figure(figsize=(columns + 1.1 + beside, max(1.15 * rows + 0.5, 2.4)))
    part = figure
    if seen is not None:
        left, part = figure.subfigures(1, 2, width_ratios=[beside, columns + 1.1])
        (axes,) = grid(left, 1, 1, 1)
        draw_image(axes, numbers(seen), cmap="gray_r")
        axes.set_title("input")
    _draw(part, maps[order], order, rows, columns)
    part.suptitle(f"{len(order)} of {len(maps)} channels, the strongest first")
    return figure


def _draw(part: Any, maps: np.ndarray, channels: np.ndarray, rows: int, columns: int) -> None:
    limit = float(np.abs(maps).max()) or 1.0
    signed = bool(maps.min() < 0)
    how = {"cmap": "RdBu_r", "vmin": -limit} if signed else {"cmap": "viridis", "vmin": 0.0}
    places = grid(part, len(maps), rows, columns)
    drawn = [draw_image(axes, one, vmax=limit, **how) for axes, one in zip(places, maps, strict=True)]
    for axes, channel in zip(places, channels, strict=True):
        axes.set_title(str(channel), fontsize=7, pad=2)
    part.colorbar(drawn[0], ax=places, label="activation", shrink=0.8)
