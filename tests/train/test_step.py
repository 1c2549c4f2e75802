"""One step: the update, clipping, accumulation, metrics, and what scan, vmap and donation ask of it."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fnn
from fnn.data import Dataset, WeightedBatch
from fnn.train import TrainState, init_state, make_step, supervised

KEY = jax.random.key(3)
X = jax.random.normal(jax.random.key(1), (12, 5))
DATA = Dataset(X, jnp.argmax(X[:, :3], axis=1))
NET = fnn.nn.mlp([8, 3], "tanh")
TX = fnn.optim.momentum(0.1)
LOSS_FN = supervised(NET, fnn.losses.softmax_cross_entropy)


def start(net: fnn.nn.Layer = NET, tx: optax.GradientTransformation = TX) -> TrainState:
    return init_state(KEY, net, tx, X)


def test_update_by_hand() -> None:
    """y = w x with w = 1, x = 2, target 0: gradient of (w x)^2 is 8, and w - 0.1 * 8 = 0.2."""
    net, tx = fnn.nn.dense(1, w_init=fnn.initializers.constant(1.0), use_bias=False), fnn.optim.sgd(0.1)
    step = make_step(supervised(net, fnn.losses.squared_error), tx)
    batch = Dataset(jnp.array([[2.0]]), jnp.array([[0.0]]))
    state, metrics = step(init_state(KEY, net, tx, batch.x), batch)
    assert float(state.params["w"][0, 0]) == pytest.approx(0.2)
    assert {name: float(v) for name, v in metrics.items()} == pytest.approx({"loss": 4.0, "grad_norm": 8.0})
    assert int(state.step) == 1


def test_input_state_is_not_changed_and_key_stays() -> None:
    state = start()
    before = jax.tree.map(np.array, state.params)
    after, _ = make_step(LOSS_FN, TX)(state, DATA)
    chex.assert_trees_all_equal(state.params, before)
    np.testing.assert_array_equal(jax.random.key_data(after.key), jax.random.key_data(KEY))


@pytest.mark.parametrize("jit", [False, True])
def test_state_keeps_structure_dtypes_and_weak_types(jit: bool) -> None:
    step = make_step(LOSS_FN, fnn.optim.adam(optax.cosine_decay_schedule(0.1, 10)), clip_norm=1.0)
    state = start(tx=fnn.optim.adam(0.1))
    after, _ = (jax.jit(step) if jit else step)(state, DATA)
    before, now = (jax.tree.leaves(s._replace(key=())) for s in (state, after))
    assert [(a.shape, a.dtype, a.weak_type) for a in now] == [(a.shape, a.dtype, a.weak_type) for a in before]
    assert jax.tree.structure(after) == jax.tree.structure(state)


def test_one_trace_and_donation() -> None:
    chex.clear_trace_counter()
    step = jax.jit(chex.assert_max_traces(make_step(LOSS_FN, TX), n=1), donate_argnums=0)
    state = start()
    given = state.params["dense_0"]["w"]
    for _ in range(3):
        state, _ = step(state, DATA)
    assert given.is_deleted()
    assert int(state.step) == 3


@pytest.mark.parametrize("clip_norm", [1e-3, 0.1, 1e3])
def test_clipping_equals_optax(clip_norm: float) -> None:
    ours, metrics = make_step(LOSS_FN, fnn.optim.sgd(1.0), clip_norm=clip_norm)(start(tx=fnn.optim.sgd(1.0)), DATA)
    tx = optax.chain(optax.clip_by_global_norm(clip_norm), fnn.optim.sgd(1.0))
    theirs, unclipped = make_step(LOSS_FN, tx)(start(tx=tx), DATA)
    chex.assert_trees_all_close(ours.params, theirs.params, rtol=1e-6)
    assert float(metrics["grad_norm"]) == float(unclipped["grad_norm"])


def test_clipping_leaves_a_zero_gradient_at_zero() -> None:
    net, tx = fnn.nn.mlp([3], w_init=fnn.initializers.zeros), fnn.optim.sgd(1.0)
    step = make_step(supervised(net, lambda o, _: 0 * o[:, 0]), tx, clip_norm=1.0)
    state, metrics = step(init_state(KEY, net, tx, X), DATA)
    assert float(metrics["grad_norm"]) == 0
    assert np.isfinite(state.params["dense_0"]["w"]).all()


@pytest.mark.parametrize("parts", [2, 3, 5, 7, 12])
def test_micro_batches_equal_one_batch(parts: int) -> None:
    """12 examples in 5 or 7 parts are unequal: fillers of weight 0 keep the sum right."""
    loss_fn = supervised(NET, fnn.losses.softmax_cross_entropy, metrics={"accuracy": fnn.metrics.accuracy}, l2=0.01)
    whole, expected = make_step(loss_fn, TX)(start(), DATA)
    cut, metrics = make_step(loss_fn, TX, accumulate=parts)(start(), DATA)
    chex.assert_trees_all_close(cut.params, whole.params, rtol=1e-5, atol=1e-7)
    chex.assert_trees_all_close(metrics, expected, rtol=1e-5)


def test_micro_batches_of_a_weighted_batch() -> None:
    """Only three of twelve examples count, so that whole micro-batches have weight 0."""
    batch = WeightedBatch(*DATA, jnp.array([1.0] * 3 + [0.0] * 9))
    whole, expected = make_step(LOSS_FN, TX)(start(), batch)
    cut, metrics = make_step(LOSS_FN, TX, accumulate=4)(start(), batch)
    chex.assert_trees_all_close(cut.params, whole.params, rtol=1e-5, atol=1e-7)
    chex.assert_trees_all_close(metrics, expected, rtol=1e-5)


def test_micro_batches_of_a_plain_loss() -> None:
    def plain(params: Any, state: Any, batch: Any, key: Any) -> Any:
        outputs, state = NET.apply(params, state, batch[0], train=True, key=key)
        return fnn.losses.softmax_cross_entropy(outputs, batch[1]).mean(), (state, {})

    whole, _ = make_step(plain, TX)(start(), DATA)
    cut, _ = make_step(plain, TX, accumulate=4)(start(), DATA)
    chex.assert_trees_all_close(cut.params, whole.params, rtol=1e-5, atol=1e-7)
    with pytest.raises(ValueError, match=r"accumulate: got 5, expected a divisor of the batch's 12 examples"):
        make_step(plain, TX, accumulate=5)(start(), DATA)


def test_noise_differs_by_step_and_returns_with_it() -> None:
    net = fnn.nn.sequential(fnn.nn.dropout(0.5), fnn.nn.dense(3))
    step = make_step(supervised(net, fnn.losses.softmax_cross_entropy), fnn.optim.sgd(0.0))
    state = start(net, fnn.optim.sgd(0.0))
    first, again = (float(step(state, DATA)[1]["loss"]) for _ in range(2))
    second = float(step(state._replace(step=jnp.array(1, jnp.int32)), DATA)[1]["loss"])
    assert first == again
    assert first != second


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"accumulate": 0}, ValueError, r"accumulate: got 0, expected an integer >= 1"),
        ({"accumulate": 1.5}, TypeError, r"accumulate: got 1.5"),
        ({"clip_norm": 0.0}, ValueError, r"clip_norm: got 0.0, expected a finite number > 0"),
        ({"clip_norm": -1.0}, ValueError, r"clip_norm: got -1.0"),
        ({"loss_fn": None}, TypeError, r"loss_fn: got None, expected a function"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        make_step(**{"loss_fn": LOSS_FN, "tx": TX, **arguments})


def test_more_parts_than_examples() -> None:
    with pytest.raises(ValueError, match=r"accumulate: got 13, expected at most the 12 examples"):
        make_step(LOSS_FN, TX, accumulate=13)(start(), DATA)


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize(
    ("batch", "error", "match"),
    [
        ((X, DATA.y[:3]), ValueError, r"batch: got shapes \(12, 5\), \(3,\)"),
        ((X, DATA.y, DATA.y, DATA.y), TypeError, r"batch: got a tuple, expected a Dataset"),
        ([X, DATA.y], TypeError, r"batch: got a list, expected a Dataset"),
        (WeightedBatch(X, DATA.y, jnp.ones((12, 1))), ValueError, r"batch\.weight: got shape \(12, 1\)"),
        ((X, DATA.y + 2), ValueError, r"labels: got 3 at row"),
    ],
)
def test_wrong_batches_are_refused_with_and_without_accumulation(
    accumulate: int, batch: Any, error: type[Exception], match: str
) -> None:
    step = make_step(LOSS_FN, TX, accumulate=accumulate)
    with pytest.raises(error, match=f"^{match}"):
        step(start(), batch)


def test_a_step_of_ones_own_names_no_loss_twice() -> None:
    def loss_fn(params: Any, state: Any, batch: Any, key: Any) -> Any:
        loss = jnp.mean(params["dense_0"]["w"] ** 2)
        return loss, (state, {"loss": loss})

    with pytest.raises(ValueError, match=r"^metrics of loss_fn: got the name 'loss', expected another one"):
        make_step(loss_fn, TX)(start(), DATA)


def test_a_step_takes_a_state_first() -> None:
    wrong: Any = DATA
    with pytest.raises(TypeError, match=r"^state: got a Dataset, expected a TrainState"):
        make_step(LOSS_FN, TX)(wrong, DATA)
