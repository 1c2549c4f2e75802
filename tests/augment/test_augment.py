"""What all augmentations have in common: the batch that they keep, the keys that they draw with, what they refuse."""

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


@pytest.mark.parametrize("name", ["chain", "mix_up"])
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
