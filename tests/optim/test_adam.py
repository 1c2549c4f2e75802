"""Adam: by hand, in the long run with 60 digits, against Optax and PyTorch, its decay and its first step."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fnn.optim import adam, with_hyperparams
from fnn.tree import weight_mask

GRADS = np.random.default_rng(2).normal(size=(100, 6))
W = np.linspace(-2.0, 3.0, 6)


def test_three_steps_by_hand() -> None:
    tx: Any = adam(1.0, b1=0.5, b2=0.75, eps=1e-30)
    state: Any = tx.init(jnp.zeros(1))
    # m_hat = 8, 10, 28 and v_hat = 64, 676/7, 29584/37.
    rows = [(8.0, 4, 16, 1), (11.0, 15 / 2, 169 / 4, 10 * 7**0.5 / 26), (41.5, 49 / 2, 1849 / 4, 28 * 37**0.5 / 172)]
    for g, m, v, quotient in rows:
        updates, state = tx.update(jnp.array([g]), state)
        assert (float(state.m[0]), float(state.v[0])) == (m, v)
        np.testing.assert_allclose(updates, [-quotient], rtol=5e-7)
    assert int(state.count) == 3


def _by_the_paper(grads: Any, lr: Any, b1: Any, b2: Any, eps: Any) -> np.ndarray:
    m = v = 0 * grads[0]
    updates = []
    for t, g in enumerate(grads, start=1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g * g
        m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
        updates.append(-lr * m_hat / (np.sqrt(v_hat) + eps))
    return np.array(updates)


@pytest.mark.parametrize(("b1", "b2"), [(0.9, 0.999), (0.0, 0.999), (0.5, 0.9)])
def test_long_run(precision: Any, awkward: np.ndarray, b1: float, b2: float) -> None:
    got = precision.run(adam(0.1, b1, b2, 1e-8), awkward)
    expected = _by_the_paper(precision.exact(awkward), *(precision.exact(x) for x in (0.1, b1, b2, 1e-8)))
    precision.check(got, expected, size=0.1)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_equals_optax(precision: Any, weight_decay: float) -> None:
    ours, peer = adam(0.1, weight_decay=weight_decay), optax.adamw(0.1, weight_decay=weight_decay)
    # Optax's 1 - b2^t cancels in float32: 1e-5 of v.
    got, expected = precision.run(ours, GRADS, W), precision.run(peer, GRADS, W)
    tolerance = 1e-5 if precision.dtype == np.float32 else 1e-12
    np.testing.assert_allclose(got, expected, rtol=tolerance, atol=0.1 * tolerance)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_equals_torch(torch_updates: Callable[..., np.ndarray], weight_decay: float) -> None:
    def make(optim: Any, w: list[Any]) -> Any:
        return optim.AdamW(w, lr=0.1, betas=(0.9, 0.999), eps=1e-8, weight_decay=weight_decay)

    expected = torch_updates(make, GRADS, W)
    with jax.enable_x64(True):
        tx: Any = adam(0.1, weight_decay=weight_decay)
        w = jnp.asarray(W)
        state: Any = tx.init(w)
        for g, change in zip(jnp.asarray(GRADS), expected, strict=True):
            updates, state = tx.update(g, state, w)
            w = jnp.asarray(optax.apply_updates(w, updates))
            np.testing.assert_allclose(updates, change, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e10, 1e19, 1e20, 3e38])
def test_first_step_is_the_learning_rate(size: float) -> None:
    tx: Any = adam(0.1)
    updates, _ = tx.update(jnp.array([size, -size]), tx.init(jnp.zeros(2)))
    np.testing.assert_allclose(updates, np.array([-0.1, 0.1]) * size / (size + 1e-8), rtol=1e-6)


def test_weight_decay_is_decoupled_and_scaled_by_the_learning_rate() -> None:
    tx: Any = adam(lambda t: jnp.where(t == 0, 0.5, 0.25), weight_decay=0.1)
    w = jnp.array([2.0, -4.0])
    state: Any = tx.init(w)
    for rate in (0.5, 0.25):
        updates, state = tx.update(jnp.zeros(2), state, w)
        np.testing.assert_allclose(updates, -rate * 0.1 * w, rtol=1e-6)
    assert float(jnp.abs(state.m).sum() + jnp.abs(state.v).sum()) == 0


def test_no_decay_reads_no_parameters() -> None:
    tx, g = adam(0.1), jnp.array([1.0, -2.0])
    with_params = tx.update(g, tx.init(g), jnp.array([jnp.nan, jnp.inf]))[0]
    np.testing.assert_array_equal(with_params, tx.update(g, tx.init(g))[0])


def test_b1_0_forgets_a_large_gradient_at_once() -> None:
    tx: Any = adam(0.1, b1=0.0)
    _, state = tx.update(jnp.array([1e10]), tx.init(jnp.zeros(1)))
    _, state = tx.update(jnp.array([3.0]), state)
    assert state.m == jnp.array([3.0])


@pytest.mark.parametrize("weight_decay", [0.1, "traced"])
def test_weight_decay_needs_the_parameters(weight_decay: Any) -> None:
    def update(decay: Any) -> Any:
        tx: Any = adam(0.1, weight_decay=decay)
        return tx.update(jnp.ones(2), tx.init(jnp.ones(2)))[0]

    with pytest.raises(ValueError, match=r"params: got None, expected the parameters, which decay\. Call tx\.update"):
        jax.jit(update)(0.1) if weight_decay == "traced" else update(weight_decay)


def test_a_schedule_scales_the_step_alone(precision: Any) -> None:
    got = precision.run(adam(lambda t: 1.0 / (1 + t)), GRADS)
    expected = precision.run(adam(1.0), GRADS) / np.arange(1, 101)[:, None]
    np.testing.assert_allclose(got, expected, rtol=precision.tolerance)


def test_the_defaults_are_the_paper_s(precision: Any) -> None:
    np.testing.assert_array_equal(
        precision.run(adam(0.1), GRADS), precision.run(adam(0.1, 0.9, 0.999, 1e-8, weight_decay=0.0), GRADS)
    )


def test_unknown_convention_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"convention: got 'Paper', expected one of .*paper.* Did you mean 'paper'\?"):
        adam(0.1, convention="Paper")


# Which parameters decay ----------------------------------------------------------------------------------

NET = {"dense_0": {"w": jnp.array([[1.0, -2.0]]), "b": jnp.array([3.0, 4.0])}, "layer_norm_0": {"gamma": jnp.ones(2)}}
MASK = {"dense_0": {"w": True, "b": False}, "layer_norm_0": {"gamma": False}}


def _trained(tx: Any, params: Any = NET, steps: int = 20) -> Any:
    def step(carry: Any, t: Any) -> Any:
        params, state = carry
        grads = jax.tree.map(lambda w: jnp.sin(w + t), params)
        updates, state = tx.update(grads, state, params)
        return (optax.apply_updates(params, updates), state), updates

    return jax.jit(lambda params: jax.lax.scan(step, (params, tx.init(params)), jnp.arange(steps))[1])(params)


@pytest.mark.parametrize("mask", [weight_mask, MASK], ids=["function", "tree"])
@pytest.mark.parametrize("decoupled", [True, False])
def test_decay_of_some_parameters(mask: Any, decoupled: bool) -> None:
    make = functools.partial(adam, 0.1, decoupled=decoupled)
    masked = _trained(make(weight_decay=0.3, decay_mask=mask))
    all_decay, none = _trained(make(weight_decay=0.3)), _trained(make())
    np.testing.assert_array_equal(masked["dense_0"]["w"], all_decay["dense_0"]["w"])
    np.testing.assert_array_equal(masked["dense_0"]["b"], none["dense_0"]["b"])
    np.testing.assert_array_equal(masked["layer_norm_0"]["gamma"], none["layer_norm_0"]["gamma"])
    assert not np.allclose(all_decay["dense_0"]["b"], none["dense_0"]["b"])


def test_a_mask_equals_optax() -> None:
    with jax.enable_x64(True):
        params = jax.tree.map(lambda w: jnp.asarray(w, float), NET)
        got = _trained(adam(0.1, weight_decay=0.3, decay_mask=weight_mask), params)
        expected = _trained(optax.adamw(0.1, weight_decay=0.3, mask=weight_mask), params)
        for a, b in zip(*map(jax.tree.leaves, (got, expected)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def test_a_mask_with_a_traced_decay_and_in_hyperparams() -> None:
    expected = _trained(adam(0.1, weight_decay=0.3, decay_mask=MASK))
    traced = jax.jit(lambda decay: _trained(adam(0.1, weight_decay=decay, decay_mask=MASK)))(0.3)
    kept = _trained(with_hyperparams(functools.partial(adam, decay_mask=MASK), learning_rate=0.1, weight_decay=0.3))
    for got in (traced, kept):
        for a, b in zip(*map(jax.tree.leaves, (got, expected)), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize(
    ("mask", "error", "match"),
    [
        (
            {"dense_0": {"w": True}, "layer_norm_0": {"gamma": False}},
            ValueError,
            r"decay_mask: got another tree \(differs in dense_0/b\), expected the parameters' tree .*weight_mask",
        ),
        (True, ValueError, r"decay_mask: got another tree \(differs in dense_0/b, "),
        (
            lambda params: {},
            ValueError,
            r"decay_mask: got another tree \(differs in dense_0/b, dense_0/w, layer_norm_0",
        ),
        (
            jax.tree.map(float, MASK),
            TypeError,
            r"decay_mask leaf 'dense_0/b': got a float, expected True or False\. It chooses the program",
        ),
        (lambda params: params, TypeError, r"decay_mask leaf 'dense_0/b': got a .*Array.*, expected True or False\."),
        ("w", TypeError, r"decay_mask: got a str, expected True or False\."),
    ],
)
def test_a_mask_of_other_parameters(mask: Any, error: type[Exception], match: str) -> None:
    tx: Any = adam(0.1, weight_decay=0.1, decay_mask=mask)
    with pytest.raises(error, match=f"^{match}"):
        tx.init(NET)
    with pytest.raises(error, match=f"^{match}"):
        tx.update(NET, adam(0.1).init(NET), NET)
