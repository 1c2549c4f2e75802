"""The window: its reach, at how many places it lies, what its elements see, and padding in every form."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn.nn.window import Window, check_channels_last, check_images, check_settings, settled, taps

X = jax.ShapeDtypeStruct((2, 7, 6, 3), jnp.float32)


def _settled(size: Any, **settings: Any) -> Window:
    return settled(X, "size", size, **({"strides": 1, "padding": "VALID"} | settings))


def test_one_integer_stands_for_every_axis() -> None:
    window = _settled(3, strides=2, padding=1, dilation=2)
    assert window == Window((3, 3), (2, 2), ((1, 1), (1, 1)), (2, 2))
    assert window == _settled([3, 3], strides=(2, 2), padding=[1, (1, 1)], dilation=(2, 2))
    assert hash(window) == hash(_settled(np.int64(3), strides=2, padding=np.int64(1), dilation=2))
    assert window.reach == (5, 5)


@pytest.mark.parametrize(
    ("padding", "pairs"),
    [
        ("VALID", ((0, 0), (0, 0))),
        (2, ((2, 2), (2, 2))),
        ((1, 2), ((1, 1), (2, 2))),
        (((1, 2), 0), ((1, 2), (0, 0))),
        # An odd number of zeros has one more at the end; 7 + 2 and 6 + 1 hold 4 and 3 windows of 3, 2 apart.
        ("SAME", ((1, 1), (0, 1))),
    ],
)
def test_padding_of_every_form(padding: Any, pairs: Any) -> None:
    assert _settled(3, strides=2, padding=padding).padding == pairs


def test_counts_are_those_of_a_count() -> None:
    for size, strides, low, high, dilation in itertools.product((1, 2, 3), (1, 2, 3), (0, 2), (0, 1), (1, 2)):
        window = settled(jnp.ones((1, 8, 1)), "size", size, strides, ((low, high),), dilation)
        last = 8 + high - window.reach[0]
        assert window.counts((8,)) == (len(range(-low, last + 1, strides)),)


def test_same_has_one_place_for_each_stride() -> None:
    for size, strides, length in itertools.product((1, 2, 3, 5), (1, 2, 3), range(1, 10)):
        window = settled(jnp.ones((1, length, 1)), "size", size, strides, "SAME")
        assert window.counts((length,)) == (-(-length // strides),)
        (low, high) = window.padding[0]
        assert 0 <= high - low <= 1


@pytest.mark.parametrize(
    "settings", [{}, {"strides": (2, 3)}, {"dilation": 2}, {"strides": 2, "padding": ((1, 0), (2, 3)), "dilation": 2}]
)
def test_each_element_sees_what_lies_under_it(settings: Any) -> None:
    x = np.random.default_rng(0).normal(size=(2, 7, 6, 3)).astype(np.float32)
    window = _settled((2, 3), **settings)
    counts = window.counts(x.shape[1:-1])
    padded = np.pad(x, ((0, 0), *window.padding, (0, 0)), constant_values=9)
    views = taps(jnp.asarray(x), window, 9)
    assert len(views) == 6
    for (k, m), view in zip(np.ndindex(2, 3), views, strict=True):
        assert view.shape == (2, *counts, 3)
        rows = k * window.dilation[0] + window.strides[0] * np.arange(counts[0])
        columns = m * window.dilation[1] + window.strides[1] * np.arange(counts[1])
        np.testing.assert_array_equal(view, padded[:, rows[:, None], columns])


@pytest.mark.parametrize(
    ("name", "values", "error", "match"),
    [
        ("size", 0, ValueError, r"size: got 0, expected an integer >= 1"),
        ("size", [], ValueError, r"size: got \[\], expected one integer, or one for each of 1 to 3 spatial axes"),
        ("size", "3", TypeError, r"size: got '3', expected an integer >= 1"),
        ("size", jnp.array(3), TypeError, r"size: got Array\(3, "),
        ("strides", (1, 0), ValueError, r"strides: got 0, expected an integer >= 1"),
        ("dilation", True, TypeError, r"dilation: got True, expected an integer >= 1"),
        ("padding", "full", ValueError, r"padding: got 'full', expected one of SAME, VALID"),
        ("padding", (1, (2, -3)), ValueError, r"padding: got -3, expected an integer >= 0\. \"SAME\", \"VALID\", one"),
        ("padding", 0.5, TypeError, r"padding: got 0\.5, expected an integer >= 0\."),
        ("padding", np.array([1, 1]), TypeError, r"padding: got an array of shape \(2,\)"),
    ],
)
def test_settings(name: str, values: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{match}"):
        check_settings("size", **({"size": 2, "strides": 1, "padding": "SAME", "dilation": 1} | {name: values}))


def test_a_window_that_does_not_fit() -> None:
    match = (
        r"^size: got a window that reaches over 9, expected at most 7, the padded size of axis 1 of x \(2, 7, 6, 3\)"
    )
    with pytest.raises(ValueError, match=match + r"\. A smaller window, or padding=\"SAME\"\."):
        _settled(5, dilation=(2, 1))
    with pytest.raises(ValueError, match=r"^padding: got \(\), expected a pair for each of the 2 spatial axes of x"):
        _settled(2, padding=())


def test_images_have_one_to_three_spatial_axes() -> None:
    for axes in (1, 2, 3):
        check_images("conv", jnp.ones((2, *(4,) * axes, 1)))
    for shape in ((2, 4), (2, 4, 4, 4, 4, 1)):
        with pytest.raises(
            ValueError, match=r"^x of conv: got shape .*, expected \(n, width, channels\) or \(n, heigh"
        ):
            check_images("conv", jnp.ones(shape))


@pytest.mark.parametrize(
    ("shape", "told"),
    [
        ((5, 3, 32, 32), True),
        ((5, 1, 8, 8), True),
        # Not square, small, other numbers of channels, or square with channels last.
        ((5, 3, 32, 31), False),
        ((5, 3, 7, 7), False),
        ((5, 4, 32, 32), False),
        ((5, 32, 32, 3), False),
        ((5, 3, 32), False),
    ],
)
def test_channels_first_are_told(shape: tuple[int, ...], told: bool) -> None:
    if not told:
        check_channels_last(jnp.ones(shape))
        return
    with pytest.raises(ValueError, match=r"looks like \(n, channels, height, width\).*x\.transpose\(0, 2, 3, 1\)\.$"):
        check_channels_last(jnp.ones(shape))
