"""Members are taken by index, with all their leaves, and ranked with ties and NaN in their places."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn.population import ranked, take

STATES = {"w": jnp.arange(12.0).reshape(4, 3), "key": jax.random.split(jax.random.key(0), 4)}


def test_one_member_and_some() -> None:
    one, some = take(STATES, 2), take(STATES, jnp.array([3, 0]))
    np.testing.assert_array_equal(one["w"], STATES["w"][2])
    np.testing.assert_array_equal(some["w"], STATES["w"][jnp.array([3, 0])])
    assert bool(one["key"] == STATES["key"][2])
    assert jax.tree.map(jnp.shape, jax.jit(take)(STATES, jnp.array([1]))) == {"w": (1, 3), "key": (1,)}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_ranks_by_sorting_pairs(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        scores = rng.choice([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan], size=9)
        by_hand = sorted(range(9), key=lambda i: (np.isnan(scores[i]), -scores[i] if scores[i] == scores[i] else 0, i))
        assert list(map(int, ranked(jnp.asarray(scores, dtype)))) == by_hand
        assert list(map(int, jax.jit(ranked)(jnp.asarray(scores, dtype)))) == by_hand


@pytest.mark.parametrize(
    ("states", "members", "error", "match"),
    [
        (STATES, 4, ValueError, r"^members: got 4 .*expected indices of the 4 members"),
        (STATES, jnp.array([0, -5]), ValueError, r"^members: got -5 at row 1"),
        (STATES, jnp.ones(4, bool), TypeError, r"^members: got dtype bool, expected integer indices\. Of a mask"),
        ({"w": jnp.ones((4, 1)), "b": jnp.ones(3)}, 0, ValueError, r"^states: got leaf 'w' of .*\(4,\) beside 'b'"),
        ({"w": jnp.ones(())}, 0, ValueError, r"^states: got leaf 'w' of leading axis \(\), expected .* Stack"),
        ({}, 0, ValueError, r"^states: got a tree without leaves"),
    ],
)
def test_wrong_members(states: Any, members: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        take(states, members)


def test_wrong_scores() -> None:
    with pytest.raises(ValueError, match=r"^scores: got shape \(2, 2\), expected shape \(n,\)"):
        ranked(jnp.ones((2, 2)))
    with pytest.raises(TypeError, match=r"^scores: got dtype int32"):
        ranked(jnp.ones(3, int))
