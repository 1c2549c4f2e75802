"""Augmentations: what each does to pixels and targets, what it draws, and the keys that it draws with."""

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn.augment import chain, cutout, flip, mix_up, shift_crop
from fnn.data import Dataset, WeightedBatch
from fnn.typing import Augmentation

KEY = jax.random.key(3)
CLASSES = 3
N, H, W, C = 12, 7, 9, 3
PIXELS = np.random.default_rng(0).integers(1, 256, (N, H, W, C), dtype=np.uint8)
X = jnp.asarray(PIXELS)
Y = jnp.arange(N) % CLASSES
MANY = Dataset(jnp.broadcast_to(X[:1], (4000, H, W, C)), jnp.zeros(4000, int))

ALL: dict[str, Augmentation] = {
    "flip": flip(),
    "shift_crop": shift_crop(2),
    "reflect": shift_crop(2, fill="reflect"),
    "edge": shift_crop(3, fill="edge"),
    "cutout": cutout(4, chance=0.9),
    "mix_up": mix_up(CLASSES, alpha=1.0),
    "chain": chain(flip(), shift_crop(2), cutout(3)),
}
SAME_SHAPES = [name for name in ALL if name != "mix_up"]


def _alike(a: Any, b: Any) -> bool:
    return all(np.array_equal(p, q) for p, q in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("kind", [Dataset, lambda x, y: (x, y), lambda x, y: WeightedBatch(x, y, jnp.ones(N))])
def test_the_type_of_the_batch_is_kept(name: str, kind: Callable[..., Any]) -> None:
    batch = kind(X, Y)
    new = ALL[name](KEY, batch)
    assert type(new) is type(batch)
    assert jax.tree.structure(new) == jax.tree.structure(batch)
    assert _alike(new[2:], batch[2:])
    assert _alike(new[:2], ALL[name](KEY, (X, Y)))


@pytest.mark.parametrize("name", SAME_SHAPES)
@pytest.mark.parametrize("dtype", [jnp.uint8, jnp.float32, jnp.bfloat16, jnp.float16])
def test_shape_and_dtype_are_kept_and_targets_are_untouched(name: str, dtype: Any) -> None:
    x, y = ALL[name](KEY, (X.astype(dtype), Y))
    assert (x.shape, x.dtype) == (X.shape, dtype)
    assert y is Y
    # Every whole number to 255 is one of each dtype: all kinds of pixels move alike.
    np.testing.assert_array_equal(x.astype(jnp.float32), ALL[name](KEY, (X, Y))[0].astype(jnp.float32))


@pytest.mark.parametrize("name", ALL)
def test_an_example_a_step_and_a_seed_each_draw_their_own(name: str) -> None:
    drawn = [ALL[name](jax.random.key(seed), MANY if name in SAME_SHAPES else (X, Y))[0][:N] for seed in range(8)]
    assert len({np.asarray(x).tobytes() for x in drawn}) == 8
    if name in SAME_SHAPES:
        assert len({np.asarray(image).tobytes() for image in drawn[0]}) > 1


@pytest.mark.parametrize("name", ALL)
def test_a_key_draws_the_same_in_every_program(name: str) -> None:
    keys = jax.random.split(KEY, 3)
    function, batch = ALL[name], Dataset(X, Y)
    one_by_one = jax.tree.map(lambda *a: jnp.stack(a), *[function(key, batch) for key in keys])
    jitted = jax.tree.map(lambda *a: jnp.stack(a), *[jax.jit(function)(key, batch) for key in keys])
    scanned = jax.jit(lambda: jax.lax.scan(lambda _, key: (None, function(key, batch)), None, keys)[1])()
    mapped = jax.jit(jax.vmap(function, in_axes=(0, None)))(keys, batch)
    for other in (jitted, scanned, mapped):
        for a, b in zip(other, one_by_one, strict=True):
            np.testing.assert_allclose(np.asarray(a, float), np.asarray(b, float), rtol=2e-6, atol=1e-6)
    assert _alike(function(KEY, batch), function(KEY, batch))


@pytest.mark.parametrize("name", ALL)
def test_what_fills_a_batch_up_changes_no_example(name: str) -> None:
    short = ALL[name](KEY, WeightedBatch(X[:7], Y[:7], jnp.ones(7)))
    full = ALL[name](KEY, WeightedBatch(X, Y, (jnp.arange(N) < 7).astype(jnp.float32)))
    assert _alike(short, jax.tree.map(lambda a: a[:7], full))


def test_flip_mirrors_left_and_right() -> None:
    x = np.asarray(flip()(KEY, (X, Y))[0])
    flipped = [np.array_equal(new, old[:, ::-1]) for new, old in zip(x, PIXELS, strict=True)]
    kept = [np.array_equal(new, old) for new, old in zip(x, PIXELS, strict=True)]
    assert all(a != b for a, b in zip(flipped, kept, strict=True))
    assert 0 < sum(flipped) < N


def test_flipped_twice_is_as_it_was() -> None:
    once = flip(chance=1.0)(KEY, Dataset(X, Y))
    np.testing.assert_array_equal(once.x, PIXELS[:, :, ::-1])
    assert _alike(flip(chance=1.0)(KEY, once), Dataset(X, Y))
    np.testing.assert_array_equal(flip(chance=0.0)(KEY, once).x, once.x)
    again = flip()(KEY, flip()(KEY, Dataset(X, Y)))
    assert _alike(again, Dataset(X, Y)), "the same key flips the same ones back"


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


MIX = jax.jit(lambda key, alpha, batch: mix_up(2, alpha)(key, batch))
ONE_HOT = np.eye(N, dtype=np.float32)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_mixtures_of_x_and_y_are_the_same(alpha: float) -> None:
    # Image i is the i-th unit vector, and its class is i: then x and y of a mixture are the same numbers.
    x, y = mix_up(N, alpha)(KEY, (jnp.asarray(ONE_HOT).reshape(N, 1, N, 1), jnp.arange(N)))
    np.testing.assert_allclose(x.reshape(N, N), y, rtol=1e-6)
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-6)
    own, others = np.diag(y), np.asarray(y) - np.diag(np.diag(y))
    assert (own >= 0.5).all(), "the larger share is the example's own"
    assert ((others > 0).sum(axis=1) <= 1).all(), "one partner each"
    assert ((others > 0).sum(axis=0) <= 1).all(), "and each is the partner of one"


@pytest.mark.parametrize("alpha", [0.01, 0.2, 0.5, 1.0, 3.0, 100.0])
def test_shares_are_of_the_beta_distribution(alpha: float) -> None:
    n = 4000
    x = jnp.arange(n, dtype=jnp.float32).reshape(n, 1, 1, 1)
    q = np.asarray(MIX(KEY, alpha, (x, jnp.arange(n) % 2))[1])
    own = q[np.arange(n), np.arange(n) % 2]
    # Where the partner is of the same class, the share is 1: half of them. Shares of a few ulps round to it too.
    levels = np.linspace(0.55, 0.95, 9)
    below = jax.scipy.special.betainc(alpha, alpha, jnp.asarray(levels))
    expected = np.asarray(below - jax.scipy.special.betainc(alpha, alpha, jnp.asarray(1 - levels))) / 2
    found = (own[:, None] < levels).mean(axis=0)
    np.testing.assert_array_less(abs(found - expected), 5 * np.sqrt(expected * (1 - expected) / n) + 1e-3)


def test_uint8_mixes_as_floats_in_0_to_1_do() -> None:
    of_bytes = ALL["mix_up"](KEY, (X, Y))
    of_floats = ALL["mix_up"](KEY, (X / jnp.float32(255), Y))
    assert of_bytes[0].dtype == jnp.float32
    np.testing.assert_allclose(of_bytes[0], of_floats[0], rtol=1e-6)
    np.testing.assert_array_equal(of_bytes[1], of_floats[1])
    assert 0 <= float(of_bytes[0].min()) <= float(of_bytes[0].max()) <= 1


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_low_precision_pixels_mix_in_float32(dtype: Any) -> None:
    x, y = ALL["mix_up"](KEY, ((X / 255).astype(dtype), Y))
    assert (x.dtype, y.dtype) == (dtype, jnp.float32)
    wide = ALL["mix_up"](KEY, ((X / 255).astype(dtype).astype(jnp.float32), Y))[0]
    np.testing.assert_array_equal(x, wide.astype(dtype))


def test_float64() -> None:
    with jax.enable_x64(True):
        x, y = ALL["mix_up"](KEY, (jnp.asarray(PIXELS, jnp.float64), jnp.asarray(Y)))
        assert (x.dtype, y.dtype) == (jnp.float64, jnp.float64)
        np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-15)
        assert ALL["flip"](KEY, (jnp.asarray(PIXELS, jnp.float64), Y))[0].dtype == jnp.float64


def test_probabilities_mix_as_labels_do() -> None:
    of_labels = ALL["mix_up"](KEY, (X, Y))
    assert _alike(of_labels, ALL["mix_up"](KEY, (X, jax.nn.one_hot(Y, CLASSES))))
    twice = chain(ALL["mix_up"], ALL["mix_up"])(KEY, (X, Y))[1]
    np.testing.assert_allclose(twice.sum(axis=1), 1, rtol=1e-6)


def test_zero_weight_mixes_with_zero_weight_only() -> None:
    weight = jnp.asarray(np.arange(N) % 3 > 0, jnp.float32)
    batch = WeightedBatch(jnp.asarray(ONE_HOT).reshape(N, 1, N, 1), jnp.arange(N), weight)
    y = np.asarray(mix_up(N, 1.0)(KEY, batch).y)
    counts = np.asarray(weight) > 0
    assert not y[counts][:, ~counts].any()
    assert not y[~counts][:, counts].any()


def test_a_chain_goes_in_order_with_a_key_for_each_place() -> None:
    parts = [shift_crop(2), shift_crop(2), flip()]
    by_hand: Any = Dataset(X, Y)
    for place, part in enumerate(parts):
        by_hand = part(jax.random.fold_in(KEY, place), by_hand)
    assert _alike(chain(*parts)(KEY, Dataset(X, Y)), by_hand)
    twice = chain(shift_crop(2), shift_crop(2))(KEY, Dataset(X, Y)).x
    same_key = shift_crop(2)(KEY, shift_crop(2)(KEY, Dataset(X, Y))).x
    assert not np.array_equal(twice, same_key)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: flip(1.5), ValueError, r"chance: got 1\.5, expected a number in \[0, 1\]"),
        (lambda: cutout(chance=-0.1), ValueError, r"chance: got -0\.1, expected a number in \[0, 1\]"),
        (lambda: flip(np.nan), ValueError, r"chance: got nan, expected a finite number\. It is a number in \[0, 1\]"),
        (lambda: flip(True), TypeError, r"chance: got True"),
        (lambda: flip(cast(Any, "half")), TypeError, r"chance: got 'half'"),
        (lambda: shift_crop(0), ValueError, r"pixels: got 0, expected an integer >= 1"),
        (lambda: shift_crop(cast(Any, 2.0)), TypeError, r"pixels: got 2\.0, expected an integer"),
        (
            lambda: shift_crop(fill="edges"),
            ValueError,
            r"fill: got 'edges', expected one of edge, .*Did you mean 'edge'",
        ),
        (lambda: cutout(0), ValueError, r"size: got 0"),
        (lambda: mix_up(1), ValueError, r"classes: got 1, expected an integer >= 2"),
        (lambda: mix_up(3, 0.0), ValueError, r"alpha: got 0\.0, expected a finite number > 0\. .* leave mix_up out"),
        (lambda: chain(), ValueError, r"augmentations: got none, expected at least one augmentation"),
        (
            lambda: chain(flip(), cast(Any, 3)),
            TypeError,
            r"augmentations\[1\]: got 3, expected a function .*Call its factory",
        ),
    ],
)
def test_wrong_arguments(make: Callable[[], Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{match}"):
        make()


@pytest.mark.parametrize(
    ("batch", "error", "match"),
    [
        (
            (X[..., 0], Y),
            ValueError,
            r"batch\.x: got shape \(12, 7, 9\), expected images \(n, h, w, c\).*x\[\.\.\., None",
        ),
        ((X.reshape(N, -1), Y), ValueError, r"batch\.x: got shape \(12, 189\), expected images \(n, h, w, c\)\."),
        ((X[:0], Y[:0]), ValueError, r"batch\.x: got shape \(0, 7, 9, 3\), expected images"),
        ((X.astype(int), Y), TypeError, r"batch\.x: got dtype int32, expected pixels, uint8 or floating"),
        ((X > 3, Y), TypeError, r"batch\.x: got dtype bool"),
        ((jnp.ones((2, 3, 8, 8)), Y), ValueError, r".* looks like \(n, c, h, w\).*x\.transpose\(0, 2, 3, 1\)"),
        ((PIXELS.tolist(), Y), TypeError, r"batch\.x: got a list of 12, expected an array"),
        ({"x": X, "y": Y}, TypeError, r"batch: got a dict, expected a batch of images and targets"),
        ((X,), TypeError, r"batch: got a tuple"),
    ],
)
@pytest.mark.parametrize("name", ALL)
def test_wrong_batches(name: str, batch: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{match}"):
        ALL[name](KEY, batch)


@pytest.mark.parametrize("name", ALL)
def test_wrong_keys(name: str) -> None:
    with pytest.raises(TypeError, match=r"^key: got a legacy uint32 key"):
        ALL[name](jax.random.key_data(KEY), (X, Y))
    with pytest.raises(ValueError, match=r"^key: got keys of shape \(2,\)"):
        ALL[name](jax.random.split(KEY), (X, Y))


@pytest.mark.parametrize("pixels", [7, 8])
def test_a_shift_as_far_as_the_image_is_high(pixels: int) -> None:
    match = rf"^pixels: got {pixels} for images of 7x9 pixels, expected less than their height and width\."
    with pytest.raises(ValueError, match=match):
        jax.jit(shift_crop(pixels))(KEY, (X, Y))


@pytest.mark.parametrize(
    ("y", "error", "match"),
    [
        (Y + 1, ValueError, r"labels: got 3 at row 2 \(4 bad rows\), expected integer labels in \[0, 3\)"),
        (Y[:5], ValueError, r"labels: got shape \(5,\), expected shape \(12,\)"),
        (
            Y.astype(float),
            TypeError,
            r"batch\.y: got dtype float32 and shape \(12,\), expected integer labels \(12,\) or",
        ),
        (jnp.ones((N, CLASSES)), ValueError, r"batch\.y, a row's sum: got 3\.0"),
        (jnp.ones((N, 5)) / 5, TypeError, r"batch\.y: got dtype float32 and shape \(12, 5\), .*\(12, 3\)"),
    ],
)
def test_targets_that_cannot_be_mixed(y: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{match}"):
        ALL["mix_up"](KEY, (X, y))
