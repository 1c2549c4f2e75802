"""What all rules share: the pass over the leaves, and the small functions that keep numbers in range."""

import math
from decimal import Decimal, localcontext
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn import optim
from fnn.optim.leafwise import (
    accumulators,
    average_weight,
    bounded,
    check_learning_rate,
    decay_needs_params,
    leafwise,
    no_updates,
    one_more,
    rate_at,
    root,
    square,
)
from fnn.typing import Array


def _halve(number: Any, g: Array, w: Array | None) -> tuple[Array]:
    return (number(0.5) * g,)


def _add(number: Any, g: Array, s: Array, w: Array | None) -> tuple[Array, Array]:
    return -g, s + g


@pytest.mark.parametrize("beta", [0.0, 1e-8, 0.5, 0.9, 0.999, 0.99999])
def test_the_weight_of_an_average_does_not_cancel(beta: float) -> None:
    b = jnp.float32(beta)
    weight = jax.jit(average_weight)
    for t in (1, 2, 3, 10, 1000, 10**6):
        with localcontext(prec=60):
            expected = float(1 - Decimal(float(b)) ** t)
        np.testing.assert_allclose(weight(b, jnp.int32(t)), expected, rtol=3e-7)


@pytest.mark.parametrize(("t", "slope"), [(1, -1.0), (2, 0.0)])
def test_the_weight_of_an_average_has_its_derivative_at_0(t: int, slope: float) -> None:
    assert float(jax.grad(average_weight)(jnp.float32(0), jnp.int32(t))) == slope
    at_half = jax.grad(average_weight)(jnp.float32(0.5), jnp.int32(t))
    np.testing.assert_allclose(at_half, -t * 0.5 ** (t - 1), rtol=1e-6)


def test_root_and_its_derivative() -> None:
    v = jnp.array([0.0, 4.0, jnp.inf, jnp.nan])
    np.testing.assert_array_equal(root(v), [0.0, 2.0, np.inf, np.nan])
    np.testing.assert_array_equal(jax.vmap(jax.grad(root))(v[:3]), [0.0, 0.25, 0.0])


def test_square() -> None:
    assert square(jnp.array(-3.0)) == 9
    z = square(jnp.array(3.0 + 4.0j))
    assert (float(z), z.dtype) == (25, jnp.float32)
    # The derivative of |z|^2 at 0, where |z| itself has none.
    assert jax.grad(square)(jnp.array(0.0 + 0.0j)) == 0


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.complex64])
def test_bounded_keeps_what_it_can_and_never_overflows(dtype: Any) -> None:
    small = jnp.array([0.0, jnp.finfo(jnp.float32).tiny, -3.0, 4e18], dtype)
    np.testing.assert_array_equal(bounded(small), small)
    large = jnp.array([1e19, -3e38], dtype) * (1 if dtype == jnp.float32 else jnp.complex64(0.6 + 0.8j))
    kept = bounded(large)
    assert bool(jnp.all(jnp.isfinite(square(2 * kept))))
    np.testing.assert_allclose(kept / jnp.abs(kept), large / jnp.abs(large), rtol=1e-6)
    np.testing.assert_allclose(jnp.abs(kept), math.sqrt(float(jnp.finfo(jnp.float32).max)) / 4, rtol=1e-6)


def test_bounded_hides_no_error() -> None:
    assert bool(jnp.all(jnp.isnan(bounded(jnp.array([jnp.inf, -jnp.inf, jnp.nan])))))


def test_counter_saturates() -> None:
    count = no_updates()
    assert (count.dtype, count.weak_type, count.shape) == (jnp.int32, False, ())
    assert int(one_more(count)) == 1
    last = jnp.int32(2**31 - 1)
    assert one_more(last) == last
    assert one_more(last).dtype == jnp.int32


@pytest.mark.parametrize(
    ("dtype", "wide", "real"),
    [
        ("float16", "float32", "float32"),
        ("bfloat16", "float32", "float32"),
        ("float32", "float32", "float32"),
        ("complex64", "complex64", "float32"),
    ],
)
def test_accumulators_are_at_least_float32(dtype: str, wide: str, real: str) -> None:
    w = {"a": jnp.ones(2, dtype), "none": None}
    made = accumulators(w, 0.1)
    assert (made["a"].dtype, made["none"]) == (wide, None)
    np.testing.assert_array_equal(made["a"], np.full(2, 0.1, wide))
    assert accumulators(w, real=True)["a"].dtype == real
    assert not made["a"].weak_type


def test_accumulators_keep_the_sharding() -> None:
    mesh = jax.make_mesh((len(jax.devices()),), ("i",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("i"))
    w = jax.device_put(jnp.ones(4 * len(jax.devices())), sharding)
    assert accumulators(w).sharding == sharding


def test_rate_at() -> None:
    assert rate_at(0.5, no_updates()) == 0.5
    assert rate_at(lambda t: 2 * t, jnp.int32(3)) == 6


def test_a_schedule_gives_one_number() -> None:
    with pytest.raises(ValueError, match=r"learning_rate: got a schedule that gives an array of shape \(1,\)"):
        rate_at(lambda _: jnp.ones(1), no_updates())


@pytest.mark.parametrize(
    ("start", "error", "match"),
    [
        (-1.0, ValueError, r"got -1.0, expected a finite number >= 0\. It is the schedule's rate at step 0\."),
        (np.nan, ValueError, "got nan, expected a finite number >= 0"),
        (None, TypeError, "got None, expected a finite number >= 0"),
        (np.zeros(2), ValueError, r"got an array of shape \(2,\)"),
    ],
)
def test_a_schedule_starts_with_a_rate(start: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=rf"^learning_rate: {match}"):
        check_learning_rate(lambda _: start)
    check_learning_rate(lambda t: 0.1 + t)


def test_decay_needs_params() -> None:
    decay_needs_params(0.0, None)
    decay_needs_params(0.1, {})
    with pytest.raises(ValueError, match=r"params: got None, expected the parameters, which decay"):
        decay_needs_params(0.1, None)


@pytest.mark.parametrize("tree", [{}, None, {"a": None}, (), jnp.zeros(()), jnp.zeros((0, 3)), [jnp.ones(1), None]])
def test_any_tree_keeps_its_form(tree: Any) -> None:
    (changes,) = leafwise(_halve, tree)
    assert jax.tree.structure(changes) == jax.tree.structure(tree)
    changes, slots = leafwise(_add, tree, tree, params=tree)
    assert jax.tree.structure(changes) == jax.tree.structure(slots) == jax.tree.structure(tree)
    assert [c.shape for c in jax.tree.leaves(changes)] == [x.shape for x in jax.tree.leaves(tree)]


def test_leaves_of_one_name_are_two_leaves() -> None:
    tree = {"a/b": jnp.ones(1), "a": {"b": jnp.ones(2)}}
    changes, _ = leafwise(_add, tree, tree, params=tree)
    assert jax.tree.map(jnp.shape, changes) == {"a/b": (1,), "a": {"b": (2,)}}
    with pytest.raises(ValueError, match=r"gradient of 'a/b': got shape \(3,\), expected shape \(2,\)"):
        leafwise(_add, {"a/b": jnp.ones(1), "a": {"b": jnp.ones(3)}}, tree)


def test_a_number_enters_in_the_accumulators_dtype() -> None:
    def rule(number: Any, g: Array, w: Array | None) -> tuple[Array]:
        assert {g.dtype, number(0.1).dtype, number(np.float64(0.1)).dtype} == {jnp.dtype("float32")}
        assert not number(1).weak_type
        return (g,)

    assert leafwise(rule, jnp.ones(2, jnp.bfloat16))[0].dtype == jnp.bfloat16


@pytest.mark.parametrize("trees", ["slots", "params"])
def test_trees_that_differ(trees: str) -> None:
    w = {"w": jnp.ones(2), "b": jnp.ones(1)}
    slot, params = ({"w": jnp.ones(2)}, None) if trees == "slots" else (w, {"w": jnp.ones(2)})
    with pytest.raises(ValueError, match=r"grads: got another tree \(differs in b\), expected the parameters' tree\."):
        leafwise(_add, w, slot, params=params)


def test_containers_that_differ() -> None:
    with pytest.raises(ValueError, match=r"grads: got another tree \(differs in its containers\)"):
        leafwise(_add, [jnp.ones(1)], (jnp.ones(1),))


@pytest.mark.parametrize("where", ["slots", "params"])
def test_nothing_is_broadcast(where: str) -> None:
    g, w = {"w": jnp.ones(1)}, {"w": jnp.ones(3)}
    slot, params = (w, None) if where == "slots" else (g, w)
    with pytest.raises(ValueError, match=r"gradient of 'w': got shape \(1,\), expected shape \(3,\), its parameter's"):
        leafwise(_add, g, slot, params=params)


@pytest.mark.parametrize("params", [None, {"w": jnp.ones(2)}])
def test_integers_are_no_gradient(params: Any) -> None:
    with pytest.raises(TypeError, match=r"gradient of 'w': got dtype int32, expected floating-point or complex"):
        leafwise(_halve, {"w": jnp.array([1, 2])}, params=params)


def test_a_real_parameter_has_a_real_gradient() -> None:
    with pytest.raises(TypeError, match=r"gradient: got complex numbers, expected real ones, as its parameter"):
        leafwise(_halve, jnp.ones(2, jnp.complex64), params=jnp.ones(2))


@pytest.mark.parametrize(
    ("made", "used", "error", "match"),
    [
        (
            optim.momentum(0.1),
            optim.adam(0.1),
            TypeError,
            r"optimizer state: got a MomentumState, expected AdamState\.",
        ),
        (optim.adam(0.1), optim.sgd(0.1), TypeError, r"optimizer state: got a AdamState, expected SgdState"),
        (optim.adagrad(0.1), optim.rmsprop(0.1), TypeError, r"optimizer state: got a AdagradState"),
        (optim.sgd(0.1), optim.adagrad(0.1), TypeError, r"optimizer state: got a SgdState"),
        (optim.adam(0.1), optim.momentum(0.1), TypeError, r"optimizer state: got a AdamState"),
        (optim.adam(0.1), optim.adam(0.1, amsgrad=True), ValueError, r"optimizer state, v_max: got none, expected one"),
        (
            optim.rmsprop(0.1, momentum=None),
            optim.rmsprop(0.1),
            ValueError,
            r"optimizer state, u: got none, expected o",
        ),
        (
            optim.rmsprop(0.1, centered=True),
            optim.rmsprop(0.1),
            ValueError,
            r"optimizer state, m: got one, expected no",
        ),
    ],
)
def test_the_state_of_another_optimizer(made: Any, used: Any, error: type[Exception], match: str) -> None:
    w = jnp.ones(2)
    with pytest.raises(error, match=f"^{match}"):
        used.update(w, made.init(w), w)
