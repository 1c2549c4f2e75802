"""Comparing trees: the first place that differs is named, with both numbers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn.laws import Broken
from fnn.laws.compare import abstract, close, finite, numbers, same

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("a", "b", "tolerance"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0),
        ([0.0], [-0.0], 0),
        ([NAN, INF, -INF], [NAN, INF, -INF], 0),
        ([1.0, 1e-9], [1.0, 2e-9], 1e-8),
        ([1.0], [1.0 + 1e-7], 1e-6),
        ([1 + 1j], [1 + 1j], 0),
        ([], [], 0),
        ([1, 2], [1, 2], 0),
    ],
)
def test_what_is_close(a: Any, b: Any, tolerance: float) -> None:
    close({"w": np.array(a)}, {"w": np.array(b)}, tolerance)


@pytest.mark.parametrize(
    ("a", "b", "tolerance", "match"),
    [
        ([1.0, 2.0], [1.0, 2.5], 1e-3, r"^w\[1\]: here = 2, there = 2\.5$"),
        ([1.0], [1.0 + 1e-12], 0, r"^w\[0\]: here = 1, there = 1$"),
        ([NAN], [1.0], 1, r"^w\[0\]: here = nan, there = 1$"),
        ([INF], [1.0], 1, r"^w\[0\]: here = inf, there = 1$"),
        ([INF], [-INF], 1, r"^w\[0\]: here = inf, there = -inf$"),
        ([1.0], [[1.0]], 0, r"^w: here has shape \(1,\), there has \(1, 1\)$"),
        ([1j], [1.0], 1e-3, r"^w\[0\]: here = 0\+1j, there = 1$"),
    ],
)
def test_what_is_not_close(a: Any, b: Any, tolerance: float, match: str) -> None:
    with pytest.raises(Broken, match=match):
        close({"w": np.array(a)}, {"w": np.array(b)}, tolerance, "here", "there")


def test_trees_that_differ() -> None:
    with pytest.raises(Broken, match=r"^got is the tree PyTreeDef.*, expected is PyTreeDef"):
        same({"a": 1.0}, {"b": 1.0})
    with pytest.raises(Broken, match="is the tree"):
        same([1.0], (1.0,))


def test_low_precision_and_keys_are_compared_by_their_values() -> None:
    same(jnp.ones(2, jnp.bfloat16), np.ones(2, np.float32))
    same(jax.random.key(1), jax.random.key(1))
    with pytest.raises(Broken, match=r"^leaf\[1\]"):
        same(jax.random.key(1), jax.random.key(2))
    assert numbers(jnp.ones((), jnp.float16)).dtype == np.float64


def test_finite_names_the_place() -> None:
    finite({"w": jnp.ones(2), "n": jnp.array(3)}, "it")
    with pytest.raises(Broken, match=r"^a/w\[1\]: the update is nan$"):
        finite({"a": {"w": jnp.array([0.0, NAN])}}, "the update")


def test_abstract_sees_weak_types() -> None:
    strong, weak = abstract([jnp.ones(2), jnp.asarray(1.0)])
    assert strong == ("0", (2,), "float32", False)
    assert weak == ("1", (), "float32", True)
