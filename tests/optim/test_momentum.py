"""Momentum: both conventions by hand, in the long run, against peers, and Nesterov's as a look ahead."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fnn.optim import momentum

FORMS = [(c, n) for c in ("lecture", "paper") for n in (False, True)]


@pytest.mark.parametrize(
    ("convention", "nesterov", "velocities", "updates"),
    [
        ("lecture", False, [1, 5 / 2, 3 / 4], [-1 / 4, -5 / 8, -3 / 16]),
        ("lecture", True, [1, 5 / 2, 3 / 4], [-3 / 8, -13 / 16, 1 / 32]),
        ("paper", False, [-1 / 2, -5 / 4, -3 / 8], [-1 / 2, -5 / 4, -3 / 8]),
        ("paper", True, [-1 / 2, -5 / 4, -3 / 8], [-3 / 4, -13 / 8, 1 / 16]),
    ],
)
def test_three_steps_by_hand(convention: str, nesterov: bool, velocities: list[float], updates: list[float]) -> None:
    # Every number is a fraction with a power of 2 below, so float32 holds it exactly.
    tx: Any = momentum(0.25, beta=0.5, nesterov=nesterov, convention=convention)
    state: Any = tx.init(jnp.zeros(1))
    for g, v, change in zip((2.0, 4.0, -1.0), velocities, updates, strict=True):
        got, state = tx.update(jnp.array([g]), state)
        assert (float(state.v[0]), float(got[0])) == (v, change)


def _by_the_book(grads: Any, lr: Any, beta: Any, convention: str, nesterov: bool) -> np.ndarray:
    v, updates = 0 * grads[0], []
    for g in grads:
        if convention == "lecture":
            v = beta * v + (1 - beta) * g
            updates.append(-lr * (beta * v + (1 - beta) * g) if nesterov else -lr * v)
        else:
            v = beta * v - lr * g
            updates.append(beta * v - lr * g if nesterov else v)
    return np.array(updates)


@pytest.mark.parametrize(("convention", "nesterov"), FORMS)
def test_long_run(precision: Any, awkward: np.ndarray, convention: str, nesterov: bool) -> None:
    got = precision.run(momentum(0.1, 0.9, nesterov=nesterov, convention=convention), awkward)
    lr, beta, grads = precision.exact(0.1), precision.exact(0.9), precision.exact(awkward)
    expected = _by_the_book(grads, lr, beta, convention, nesterov).astype(float)
    # Signs cancel in a velocity, so its error is relative to the largest gradient so far.
    size = np.maximum.accumulate(np.abs(awkward), axis=0)
    assert np.all(np.abs(got - expected) <= precision.tolerance * np.maximum(np.abs(expected), size))


@pytest.mark.parametrize(("convention", "nesterov"), FORMS)
def test_nesterov_is_the_gradient_at_the_look_ahead_point(convention: str, nesterov: bool) -> None:
    """On a quadratic loss: the parameters that we hold are the points where the gradient is taken."""
    lr, beta, curvature = 0.1, 0.8, np.array([1.0, 0.3, 4.0])
    tx: Any = momentum(lr, beta, nesterov=nesterov, convention=convention)
    w = jnp.array([1.0, -2.0, 3.0])
    state, theta, v = tx.init(w), np.asarray(w, np.float64), np.zeros(3)
    for _ in range(10):
        updates, state = tx.update(jnp.asarray(curvature, jnp.float32) * w, state)
        w = jnp.asarray(optax.apply_updates(w, updates))
        if convention == "lecture":
            v = beta * v + (1 - beta) * curvature * (theta - lr * beta * v * nesterov)
            theta, ahead = theta - lr * v, theta - lr * v - lr * beta * v * nesterov
        else:
            v = beta * v - lr * curvature * (theta + beta * v * nesterov)
            theta, ahead = theta + v, theta + v + beta * v * nesterov
        np.testing.assert_allclose(w, ahead, rtol=1e-5, atol=1e-6)


def test_a_schedule_is_inside_the_velocity_in_the_paper_and_outside_in_the_lecture() -> None:
    def rates(t: Any) -> Any:
        return jnp.where(t == 0, 1.0, 0.0)

    for convention, second in (("lecture", 0.0), ("paper", -0.5)):
        tx: Any = momentum(rates, 0.5, convention=convention)
        _, state = tx.update(jnp.ones(1), tx.init(jnp.zeros(1)))
        updates, _ = tx.update(jnp.ones(1), state)
        assert float(updates[0]) == second


@pytest.mark.parametrize("nesterov", [False, True])
def test_paper_equals_optax_and_torch(
    precision: Any, awkward: np.ndarray, torch_updates: Callable[..., np.ndarray], nesterov: bool
) -> None:
    grads = awkward[:50, 4:7]
    got = precision.run(momentum(0.1, 0.9, nesterov=nesterov, convention="paper"), grads)
    precision.check(got, precision.run(optax.sgd(0.1, momentum=0.9, nesterov=nesterov), grads), size=1.0)
    if precision.dtype == np.float64:
        make = partial(_torch_sgd, nesterov=nesterov)
        precision.check(got, torch_updates(make, grads, np.zeros(3)), size=1.0)


def _torch_sgd(optim: Any, w: list[Any], nesterov: bool) -> Any:
    return optim.SGD(w, lr=0.1, momentum=0.9, nesterov=nesterov)


@pytest.mark.parametrize(("convention", "end"), [("lecture", 0.1), ("paper", 0.4)])
def test_a_constant_gradient_ends_in_steps_of_a_known_length(convention: str, end: float) -> None:
    tx: Any = momentum(0.1, beta=0.75, convention=convention)
    updates, state = tx.update(jnp.ones(1), tx.init(jnp.zeros(1)))
    for _ in range(80):
        updates, state = tx.update(jnp.ones(1), state)
    np.testing.assert_allclose(updates, [-end], rtol=1e-6)


def test_beta_zero_is_gradient_descent() -> None:
    g = jnp.array([3.0, -0.7, 1e20])
    for convention, nesterov in FORMS:
        tx: Any = momentum(0.3, 0.0, nesterov=nesterov, convention=convention)
        _, state = tx.update(jnp.array([1e20, 1.0, 2.0]), tx.init(g))
        np.testing.assert_allclose(tx.update(g, state)[0], -0.3 * g, rtol=1e-6)


def test_the_flag_is_a_flag() -> None:
    with pytest.raises(TypeError, match=r"nesterov: got 1, expected True or False\."):
        momentum(0.1, nesterov=1)  # type: ignore[arg-type]


def test_unknown_convention_names_the_nearest() -> None:
    with pytest.raises(
        ValueError, match=r"convention: got 'lectur', expected one of .*lecture.* Did you mean 'lecture'"
    ):
        momentum(0.1, convention="lectur")
