"""The average of the weights: against a loop in float64, in runs and populations, where it is found, refusals."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fnn
from fnn.optim import AverageState, average_of, with_average, with_hyperparams

RNG = np.random.default_rng(0)
W = {"w": jnp.asarray(RNG.normal(size=(3, 2)), jnp.float32), "b": jnp.asarray(RNG.normal(size=2), jnp.float32)}
GRADS = jax.tree.map(lambda w: jnp.asarray(RNG.normal(size=(300, *w.shape)), jnp.float32), W)


def _run(tx: Any, params: Any = W, grads: Any = GRADS) -> Any:
    """The parameters after each update, and the last state."""

    def step(carry: Any, g: Any) -> Any:
        w, state = carry
        updates, state = tx.update(g, state, w)
        w = optax.apply_updates(w, updates)
        return (w, state), w

    (_, state), path = jax.lax.scan(step, (params, tx.init(params)), grads)
    return path, state


def _average(state: Any, params: Any = W) -> Any:
    return average_of(state, params)


def _by_the_sum(path: Any, d: float) -> np.ndarray:
    """sum_i d^(t - i) w_i over the sum of those weights, in float64."""
    path = np.asarray(path, np.float64)
    weights = d ** np.arange(len(path))[::-1]
    return np.tensordot(weights / weights.sum(), path, axes=1)


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.9, 0.999, 0.99999])
def test_average_by_the_sum(decay: float) -> None:
    path, state = jax.jit(lambda: _run(with_average(fnn.optim.adam(0.1), decay)))()
    assert isinstance(state, AverageState)
    assert int(state.count) == 300
    for name, w in _average(state).items():
        np.testing.assert_allclose(w, _by_the_sum(path[name], decay), rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("decay", [None, 0.9])
@pytest.mark.parametrize(("start", "every"), [(0, 1), (0, 7), (50, 1), (50, 7), (299, 1), (400, 3)])
def test_from_some_update_on_and_one_of_some(decay: float | None, start: int, every: int) -> None:
    path, state = jax.jit(lambda: _run(with_average(fnn.optim.adam(0.1), decay, start=start, every=every)))()
    for name, w in _average(state).items():
        taken = np.asarray(path[name])[start + every - 1 :: every]
        # Before the first one that counts, it is the parameters themselves.
        expected = _by_the_sum(taken, 1.0 if decay is None else decay) if len(taken) else path[name][-1]
        np.testing.assert_allclose(w, expected, rtol=2e-5, atol=2e-6)


def test_equal_weights_are_the_limit_of_decay_one() -> None:
    (_, equal), (_, near) = (
        jax.jit(lambda d=d: _run(with_average(fnn.optim.adam(0.1), d)))() for d in (None, 1 - 1e-6)
    )
    for a, b in zip(*(jax.tree.leaves(_average(state)) for state in (equal, near)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def test_between_two_that_count_it_stays_bit_for_bit() -> None:
    tx: Any = with_average(fnn.optim.sgd(0.1), None, start=2, every=3)
    w: Any = W
    state, seen = tx.init(W), []
    for i in range(9):
        updates, state = tx.update(jax.tree.map(lambda g, i=i: g[i], GRADS), state, w)
        w = optax.apply_updates(w, updates)
        seen.append((np.asarray(w["w"]), np.asarray(state.average["w"])))
    np.testing.assert_allclose(seen[1][1], seen[1][0], rtol=1e-6)
    for i, first in ((2, 1), (3, 1), (5, 4), (6, 4)):
        np.testing.assert_array_equal(seen[i][1], seen[first][1])
    np.testing.assert_allclose(seen[4][1], seen[4][0], rtol=1e-6)
    np.testing.assert_allclose(seen[7][1], (seen[4][0] + seen[7][0]) / 2, rtol=1e-5)


def test_updates_are_those_of_the_optimizer() -> None:
    path, state = jax.jit(lambda: _run(with_average(fnn.optim.adam(0.1))))()
    alone, inner = jax.jit(lambda: _run(fnn.optim.adam(0.1)))()
    for a, b in zip(*map(jax.tree.leaves, ((path, state.inner), (alone, inner))), strict=True):
        np.testing.assert_array_equal(a, b)


def test_before_and_after_the_first_update() -> None:
    tx: Any = with_average(fnn.optim.sgd(0.1))
    state = tx.init(W)
    np.testing.assert_array_equal(_average(state)["w"], W["w"])
    assert state.average["w"].unsafe_buffer_pointer() != W["w"].unsafe_buffer_pointer()
    updates, state = tx.update(jax.tree.map(lambda g: 1e3 * g[0], GRADS), state, W)
    # The first parameters do not count.
    np.testing.assert_allclose(_average(state)["w"], W["w"] + updates["w"], rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64])
def test_dtypes(dtype: Any) -> None:
    with jax.enable_x64(dtype == jnp.float64):
        w, grads = (jax.tree.map(lambda a: jnp.asarray(a, dtype), tree) for tree in (W, GRADS))
        path, state = jax.jit(lambda: _run(with_average(fnn.optim.sgd(0.1), 0.99), w, grads))()
        assert {leaf.dtype for leaf in state.average.values()} == {jnp.promote_types(dtype, jnp.float32)}
        got = _average(state, w)["w"]
        assert got.dtype == dtype
        # XLA may average bfloat16 parameters as they were before the rounding.
        tolerance = 1e-3 if dtype == jnp.bfloat16 else 2e-5
        np.testing.assert_allclose(state.average["w"], _by_the_sum(path["w"], 0.99), rtol=tolerance, atol=2e-6)


def test_a_population_of_decays() -> None:
    def last(decay: Any) -> Any:
        return average_of(_run(with_average(fnn.optim.adam(0.1), decay))[1], W)

    decays = jnp.array([0.0, 0.9, 0.99])
    together = jax.jit(jax.vmap(last))(decays)
    for i, decay in enumerate(decays):
        np.testing.assert_allclose(together["w"][i], jax.jit(last)(decay)["w"], rtol=1e-6, atol=1e-7)


def test_it_is_found_at_any_depth() -> None:
    clip, sgd = optax.clip_by_global_norm(1.0), fnn.optim.sgd(0.1)
    for tx in (
        with_average(optax.chain(clip, sgd), 0.5),
        optax.chain(clip, with_average(sgd, 0.5)),
        with_hyperparams(functools.partial(with_average, sgd), decay=0.5),
        with_average(with_hyperparams(fnn.optim.sgd, learning_rate=0.1), 0.5),
    ):
        np.testing.assert_array_equal(_average(tx.init(W))["b"], W["b"])
    for tx in (sgd, optax.chain(clip, sgd), optax.adam(0.1), with_hyperparams(fnn.optim.sgd, learning_rate=0.1)):
        assert average_of(tx.init(W), W) is None


def test_in_a_run_of_a_population_and_in_a_fit() -> None:
    data, net = fnn.data.coffee(), fnn.nn.mlp([4], "tanh")
    tx = with_average(fnn.optim.adam(1e-2), 0.9)
    step = fnn.train.make_step(fnn.train.supervised(net, fnn.losses.softmax_cross_entropy), tx)
    train = fnn.train.run(step, data, batch_size=4, epochs=5)

    def averaged(key: Any) -> Any:
        state, _ = train(fnn.train.init_state(key, net, tx, data.x))
        return state._replace(params=average_of(state.opt_state, state.params))

    keys = jax.random.split(jax.random.key(0), 2)
    together, alone = jax.jit(jax.vmap(averaged))(keys), jax.jit(averaged)(keys[1])
    for a, b in zip(*map(jax.tree.leaves, (together.params, alone.params)), strict=True):
        np.testing.assert_allclose(a[1], b, rtol=1e-4, atol=1e-5)
    metrics = fnn.train.make_eval(net, {"accuracy": fnn.metrics.accuracy})(alone, data)
    assert 0 <= float(metrics["accuracy"]) <= 1


def test_the_laws() -> None:
    report = fnn.laws.check_transform(with_average(fnn.optim.adam(1e-3)), examples=3)
    report.raise_if_broken()
    assert sum(row.verdict == "held" for row in report.rows) >= 20


# Refusals ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ((fnn.optim.adam(0.1), 1.0), ValueError, r"decay: got 1\.0, expected a number in \[0, 1\)\. It is the share"),
        ((fnn.optim.adam(0.1), -0.1), ValueError, r"decay: got -0\.1, expected a number in \[0, 1\)\."),
        (
            (fnn.optim.adam,),
            TypeError,
            r"tx: got adam, expected an optimizer\. Make one: with_average\(fnn\.optim\.adam",
        ),
        ((0.1,), TypeError, r"tx: got a float, expected an optimizer\."),
    ],
)
def test_arguments(arguments: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{match}"):
        with_average(*arguments)


def test_counts() -> None:
    with pytest.raises(ValueError, match=r"^start: got -1, expected an integer >= 0"):
        with_average(fnn.optim.sgd(0.1), start=-1)
    with pytest.raises(ValueError, match=r"^every: got 0, expected an integer >= 1"):
        with_average(fnn.optim.sgd(0.1), every=0)


def test_calls_that_cannot_be() -> None:
    tx: Any = with_average(fnn.optim.sgd(0.1))
    state = tx.init(W)
    with pytest.raises(ValueError, match=r"^params: got None, expected the parameters, which are averaged\. Call tx\."):
        tx.update(W, state)
    with pytest.raises(TypeError, match=r"^optimizer state: got a SgdState, expected AverageState\."):
        tx.update(W, fnn.optim.sgd(0.1).init(W), W)
    with pytest.raises(TypeError, match=r"^params leaf 'n': got dtype int32"):
        tx.init({"n": jnp.ones(2, int)})
    with pytest.raises(ValueError, match=r"^params: got another tree \(differs in b\), expected the parameters whose"):
        average_of(state, {"w": W["w"]})
    with pytest.raises(ValueError, match=r"^params: got another tree \(differs in w\), expected the parameters whose"):
        average_of(state, {"w": W["w"][None], "b": W["b"]})
