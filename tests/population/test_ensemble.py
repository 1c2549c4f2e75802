"""Ensembles against NumPy: the mean of probabilities, pairs that disagree, uncertainty taken apart."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.data import Dataset
from fnn.population import disagreement, ensemble, member_probabilities, take, uncertainty
from fnn.train import init_state, make_eval

M, CLASSES = 5, 4
NET = fnn.nn.mlp([8, CLASSES], "tanh", norm=fnn.nn.batch_norm, dropout=0.1)
X = jax.random.normal(jax.random.key(1), (30, 3))
Y = jax.random.randint(jax.random.key(2), (30,), 0, CLASSES)
STATES = jax.vmap(lambda key: init_state(key, NET, fnn.optim.sgd(0.1), X))(jax.random.split(jax.random.key(0), M))


def of_members() -> np.ndarray:
    """Each member's probabilities, a member at a time, in float64."""
    rows = []
    for i in range(M):
        state = take(STATES, i)
        z = np.asarray(NET.apply(state.params, state.model_state, X)[0], np.float64)
        e = np.exp(z - z.max(axis=-1, keepdims=True))
        rows.append(e / e.sum(axis=-1, keepdims=True))
    return np.stack(rows)


def test_probabilities_and_their_mean() -> None:
    p = of_members()
    np.testing.assert_allclose(member_probabilities(NET, STATES, X), p, rtol=1e-5, atol=1e-7)
    y, state = ensemble(NET, M).apply(STATES.params, STATES.model_state, X)
    np.testing.assert_allclose(np.exp(y), p.mean(axis=0), rtol=1e-5, atol=1e-7)
    jax.tree.map(np.testing.assert_array_equal, state, STATES.model_state)


def test_it_is_evaluated_as_any_network() -> None:
    metrics = {"loss": fnn.losses.softmax_cross_entropy, "accuracy": fnn.metrics.accuracy}
    measured = make_eval(ensemble(NET, M), metrics)(STATES, Dataset(X, Y))
    mean = of_members().mean(axis=0)
    np.testing.assert_allclose(measured["loss"], -np.log(mean[np.arange(30), Y]).mean(), rtol=1e-5)
    np.testing.assert_allclose(measured["accuracy"], (mean.argmax(axis=-1) == np.asarray(Y)).mean(), rtol=1e-6)
    # Jensen: the loss of the mean is at most the mean of the losses.
    each = jax.vmap(make_eval(NET, metrics), (0, None))(STATES, Dataset(X, Y))
    assert float(measured["loss"]) <= float(each["loss"].mean())


def test_one_member_alone_and_logits_far_away() -> None:
    alone = jax.tree.map(lambda a: a[:1], STATES)
    y, _ = ensemble(NET, 1).apply(alone.params, alone.model_state, X)
    logits, _ = NET.apply(take(alone, 0).params, take(alone, 0).model_state, X)
    np.testing.assert_allclose(y, jax.nn.log_softmax(logits), rtol=1e-5, atol=1e-6)
    net = fnn.nn.dense(2, use_bias=False)
    y, _ = ensemble(net, 2).apply({"w": jnp.array([[[1e4, -1e4]], [[-1e4, 1e4]]])}, {}, jnp.ones((1, 1)))
    np.testing.assert_allclose(y, np.log([[0.5, 0.5]]), rtol=1e-6)


def test_the_layer_trains_and_keeps_the_laws() -> None:
    net = ensemble(fnn.nn.mlp([4, 3], "tanh", dropout=0.2, norm=fnn.nn.batch_norm), 3)
    params, state = net.init(jax.random.key(0), X)
    assert params["dense_0"]["w"].shape == (3, 3, 4)
    y, new = net.apply(params, state, X, train=True, key=jax.random.key(1))
    assert y.shape == (30, 3)
    assert not np.allclose(new["batch_norm_0"]["mean"], state["batch_norm_0"]["mean"])
    fnn.laws.check_layer(net, X[:6], examples=3).raise_if_broken()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_disagreement_by_pairs(dtype: Any) -> None:
    p = np.asarray(np.random.default_rng(0).dirichlet(np.ones(CLASSES), (M, 6, 7)))
    p = np.array(jnp.asarray(p, dtype).astype(jnp.float32))
    c = p.argmax(axis=-1)
    pairs = [c[i] != c[j] for i, j in itertools.combinations(range(M), 2)]
    got = jax.jit(disagreement)(jnp.asarray(p, dtype))
    np.testing.assert_allclose(got, np.mean(pairs, axis=0), rtol=1e-6)
    assert got.dtype == jnp.float32


def test_disagreement_at_its_ends() -> None:
    same, other = jnp.tile(jnp.eye(3)[:1], (4, 1))[:, None], jnp.eye(3)[:, None]
    assert float(disagreement(same)[0]) == 0
    assert float(disagreement(other)[0]) == 1


def test_uncertainty_by_the_formula() -> None:
    p = np.random.default_rng(1).dirichlet(np.ones(CLASSES) * 0.3, (M, 50))
    got = jax.jit(uncertainty)(jnp.asarray(p, jnp.float32))

    def entropy(q: np.ndarray) -> np.ndarray:
        return -np.where(q > 0, q * np.log(np.where(q > 0, q, 1)), 0).sum(axis=-1)

    np.testing.assert_allclose(got.total, entropy(p.mean(axis=0)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got.aleatoric, entropy(p).mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got.epistemic, entropy(p.mean(axis=0)) - entropy(p).mean(axis=0), rtol=1e-4, atol=1e-6)


def test_uncertainty_is_never_negative_and_0_where_all_are_alike() -> None:
    p = jnp.tile(jax.nn.softmax(jax.random.normal(jax.random.key(0), (1000, 10))), (7, 1, 1))
    got = uncertainty(p)
    assert all(float(part.min()) >= 0 for part in got)
    assert float(got.epistemic.max()) < 1e-6
    sure = uncertainty(jnp.tile(jnp.eye(2), (3, 1, 1)))
    assert all(float(part.max()) == 0 for part in sure)


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: ensemble(len, 2), TypeError, r"^net: got a builtin_function_or_method"),
        (lambda: ensemble(NET, 0), ValueError, r"^members: got 0, expected an integer >= 1"),
        (
            lambda: ensemble(NET, 3).apply(STATES.params, STATES.model_state, X),
            ValueError,
            r"^params: got 5 members, expected 3, as the ensemble has",
        ),
        (lambda: ensemble(NET, 3).init(jax.random.split(jax.random.key(0)), X), ValueError, r"^key: got keys of shape"),
        (lambda: member_probabilities(NET, {}, X), TypeError, r"^state: got a dict, expected a TrainState"),  # pyright: ignore[reportArgumentType]
        (lambda: disagreement(jnp.ones((5, 3))), ValueError, r"^probabilities: got shape \(5, 3\), expected .*members"),
        (lambda: disagreement(jnp.ones((1, 5, 3))), ValueError, r"^probabilities: got one member, expected at least 2"),
        (lambda: disagreement(jnp.ones((2, 5, 1))), ValueError, r"^probabilities: got shape \(2, 5, 1\)"),
        (lambda: uncertainty(jnp.ones((2, 5, 3), int)), TypeError, r"^probabilities: got dtype int32"),
    ],
)
def test_wrong_calls(call: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        call()
