"""Weights of the first layer as images."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fnn.errors import check_count, check_finite, message
from fnn.plot.images import as_images, draw_image
from fnn.plot.style import figure_of, styled


@styled
def first_layer_weights(w: ArrayLike, *, shape: tuple[int, int], count: int = 64) -> Any:
    """What each unit of the first layer looks for: columns of w as images, the largest norms first.

    One scale for all, symmetric about 0: red draws a unit up, blue draws it down.

    Args:
        w: weights (d_in, units) of a dense layer on images.
        shape: (height, width) of an image; their product is d_in.
        count: how many units at most.

    Raises:
        ValueError: shapes that do not fit, or NaN or infinity among the weights.

    Example:
        >>> figure = first_layer_weights(np.ones((4, 3)), shape=(2, 2))
        >>> len(figure.axes)  # three units and the scale
        4
    """
    check_count("count", count)
    weights = np.asarray(w, np.float64)
    if weights.ndim != 2:
        raise ValueError(message("w", f"shape {weights.shape}", "weights (d_in, units)"))
    images = as_images("columns of w", weights.T, shape)
    check_finite("w", weights)
    order = _by_norm(images)[:count]
    figure = _signed(images[order], "weight")
    figure.suptitle(f"{len(order)} of {weights.shape[1]} units, by norm")
    return figure


@styled
def filters(w: ArrayLike, *, count: int = 64) -> Any:
    """What each filter of a convolution looks for: its kernel as a small image, the largest norms first.

    One scale for all, symmetric about 0. With three input channels the kernels are in colour: grey is 0, and
    the brightest red, green or blue is the largest weight. Otherwise red is positive and blue negative, and of
    several input channels it is their mean that is shown. The small number is the filter's own, as in
    `feature_maps`.

    Args:
        w: kernels (height, width, channels in, channels out) of a convolution of images.
        count: how many filters at most.

    Raises:
        ValueError: weights of another shape, or NaN or infinity among them.

    Example:
        >>> figure = filters(np.ones((3, 3, 1, 8)))
        >>> len(figure.axes)  # eight filters and the scale
        9

    Source: Krizhevsky et al. 2012, "ImageNet classification with deep convolutional neural networks",
    figure 3.
    """
    check_count("count", count)
    weights = np.asarray(w, np.float64)
    if weights.ndim != 4 or not weights.size:
        remedy = 'Such as params["conv_0"]["w"]; of a dense layer take first_layer_weights.'
        expected = "kernels (height, width, channels in, channels out)"
        raise ValueError(message("w", f"shape {weights.shape}", expected, remedy))
    check_finite("w", weights)
    kernels = np.moveaxis(weights, -1, 0)
    order = _by_norm(kernels)[:count]
    kernels, channels = kernels[order], kernels.shape[-1]
    if channels == 3:
        limit = float(np.abs(kernels).max()) or 1.0
        figure = _panels(len(order), height=1.2)
        for axes, kernel in zip(figure.axes, kernels, strict=True):
            draw_image(axes, 0.5 + kernel / (2 * limit))
        scale = f"\ngrey is 0, a full colour ±{limit:.2g}"
    else:
        figure = _signed(kernels.mean(axis=-1), "weight" if channels == 1 else "mean weight", height=1.2)
        scale = "" if channels == 1 else f"\nmean of {channels} input channels"
    for axes, unit in zip(figure.axes, order, strict=False):
        axes.set_title(str(unit), fontsize=7, pad=2)
    figure.suptitle(f"{len(order)} of {weights.shape[-1]} filters, by norm{scale}")
    return figure


def _by_norm(images: np.ndarray) -> np.ndarray:
    """Their order, the largest norms first."""
    return np.argsort(-np.linalg.norm(images.reshape(len(images), -1), axis=1), kind="stable")


def _panels(count: int, height: float, extra: float = 0.0) -> Any:
    columns = math.ceil(math.sqrt(count))
    return figure_of(count, width=1.0, height=height, most=columns, lines=False, extra=extra)


def _signed(images: np.ndarray, label: str, height: float = 1.0) -> Any:
    """Each image in red for positive and blue for negative numbers, and the scale that they share."""
    figure = _panels(len(images), height, extra=0.9)
    limit = float(np.abs(images).max()) or 1.0
    places = list(figure.axes)
    drawn = [
        draw_image(axes, image, cmap="RdBu_r", vmin=-limit, vmax=limit)
        for axes, image in zip(places, images, strict=True)
    ]
    figure.colorbar(drawn[0], ax=places, label=label, shrink=0.8)
    return figure
