"""RMSProp: by hand, in the long run with 60 digits, against Optax and PyTorch, and its options."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fnn.optim import rmsprop

OPTIONS = [{}, {"momentum": 0.9}, {"centered": True}, {"centered": True, "momentum": 0.9}]


def test_three_steps_by_hand() -> None:
    # Gradients for which each root is rational: 4 v = 3 v_before + g^2 is a square.
    tx: Any = rmsprop(1.0, decay=0.75, eps=1e-30)
    state: Any = tx.init(jnp.zeros(1))
    for g, v, quotient in ((8.0, 16, 2), (11.0, 169 / 4, 22 / 13), (41.5, 1849 / 4, 83 / 43)):
        updates, state = tx.update(jnp.array([g]), state)
        assert state.v == jnp.array([v])
        np.testing.assert_allclose(updates, [-quotient], rtol=2e-7)


def test_three_centered_steps_by_hand() -> None:
    # m = 1, 3/2, 7/4 and the mean of g^2 is 2, 3, 7/2: the variance is 1, 3/4, 7/16.
    tx: Any = rmsprop(1.0, decay=0.5, eps=1e-30, centered=True, momentum=0.5)
    state, u = tx.init(jnp.zeros(1)), 0.0
    for m, variance in ((1, 1), (3 / 2, 3 / 4), (7 / 4, 7 / 16)):
        updates, state = tx.update(jnp.array([2.0]), state)
        u = 0.5 * u + 2 / variance**0.5
        assert (float(state.m[0]), float(state.v[0])) == (m, variance)
        np.testing.assert_allclose(updates, [-u], rtol=2e-7)
        np.testing.assert_allclose(state.u, [u], rtol=2e-7)


def _by_the_paper(grads: Any, lr: Any, decay: Any, eps: Any, momentum: Any, centered: bool) -> np.ndarray:
    v = m = u = 0 * grads[0]
    updates = []
    for g in grads:
        v = decay * v + (1 - decay) * g * g
        m = decay * m + (1 - decay) * g
        u = momentum * u + lr * g / (np.sqrt(v - m * m if centered else v) + eps)
        updates.append(-u)
    return np.array(updates)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_long_run(precision: Any, awkward: np.ndarray, options: dict[str, Any]) -> None:
    centered, momentum = options.get("centered", False), options.get("momentum", 0.0)
    got = precision.run(rmsprop(0.1, 0.9, 1e-8, **options), awkward)
    numbers = [precision.exact(x) for x in (0.1, 0.9, 1e-8, momentum)]
    expected = _by_the_paper(precision.exact(awkward), *numbers, centered=centered)
    varies, size = slice(1 if centered else 0, None), np.full(got.shape, 0.1)
    if centered:
        # The last gradient is constant from t = 100 on. The mean's error stays at 2 u / (1 - decay) of it at most, with
        # u = eps / 2, while its distance from the gradient and the variance fall as 0.9^k: by step k their errors add
        # up to 4 k u of the variance, and its own roundings to 3 k u. The update has half of that.
        k = np.maximum(np.arange(len(got)) - 99, 0)
        rounding = 3.5 * k * np.finfo(precision.dtype).eps / 2
        size[:, -1] += np.abs(expected[:, -1].astype(float)) * (1 + rounding / precision.tolerance)
    precision.check(got[:, varies], expected[:, varies], size=size[:, varies])
    if centered and not momentum:
        # Of a constant gradient the variance 0.9^t falls below the rounding of the mean, and grows in error by it.
        t = np.arange(1, 81)[:, None]
        precision.check(got[:80, :1], expected[:80, :1], size=0.1 / 0.9**t)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equals_optax_with_eps_outside_the_root(precision: Any, awkward: np.ndarray, options: dict[str, Any]) -> None:
    grads = awkward[:100, 4:7]
    peer = optax.rmsprop(0.1, decay=0.9, eps=1e-8, eps_in_sqrt=False, **options)
    got, expected = precision.run(rmsprop(0.1, **options), grads), precision.run(peer, grads)
    precision.check(got, expected, size=1.0)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_equals_torch(torch_updates: Callable[..., np.ndarray], awkward: np.ndarray, options: dict[str, Any]) -> None:
    import jax

    grads = awkward[:, 4:8]

    def make(optim: Any, w: list[Any]) -> Any:
        return optim.RMSprop(w, lr=0.1, alpha=0.9, eps=1e-8, **options)

    expected = torch_updates(make, grads, np.zeros(4))
    with jax.enable_x64(True):
        tx: Any = rmsprop(0.1, 0.9, 1e-8, **options)
        state: Any = tx.init(jnp.zeros(4))
        for g, change in zip(jnp.asarray(grads), expected, strict=True):
            updates, state = tx.update(g, state)
            np.testing.assert_allclose(updates, change, rtol=1e-9, atol=1e-12)


def test_the_centered_variance_is_never_negative(awkward: np.ndarray) -> None:
    tx: Any = rmsprop(0.1, centered=True)
    state: Any = tx.init(jnp.zeros(9))
    for g in jnp.asarray(awkward[:80] + 1000, jnp.float32):
        updates, state = tx.update(g, state)
        assert bool(jnp.all(state.v >= 0) & jnp.all(jnp.isfinite(updates)))


@pytest.mark.parametrize("centered", [False, True])
def test_no_velocity_equals_momentum_0(precision: Any, awkward: np.ndarray, centered: bool) -> None:
    without: Any = rmsprop(0.1, centered=centered, momentum=None)
    assert without.init(jnp.zeros(2)).u is None
    with_0 = rmsprop(0.1, centered=centered, momentum=0.0)
    np.testing.assert_array_equal(precision.run(without, awkward), precision.run(with_0, awkward))


def test_a_schedule_is_inside_the_velocity() -> None:
    tx: Any = rmsprop(lambda t: jnp.where(t == 0, 1.0, 0.0), decay=0.75, momentum=0.5)
    _, state = tx.update(jnp.ones(1), tx.init(jnp.zeros(1)))
    updates, _ = tx.update(jnp.ones(1), state)
    np.testing.assert_allclose(updates, [-1.0], rtol=1e-6)


def test_decay_0_forgets_a_large_gradient_at_once() -> None:
    tx: Any = rmsprop(0.5, decay=0.0)
    _, state = tx.update(jnp.array([1e10]), tx.init(jnp.zeros(1)))
    updates, state = tx.update(jnp.array([-3.0]), state)
    np.testing.assert_allclose(updates, [0.5], rtol=1e-6)
    np.testing.assert_allclose(state.v, [9.0], rtol=1e-6)


def test_the_defaults_are_the_convention_s(precision: Any, awkward: np.ndarray) -> None:
    got = precision.run(rmsprop(0.1), awkward[:10])
    np.testing.assert_array_equal(got, precision.run(rmsprop(0.1, decay=0.9, eps=1e-8), awkward[:10]))


def test_centered_is_a_flag() -> None:
    with pytest.raises(TypeError, match=r"centered: got 1, expected True or False\."):
        rmsprop(0.1, centered=1)  # type: ignore[arg-type]


def test_unknown_convention_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"convention: got 'papr', expected one of .*paper.* Did you mean 'paper'\?"):
        rmsprop(0.1, convention="papr")
