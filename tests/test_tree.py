"""Functions of a whole tree: names, size, norm against float64, casts, and which leaves are weights."""

from collections import OrderedDict
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fnn import nn, tree

KEY = jax.random.key(0)


class Pair(NamedTuple):
    left: Any
    right: Any


# Names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nested", "names"),
    [
        ({"a": {"w": 1, "b": 2}, "c": 3}, {"a/b": 2, "a/w": 1, "c": 3}),
        ([1, (2, 3)], {"0": 1, "1/0": 2, "1/1": 3}),
        (Pair(1, {"w": 2}), {"left": 1, "right/w": 2}),
        ({"a": [Pair(1, 2)]}, {"a/0/left": 1, "a/0/right": 2}),
        (OrderedDict(z=1, a=2), {"z": 1, "a": 2}),
        ({1: 2}, {"1": 2}),
        (5, {"": 5}),
        ({"a": None, "b": {}}, {}),
    ],
)
def test_names_of_leaves(nested: Any, names: dict[str, Any]) -> None:
    named = tree.named_leaves(nested)
    assert list(named.items()) == list(names.items())
    assert list(named.values()) == jax.tree.leaves(nested)


def test_names_of_a_network_and_its_optimizer() -> None:
    params, _ = nn.sequential(nn.mlp([4, 3]), nn.residual(nn.dense(3))).init(KEY, jnp.ones((1, 2)))
    names = ["mlp_0/dense_0/b", "mlp_0/dense_0/w", "mlp_0/dense_1/b", "mlp_0/dense_1/w", "residual_0/b", "residual_0/w"]
    assert list(tree.named_leaves(params)) == names
    assert "0/trace/mlp_0/dense_0/w" in tree.named_leaves(optax.sgd(0.1, momentum=0.9).init(params))


@pytest.mark.parametrize(
    ("nested", "size"),
    [
        ({}, 0),
        ({"a": None}, 0),
        (3.0, 1),
        ({"w": np.ones((3, 2)), "b": [jnp.ones(2), 1.0, jnp.ones((0, 7))]}, 9),
        (jax.random.split(KEY, 4), 4),
    ],
)
def test_size(nested: Any, size: int) -> None:
    assert tree.size(nested) == size


def test_size_under_a_trace() -> None:
    assert jax.jit(lambda x: tree.size([x, x[0]]) + 0 * x.sum())(jnp.ones((3, 2))) == 8


# Norm ----------------------------------------------------------------------------------------------------


def _norm(leaves: Any) -> float:
    wide = [np.asarray(leaf).astype(complex).ravel() for leaf in leaves]
    return float(np.sqrt(sum(np.sum(np.abs(leaf) ** 2) for leaf in wide)))


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32, jnp.complex64])
def test_norm_is_that_of_one_long_vector(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    leaves = [jnp.asarray(rng.normal(size=shape) * (1 + 2j if dtype == jnp.complex64 else 1), dtype)
              for shape in ((), (300, 40), (7,))]  # fmt: skip
    nested = {"a": leaves[0], "b": [leaves[1], Pair(leaves[2], None)]}
    for norm in (tree.global_norm, jax.jit(tree.global_norm)):
        got = norm(nested)
        assert (got.dtype, got.shape) == (jnp.float32, ())
        np.testing.assert_allclose(got, _norm(leaves), rtol=1e-6)


def test_norm_in_float64() -> None:
    with jax.enable_x64(True):
        leaves = [jnp.arange(5.0), jnp.array([3 + 4j]), jnp.float32(0.5)]
        assert tree.global_norm(leaves).dtype == jnp.float64
        np.testing.assert_allclose(tree.global_norm(leaves), _norm(leaves), rtol=1e-15)


@pytest.mark.parametrize("empty", [{}, [], None, {"a": {}}, jnp.zeros((0, 3))])
def test_norm_of_nothing(empty: Any) -> None:
    norm = tree.global_norm(empty)
    # Of a strong type, as every other norm: a scan would refuse a carry that changes it.
    assert (float(norm), norm.dtype, norm.weak_type) == (0, jnp.float32, False)


@pytest.mark.parametrize(
    ("x", "norm"),
    [
        # Squared in their own dtype, each of these would be infinite or 0.
        (jnp.array([300.0, 400.0], jnp.float16), 500),
        (jnp.array([3e-4, 4e-4], jnp.float16), 5e-4),
        (jnp.array([100, 100, 100, 100], jnp.int8), 200),
        (jnp.array([True, False, True, True, True]), 2),
        (jnp.full(10_000, 1, jnp.bfloat16), 100),
        (jnp.array([1e18, -1e18], jnp.float32), 2**0.5 * 1e18),
    ],
)
def test_norm_of_awkward_numbers(x: jax.Array, norm: float) -> None:
    # 3e-4 and 4e-4 are good to 5e-4 in float16.
    np.testing.assert_allclose(tree.global_norm(x), norm, rtol=5e-4 if norm < 1 else 1e-6)


def test_norm_has_a_derivative_at_0() -> None:
    np.testing.assert_array_equal(jax.grad(tree.global_norm)(jnp.zeros(2)), [0.0, 0.0])
    np.testing.assert_allclose(jax.grad(tree.global_norm)(jnp.array([3.0, 4.0])), [0.6, 0.8], rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_norm_does_not_hide_a_bad_leaf(bad: float) -> None:
    assert not jnp.isfinite(tree.global_norm({"a": jnp.ones(3), "b": jnp.array([1.0, bad])}))


def test_norm_is_one_number_a_member_under_vmap() -> None:
    stacked = {"w": jnp.array([[3.0, 4.0], [0.0, 5.0]]), "b": jnp.array([12.0, 12.0])}
    np.testing.assert_array_equal(jax.vmap(tree.global_norm)(stacked), [13, 13])


# Cast and mask -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1e-30, 1e-12, 1.0, 1e30])
def test_a_scaled_norm_of_any_size(size: float) -> None:
    leaves = {"a": size * jnp.array([[3.0], [0.0]]), "b": -size * jnp.array([4.0])}
    for norm in (tree.global_norm, jax.jit(tree.global_norm, static_argnames="scaled")):
        np.testing.assert_allclose(norm(leaves, scaled=True), 5 * size, rtol=1e-6)


@pytest.mark.parametrize("size", [1e-37, 1e-25, 1.0, 1e25, 1e37])
def test_the_gradient_of_a_scaled_norm_of_any_size(size: float) -> None:
    g = jax.grad(lambda x: tree.global_norm(x, scaled=True))(jnp.array([3.0, 4.0]) * size)
    np.testing.assert_allclose(g, [0.6, 0.8], rtol=1e-6)


def test_a_scaled_norm_of_nothing_and_of_zeros() -> None:
    for empty in ({}, jnp.zeros(0), jnp.zeros((2, 3))):
        assert float(tree.global_norm(empty, scaled=True)) == 0
    assert not np.isfinite(tree.global_norm(jnp.array([1.0, jnp.nan]), scaled=True))
    assert tree.global_norm(jnp.array([1.0, jnp.inf]), scaled=True) == jnp.inf


@pytest.mark.parametrize("shape", [(512, 300), (2**16,), (3, 2**15), (2**15, 3), (256, 16, 17)])
def test_the_norm_of_a_large_leaf(shape: tuple[int, ...]) -> None:
    x = jax.random.normal(jax.random.key(3), shape)
    np.testing.assert_allclose(jax.jit(tree.global_norm)(x), np.linalg.norm(np.asarray(x, np.float64)), rtol=2e-6)


def test_cast_touches_floating_point_leaves_alone() -> None:
    nested = {
        "half": jnp.ones(2, jnp.float16),
        "numpy": np.ones((2, 1)),
        "number": 0.5,
        "int": jnp.arange(3),
        "bool": np.array([True]),
        "complex": jnp.ones(1, complex),
        "key": KEY,
        "pair": Pair(jnp.ones(1), None),
    }
    for cast in (tree.cast, jax.jit(tree.cast, static_argnums=1)):
        got = cast(nested, jnp.bfloat16)
        assert jax.tree.structure(got) == jax.tree.structure(nested)
        dtypes = {name: leaf.dtype for name, leaf in tree.named_leaves(got).items()}
        floats = {"half", "numpy", "number", "pair/left"}
        assert {name for name, dtype in dtypes.items() if dtype == jnp.bfloat16} == floats
        assert {name: str(dtypes[name]) for name in dtypes.keys() - floats} == {
            "int": "int32",
            "bool": "bool",
            "complex": "complex64",
            "key": "key<fry>",
        }
    kept = tree.cast(nested, jnp.bfloat16)
    assert all(kept[name] is nested[name] for name in ("int", "bool", "complex", "key"))


def test_cast_rounds_and_comes_back() -> None:
    w = jnp.array([1 / 3, 1.5])
    np.testing.assert_array_equal(tree.cast(tree.cast(w, jnp.bfloat16), jnp.float32), [0.333984375, 1.5])
    np.testing.assert_array_equal(tree.cast(w, jnp.float32), w)


def test_weights_of_our_networks() -> None:
    params, _ = nn.sequential(nn.mlp([4, 3]), nn.residual(nn.dense(3, use_bias=False))).init(KEY, jnp.ones((1, 2)))
    dense = {"w": True, "b": False}
    assert tree.weight_mask(params) == {"mlp_0": {"dense_0": dense, "dense_1": dense}, "residual_0": {"w": True}}


@pytest.mark.parametrize("name", ["b", "bias", "scale", "offset", "shift", "beta", "gamma"])
def test_what_is_no_weight(name: str) -> None:
    # Only the last part counts, and only the whole of it.
    params = {"bias": {"w": 1.0, name: 2.0}, f"{name}_0": {"kernel": 1.0}, "embedding": 1.0, "rest": [1.0, {name: 1.0}]}
    assert tree.weight_mask(params) == {
        "bias": {"w": True, name: False},
        f"{name}_0": {"kernel": True},
        "embedding": True,
        "rest": [True, {name: False}],
    }


def test_an_array_by_itself_is_a_weight() -> None:
    assert tree.weight_mask(jnp.ones(2)) is True


def test_the_mask_is_one_of_optax() -> None:
    params = {"dense_0": {"w": jnp.array([2.0]), "b": jnp.array([3.0])}}
    decay: Any = optax.add_decayed_weights(0.5, mask=tree.weight_mask)
    updates, _ = decay.update(jax.tree.map(jnp.zeros_like, params), decay.init(params), params)
    assert jax.tree.map(float, jax.tree.map(jnp.squeeze, updates)) == {"dense_0": {"w": 1.0, "b": 0.0}}
