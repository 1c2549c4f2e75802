"""Hyperparameters in the state: the same bits as closed over, changeable, visible; and what is refused."""

from functools import partial
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fnn
from fnn.optim import hyperparams_of, replace_hyperparams, with_hyperparams

RNG = np.random.default_rng(0)
W = {"a": jnp.asarray(RNG.normal(size=(37, 5)), jnp.float32), "b": jnp.asarray(RNG.normal(size=3), jnp.float32)}
GRADS = jax.tree.map(lambda w: jnp.asarray(RNG.normal(size=(60, *w.shape)), jnp.float32), W)
FALLING = optax.cosine_decay_schedule(0.1, 40)
RULES: dict[str, dict[str, Any]] = {
    "sgd": {},
    "momentum": {"beta": 0.9},
    "rmsprop": {"decay": 0.99, "eps": 1e-8, "momentum": 0.9},
    "adagrad": {"eps": 1e-7, "initial_accumulator": 0.1},
    "adam": {"b1": 0.9, "b2": 0.999, "eps": 1e-8, "weight_decay": 0.01},
}
CASES = [
    (rule, convention) for rule in RULES for convention in ([None] if rule == "sgd" else fnn.optim.conventions(rule))
]


def run(tx: Any) -> Any:
    def step(carry: Any, g: Any) -> Any:
        w, state = carry
        updates, state = tx.update(g, state, w)
        return (optax.apply_updates(w, updates), state), updates

    return jax.jit(lambda w, grads: jax.lax.scan(step, (w, tx.init(w)), grads))(W, GRADS)


@pytest.mark.parametrize("rate", [1e-3, FALLING], ids=["constant", "schedule"])
@pytest.mark.parametrize(("rule", "convention"), CASES)
def test_bits_of_the_closed_over_optimizer(rule: str, convention: str | None, rate: Any) -> None:
    factory = getattr(fnn.optim, rule)
    options = RULES[rule] | ({} if convention is None else {"convention": convention})
    _, closed = run(factory(rate, **options))
    _, injected = run(with_hyperparams(factory, learning_rate=rate, **options))
    chex.assert_trees_all_equal(injected, closed)


def test_every_number_may_have_a_schedule() -> None:
    rising = optax.linear_schedule(0.0, 0.9, 10)
    (_, state), updates = run(with_hyperparams(fnn.optim.momentum, learning_rate=0.5, beta=rising))
    assert float(state.hyperparams["beta"]) == pytest.approx(0.9)
    # At first beta is 0: then it is gradient descent.
    np.testing.assert_allclose(updates["b"][0], -0.5 * GRADS["b"][0], rtol=1e-6)


def test_an_optimizer_of_optax() -> None:
    _, closed = run(optax.sgd(0.1, momentum=0.9))
    _, injected = run(with_hyperparams(optax.sgd, learning_rate=0.1, momentum=0.9))
    chex.assert_trees_all_close(injected, closed, rtol=1e-6)


def test_the_state() -> None:
    tx = with_hyperparams(fnn.optim.rmsprop, learning_rate=FALLING, eps=np.float64(1e-6), momentum=None, centered=True)
    state = tx.init(W)
    assert {name: value.dtype for name, value in state.hyperparams.items()} == dict.fromkeys(
        ["learning_rate", "eps"], jnp.float32
    )
    assert float(state.hyperparams["learning_rate"]) == pytest.approx(0.1)
    # A scan accepts it: structure, dtypes and weak types stay.
    (_, last), _ = run(tx)
    chex.assert_trees_all_equal_shapes_and_dtypes(jax.eval_shape(lambda: state), jax.eval_shape(lambda: last))
    # What the last update used: the schedule at 59, not at 60.
    assert float(last.hyperparams["learning_rate"]) == pytest.approx(float(jnp.asarray(FALLING(59))))
    assert int(last.count) == 60


def test_a_number_is_changed_between_steps_without_a_new_trace() -> None:
    tx = with_hyperparams(fnn.optim.sgd, learning_rate=0.5)
    traces = []

    @jax.jit
    def update(g: Any, state: Any) -> Any:
        traces.append(1)
        return tx.update(g, state)

    updates, state = update(jnp.ones(2), tx.init(jnp.ones(2)))
    np.testing.assert_array_equal(updates, -0.5 * np.ones(2))
    updates, _ = update(jnp.ones(2), state._replace(hyperparams={"learning_rate": jnp.float32(0.25)}))
    np.testing.assert_array_equal(updates, -0.25 * np.ones(2))
    assert len(traces) == 1


def test_a_population_of_rates_in_one_state() -> None:
    tx = with_hyperparams(fnn.optim.sgd, learning_rate=0.5)
    states = jax.vmap(lambda rate: tx.init(jnp.ones(2))._replace(hyperparams={"learning_rate": rate}))(jnp.arange(3.0))
    updates, _ = jax.vmap(tx.update, in_axes=(None, 0))(jnp.ones(2), states)
    np.testing.assert_array_equal(updates, -np.arange(3.0)[:, None] * np.ones(2))


def test_metrics_and_history_show_them() -> None:
    data, net = fnn.data.coffee(), fnn.nn.mlp([4])
    tx = with_hyperparams(fnn.optim.momentum, learning_rate=FALLING, beta=0.5)
    step = fnn.train.make_step(fnn.train.supervised(net, fnn.losses.softmax_cross_entropy), tx)
    state = fnn.train.init_state(jax.random.key(0), net, tx, data.x)
    _, history = jax.jit(fnn.train.run(step, data, batch_size=4, epochs=5))(state)
    np.testing.assert_allclose(history["learning_rate"], [float(jnp.asarray(FALLING(t))) for t in range(5)], rtol=1e-6)
    np.testing.assert_array_equal(history["beta"], np.full(5, 0.5))
    result = fnn.fit(
        net, fnn.losses.softmax_cross_entropy, tx, data, key=jax.random.key(0), epochs=5, batch_size=4, progress=False
    )
    assert set(result.history) == {"learning_rate", "beta", "loss", "grad_norm"}
    for name, values in history.items():
        np.testing.assert_allclose(result.history[name], values, rtol=1e-6)


def test_names_at_any_depth() -> None:
    one, two = (with_hyperparams(fnn.optim.sgd, learning_rate=rate) for rate in (0.5, 0.25))
    state = optax.chain(optax.masked(one, {"a": True, "b": False}), optax.identity(), two).init(W)
    assert {name: float(value) for name, value in hyperparams_of(state).items()} == {
        "learning_rate": 0.5,
        "learning_rate_1": 0.25,
    }
    assert hyperparams_of(fnn.optim.adam(0.1).init(W)) == {}


def test_replaced_at_any_depth_and_nothing_else() -> None:
    one, two = (with_hyperparams(fnn.optim.momentum, learning_rate=rate, beta=0.5) for rate in (0.5, 0.25))
    state = optax.chain(optax.masked(one, {"a": True, "b": False}), two, fnn.optim.adam(0.1)).init(W)
    new = jax.jit(replace_hyperparams)(state, {"learning_rate_1": 2.0, "beta": 0.75})
    values = {name: float(value) for name, value in hyperparams_of(new).items()}
    assert values == {"learning_rate": 0.5, "beta": 0.75, "learning_rate_1": 2.0, "beta_1": 0.5}
    chex.assert_trees_all_equal(replace_hyperparams(new, hyperparams_of(state)), state)
    inside = with_hyperparams(partial(fnn.optim.with_average, one), decay=0.5).init(W)
    replaced = replace_hyperparams(inside, {"learning_rate": 0.125, "decay": 0.25})
    assert {name: float(value) for name, value in hyperparams_of(replaced).items()} == {
        "decay": 0.25, "learning_rate": 0.125, "beta": 0.5
    }  # fmt: skip


def test_what_cannot_be_replaced() -> None:
    state = with_hyperparams(fnn.optim.sgd, learning_rate=0.1).init(W)
    with pytest.raises(ValueError, match=r"^hyperparams: got 'beta', expected a name .*\(learning_rate\)\."):
        replace_hyperparams(state, {"beta": 0.5})
    with pytest.raises(ValueError, match=r"^hyperparams: got 'beta', expected a name .*\(none\)\."):
        replace_hyperparams(fnn.optim.sgd(0.1).init(W), {"beta": 0.5})
    with pytest.raises(ValueError, match=r"^learning_rate: got shape \(2,\), expected shape \(\)\."):
        replace_hyperparams(state, {"learning_rate": jnp.ones(2)})


def test_what_is_no_number_is_bound_before() -> None:
    tx = with_hyperparams(partial(optax.adamw, mask={"a": True, "b": False}), learning_rate=0.1, weight_decay=0.5)
    updates, _ = tx.update(jax.tree.map(jnp.zeros_like, W), tx.init(W), W)
    assert float(jnp.abs(updates["b"]).max()) == 0
    np.testing.assert_allclose(updates["a"], -0.05 * W["a"], rtol=1e-6)


@pytest.mark.parametrize(
    ("factory", "options", "error", "match"),
    [
        (fnn.optim.sgd, {}, TypeError, r"hyperparams: sgd missing a required argument: 'learning_rate'"),
        (fnn.optim.sgd, {"lr": 0.1}, TypeError, r"hyperparams: sgd .*'l"),
        (fnn.optim.sgd, {"learning_rate": 1}, ValueError, r"hyperparams: got no float and no schedule, expected at"),
        (fnn.optim.sgd, {"learning_rate": -0.1}, ValueError, r"learning_rate: got -0.1, expected a finite number >= 0"),
        (fnn.optim.adam, {"learning_rate": 0.1, "b1": 1.5}, ValueError, r"b1: got 1.5, expected a number in \[0, 1\)"),
        (fnn.optim.adam, {"learning_rate": 0.1, "b1": [0.9]}, TypeError, r"b1: got a list, expected a float, a sched"),
        (fnn.optim.adam, {"learning_rate": 0.1, "convention": "tort"}, ValueError, r"convention: got 'tort', expected"),
        ("adam", {"learning_rate": 0.1}, TypeError, r"factory: got 'adam', expected a function that makes an optimi"),
    ],
)
def test_refusals(factory: Any, options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{match}"):
        with_hyperparams(factory, **options)
