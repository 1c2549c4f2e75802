"""Feature maps: which channels, beside which image, on which scale, and what they refuse."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from fnn import plot
from tests.plot.drawing import MAPS, drawn, said


@pytest.mark.parametrize("negative", [True, False])
def test_the_strongest_first_on_one_scale(negative: bool) -> None:
    maps = MAPS if negative else MAPS - MAPS.min()
    figure = drawn(plot.feature_maps(maps, count=5))
    *panels, bar = figure.axes
    norms = np.linalg.norm(maps.reshape(30, 7), axis=0)
    assert [int(axes.get_title()) for axes in panels] == list(np.argsort(-norms)[:5])
    limit = maps[..., np.argsort(-norms)[:5]]
    limits = (-np.abs(limit).max() if negative else 0, np.abs(limit).max())
    for axes in panels:
        [image] = axes.images
        np.testing.assert_array_equal(image.get_array(), maps[..., int(axes.get_title())])
        assert image.get_clim() == limits
    assert bar.get_ylabel() == "activation"
    assert "5 of 7 channels, the strongest first" in said(figure)


@pytest.mark.parametrize("shape", [(12, 10), (12, 10, 1), (12, 10, 3)])
def test_the_input_stands_to_the_left(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    first, *panels, _ = drawn(plot.feature_maps(MAPS, image=pixels)).axes
    assert first.get_title() == "input"
    shown = np.asarray(first.images[0].get_array())
    np.testing.assert_allclose(shown, (pixels[..., 0] if shape[2:] == (1,) else pixels) / 255)
    assert first.get_window_extent().x1 < min(axes.get_window_extent().x0 for axes in panels)


def test_maps_of_jax_are_drawn_and_dead_channels_too() -> None:
    panels = drawn(plot.feature_maps(jnp.zeros((4, 4, 2)), image=jnp.zeros((8, 8)))).axes
    assert [axes.images[0].get_clim() for axes in panels[1:3]] == [(0, 1), (0, 1)]


BAD: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "a batch": (
        lambda: plot.feature_maps(MAPS[None]),
        ValueError,
        r"a: got shape \(1, 6, 5, 7\), expected activations .* Of a batch take one image's: a\[0\]",
    ),
    "no channels": (lambda: plot.feature_maps(MAPS[..., :0]), ValueError, r"a: got shape \(6, 5, 0\)"),
    "nan": (lambda: plot.feature_maps(MAPS * np.nan), ValueError, r"a: got nan at row 0, .* expected finite numbers"),
    "a flat image": (lambda: plot.feature_maps(MAPS, image=np.ones(20)), ValueError, r"shape: got \(20,\), expected"),
    "no image": (
        lambda: plot.feature_maps(MAPS, image=np.ones((0, 3))),
        ValueError,
        r"image: got shape \(1, 0, 3\), expected images",
    ),
    "count": (lambda: plot.feature_maps(MAPS, count=0), ValueError, r"count: got 0, expected an integer >= 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_arguments_are_refused(case: str) -> None:
    call, error, match = BAD[case]
    with pytest.raises(error, match=match):
        call()
