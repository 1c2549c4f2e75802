"""Flips, shifts and squares: which pixels go where, and how often."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn.augment import cutout, flip, shift_crop
from fnn.data import Dataset

KEY = jax.random.key(3)
N, H, W, C = 12, 7, 9, 3
PIXELS = np.random.default_rng(0).integers(1, 256, (N, H, W, C), dtype=np.uint8)
X = jnp.asarray(PIXELS)
Y = jnp.arange(N)
MANY = Dataset(jnp.broadcast_to(X[:1], (4000, H, W, C)), jnp.zeros(4000, int))


def test_flip_mirrors_left_and_right() -> None:
    x = np.asarray(flip()(KEY, (X, Y))[0])
    flipped = [np.array_equal(new, old[:, ::-1]) for new, old in zip(x, PIXELS, strict=True)]
    kept = [np.array_equal(new, old) for new, old in zip(x, PIXELS, strict=True)]
    assert all(a != b for a, b in zip(flipped, kept, strict=True))
    assert 0 < sum(flipped) < N


def test_flipped_twice_is_as_it_was() -> None:
    once = flip(chance=1.0)(KEY, Dataset(X, Y))
    np.testing.assert_array_equal(once.x, PIXELS[:, :, ::-1])
    np.testing.assert_array_equal(flip(chance=1.0)(KEY, once).x, PIXELS)
    np.testing.assert_array_equal(flip(chance=0.0)(KEY, once).x, once.x)
    again = flip()(KEY, flip()(KEY, Dataset(X, Y)))
    np.testing.assert_array_equal(again.x, PIXELS, "the same key flips the same ones back")


@pytest.mark.parametrize("chance", [0.2, 0.5, 0.9])
def test_chances(chance: float) -> None:
    flipped = (flip(chance)(KEY, MANY).x != MANY.x).any(axis=(1, 2, 3))
    hidden = (cutout(3, chance=chance)(KEY, MANY).x == 0).any(axis=(1, 2, 3))
    for share in (flipped.mean(), hidden.mean()):
        assert abs(float(share) - chance) < 4 * np.sqrt(chance * (1 - chance) / 4000)


def _shifts(fill: str, pixels: int, x: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    """Every shift of one image, by NumPy."""
    mode: Any = {"zero": "constant", "reflect": "reflect", "edge": "edge"}[fill]
    padded = np.pad(x, ((pixels, pixels), (pixels, pixels), (0, 0)), mode=mode)
    steps = range(2 * pixels + 1)
    return {(a - pixels, b - pixels): padded[a : a + x.shape[0], b : b + x.shape[1]] for a in steps for b in steps}


@pytest.mark.parametrize("fill", ["zero", "reflect", "edge"])
@pytest.mark.parametrize("pixels", [1, 2])
def test_every_shift_is_drawn_and_keeps_the_pixels(fill: str, pixels: int) -> None:
    shifts = _shifts(fill, pixels, PIXELS[0])
    names = {image.tobytes(): shift for shift, image in shifts.items()}
    drawn = [names[np.asarray(image).tobytes()] for image in shift_crop(pixels, fill=fill)(KEY, MANY).x]
    counts = np.array([drawn.count(shift) for shift in shifts])
    expected = len(drawn) / len(shifts)
    # Chi-squared: its mean is the degrees of freedom, its variance twice them.
    degrees = len(shifts) - 1
    assert ((counts - expected) ** 2 / expected).sum() < degrees + 4 * np.sqrt(2 * degrees)


def test_a_shift_is_equation_of_the_docstring() -> None:
    [moved] = [image for shift, image in _shifts("zero", 2, PIXELS[0]).items() if shift == (1, -2)]
    np.testing.assert_array_equal(moved[:-1, 2:], PIXELS[0][1:, :-2])
    assert not moved[-1].any()
    assert not moved[:, :2].any()


@pytest.mark.parametrize("pixels", [7, 8])
def test_a_shift_as_far_as_the_image_is_high(pixels: int) -> None:
    match = rf"^pixels: got {pixels} for images of 7x9 pixels, expected less than their height and width\."
    with pytest.raises(ValueError, match=match):
        jax.jit(shift_crop(pixels))(KEY, (X, Y))


@pytest.mark.parametrize("size", [1, 2, 3, 4, 20])
def test_cutout_zeroes_exactly_one_square(size: int) -> None:
    x = np.asarray(cutout(size)(KEY, MANY).x)
    # All channels together, and what is not zero is as it was.
    zero = (x == 0).all(axis=-1)
    np.testing.assert_array_equal((x == 0).any(axis=-1), zero)
    np.testing.assert_array_equal(x, np.where(zero[..., None], 0, np.asarray(MANY.x)))
    rows, columns = zero.any(axis=2), zero.any(axis=1)
    np.testing.assert_array_equal(zero, rows[:, :, None] & columns[:, None, :])
    for side, length in ((rows, H), (columns, W)):
        spans = np.array([np.flatnonzero(line)[[0, -1]] for line in side])
        assert (np.diff(side.astype(int), axis=1) > 0).sum(axis=1).max() <= 1, "one piece"
        assert set(map(tuple, spans)) == {
            (max(0, centre - size // 2), min(length, centre - size // 2 + size) - 1) for centre in range(length)
        }


def test_centres_of_squares_are_uniform() -> None:
    hidden = np.asarray(cutout(1)(KEY, MANY).x == 0).all(axis=-1)
    counts = hidden.sum(axis=0).ravel()
    degrees = H * W - 1
    assert counts.sum() == 4000
    assert ((counts - 4000 / (H * W)) ** 2 / (4000 / (H * W))).sum() < degrees + 4 * np.sqrt(2 * degrees)
