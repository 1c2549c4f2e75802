"""Mix-up: examples and their targets as mixtures of two."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn import targets
from fnn.augment.batch import changed, images_of, is_floating
from fnn.errors import check_count, check_scalar, message
from fnn.typing import Array, Augmentation, Batch, DType, Key, Scalar


def mix_up(classes: int, alpha: Scalar = 0.2) -> Augmentation:
    """Mixes pairs of examples, `x' = l x_i + (1 - l) x_j`, `y' = l y_i + (1 - l) y_j`, l ~ Beta(alpha, alpha).

    j is a random permutation of the batch; each example draws its own l. The larger share is the example's
    own, max(l, 1 - l): over random pairs that is the same distribution, and metrics, which compare with the
    labels as they came, keep a meaning. Examples of weight 0 mix among themselves only.

    Args:
        classes: how many there are.
        alpha: how evenly they are mixed, > 0; near 0 hardly at all. It may be traced.

    Returns:
        augment(key, batch) to a batch of the same type. x keeps its dtype, but uint8 pixels become float32
        in [0, 1]; y is (n, classes), probabilities, whether labels or probabilities came.

    Raises:
        ValueError: fewer than two classes, alpha not positive, x is not (n, h, w, c), or labels out of range.
        TypeError: pixels are neither uint8 nor floating, or y neither integer labels nor probabilities.

    Example:
        >>> x, y = jnp.array([1.0, 0.0]).reshape(2, 1, 1, 1), jnp.array([0, 1])
        >>> mixed, q = mix_up(2, alpha=1.0)(jax.random.key(2), (x, y))
        >>> q.sum(axis=1), bool(jnp.allclose(q[:, 0], mixed[:, 0, 0, 0]))
        (Array([1., 1.], dtype=float32), True)

    Source: Zhang et al. 2018, "mixup: beyond empirical risk minimization", equation 1.
    """
    check_count("classes", classes, 2)
    remedy = "Near 0 hardly anything is mixed; for nothing at all leave mix_up out."
    check_scalar("alpha", alpha, 0, open_low=True, remedy=remedy)

    def augment(key: Key, batch: Batch) -> Batch:
        x = images_of(key, batch)
        wide = jnp.promote_types(x.dtype, jnp.float32) if is_floating(x) else jnp.dtype(jnp.float32)
        y = _probabilities(batch[1], len(x), classes, wide)
        key_share, key_pairs = jax.random.split(key)
        share = _larger_share(key_share, jnp.asarray(alpha, wide), len(x))
        j = _pairs(key_pairs, len(x), batch[2] if len(batch) == 3 else None)
        mixed = _mixed(x.astype(wide) if is_floating(x) else x / jnp.float32(255), share, j)
        dtype = batch[1].dtype if jnp.issubdtype(batch[1].dtype, jnp.floating) else wide
        return changed(batch, mixed.astype(x.dtype if is_floating(x) else wide), _mixed(y, share, j).astype(dtype))

    return augment


def _pairs(key: Key, n: int, weight: Any) -> Array:
    """A permutation of the examples that count, and one of the others: fillers change nobody's partner."""
    rank = jax.random.uniform(key, (n,))
    if weight is None:
        return jnp.argsort(rank)
    counts = jnp.asarray(weight) > 0
    place = jnp.where(counts, jnp.cumsum(counts), jnp.sum(counts) + jnp.cumsum(~counts)) - 1
    return jnp.argsort(jnp.where(counts, rank, 1 + rank)).at[place].get(mode="promise_in_bounds")


def _larger_share(key: Key, alpha: Array, n: int) -> Array:
    """max(l, 1 - l), l ~ Beta(alpha, alpha), (n,): l = (1 + T / sqrt(2 alpha + T^2)) / 2, T ~ Student(2 alpha).

    T is drawn in closed form, T^2 = 2 alpha (U^(-1 / alpha) - 1) cos(2 pi V)^2 (Bailey 1994, "Polar generation
    of random variates with the t-distribution"): `jax.random.beta` compiles for a second and more.
    """
    key_radius, key_angle = jax.random.split(key)
    u = -jax.random.exponential(key_radius, (n,), alpha.dtype) / alpha
    cosine = jnp.cos(2 * jnp.pi * jax.random.uniform(key_angle, (n,), alpha.dtype))
    part = -jnp.expm1(u) * cosine**2
    return (1 + jnp.sqrt(part / (jnp.exp(u) + part))) / 2


def _mixed(a: Array, share: Array, j: Array) -> Array:
    share = share.reshape(-1, *[1] * (a.ndim - 1))
    return share * a + (1 - share) * a.at[j].get(mode="promise_in_bounds")


def _probabilities(y: Any, n: int, classes: int, dtype: DType) -> Array:
    rows = jnp.zeros((n, classes), dtype)
    if not jnp.issubdtype(y.dtype, jnp.floating):
        return targets.one_hot(y, rows)
    if np.shape(y) != rows.shape:
        got = f"dtype {y.dtype} and shape {np.shape(y)}"
        expected = f"integer labels ({n},) or probabilities {rows.shape}"
        raise TypeError(message("batch.y", got, expected, "mix_up mixes classes: labels are integers."))
    return targets.distribution("batch.y", y, dtype, "Divide each row by its sum, or give integer labels.")
