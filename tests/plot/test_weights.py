"""Weights as images: their order, their one scale, and what they refuse."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fnn import plot
from tests.plot.drawing import KERNELS, WEIGHTS, drawn, said


def test_units_are_ordered_by_norm_on_one_symmetric_scale() -> None:
    figure = drawn(plot.first_layer_weights(WEIGHTS, shape=(4, 5), count=5))
    *panels, bar = figure.axes
    order = np.argsort(-np.linalg.norm(WEIGHTS, axis=0))[:5]
    assert len(panels) == 5
    limit = np.abs(WEIGHTS[:, order]).max()
    for axes, unit in zip(panels, order, strict=True):
        [image] = axes.images
        np.testing.assert_array_equal(image.get_array(), WEIGHTS[:, unit].reshape(4, 5))
        assert image.get_clim() == (-limit, limit)
    assert bar.get_ylabel() == "weight"
    assert "5 of 12 units, by norm" in said(figure)


@pytest.mark.parametrize(("units", "panels"), [(1, 1), (12, 12), (100, 64)])
def test_there_are_as_many_panels_as_units_at_most(units: int, panels: int) -> None:
    figure = plot.first_layer_weights(np.ones((4, units)), shape=(2, 2))
    assert len(figure.axes) == panels + 1


def test_weights_of_zero_have_a_scale_too() -> None:
    figure = drawn(plot.first_layer_weights(np.zeros((4, 2)), shape=(2, 2)))
    assert figure.axes[0].images[0].get_clim() == (-1, 1)


# Kernels of a convolution.


def test_colour_kernels_are_symmetric_about_grey_on_one_scale() -> None:
    figure = drawn(plot.filters(KERNELS, count=6))
    order = np.argsort(-np.linalg.norm(KERNELS.reshape(27, 10), axis=0))[:6]
    limit = np.abs(KERNELS[..., order]).max()
    assert [axes.get_title() for axes in figure.axes] == [str(unit) for unit in order]
    for axes, unit in zip(figure.axes, order, strict=True):
        shown = np.asarray(axes.images[0].get_array())
        np.testing.assert_allclose(shown, 0.5 + KERNELS[..., unit] / (2 * limit), atol=1e-12)
    assert f"6 of 10 filters, by norm\ngrey is 0, a full colour ±{limit:.2g}" in said(figure)


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_other_kernels_are_signed_and_averaged_over_input_channels(channels: int) -> None:
    kernels = np.concatenate([KERNELS, -2 * KERNELS[:, :, :1]], axis=2)[:, :, :channels]
    figure = drawn(plot.filters(kernels))
    *panels, bar = figure.axes
    means = kernels.mean(axis=2)
    limit = np.abs(means).max()
    for axes in panels:
        [image] = axes.images
        np.testing.assert_allclose(image.get_array(), means[..., int(axes.get_title())])
        np.testing.assert_allclose(image.get_clim(), (-limit, limit))
    assert bar.get_ylabel() == ("weight" if channels == 1 else "mean weight")
    assert any(f"mean of {channels} input channels" in text for text in said(figure)) == (channels > 1)


@pytest.mark.parametrize(("shape", "panels"), [((3, 3, 3, 100), 64), ((5, 2, 3, 7), 7), ((1, 1, 1, 1), 2)])
def test_there_are_as_many_panels_as_filters_at_most(shape: tuple[int, ...], panels: int) -> None:
    assert len(plot.filters(np.ones(shape)).axes) == panels


def test_kernels_of_zero_are_grey() -> None:
    [image] = drawn(plot.filters(np.zeros((2, 2, 3, 1)))).axes[0].images
    np.testing.assert_array_equal(image.get_array(), np.full((2, 2, 3), 0.5))


# Refusals.

BAD: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "count of units": (
        lambda: plot.first_layer_weights(WEIGHTS, shape=(4, 5), count=-1),
        ValueError,
        r"count: got -1, expected an integer >= 1",
    ),
    "kernel": (
        lambda: plot.first_layer_weights(np.ones((3, 3, 1, 8)), shape=(3, 3)),
        ValueError,
        r"w: got shape \(3, 3, 1, 8\), expected weights \(d_in, units\)",
    ),
    "weights of others": (
        lambda: plot.first_layer_weights(WEIGHTS, shape=(4, 4)),
        ValueError,
        r"columns of w: got shape \(12, 20\), expected images of 16 numbers each",
    ),
    "weights of nan": (
        lambda: plot.first_layer_weights(WEIGHTS * np.nan, shape=(4, 5)),
        ValueError,
        r"w: got nan at row 0, .* expected finite numbers",
    ),
    "a dense layer's": (
        lambda: plot.filters(WEIGHTS),
        ValueError,
        r"w: got shape \(20, 12\), expected kernels .* of a dense layer take first_layer_weights",
    ),
    "no filters": (lambda: plot.filters(np.ones((3, 3, 1, 0))), ValueError, r"w: got shape \(3, 3, 1, 0\)"),
    "kernels of nan": (lambda: plot.filters(KERNELS * np.nan), ValueError, r"w: got nan at row 0, .* expected finite"),
    "no count": (lambda: plot.filters(KERNELS, count=0), ValueError, r"count: got 0, expected an integer >= 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_arguments_are_refused(case: str) -> None:
    call, error, match = BAD[case]
    with pytest.raises(error, match=match):
        call()
