"""Gradient descent: by hand, against Optax and PyTorch, and under schedules."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fnn.optim import sgd


def test_three_steps_by_hand() -> None:
    tx: Any = sgd(0.25)
    state: Any = tx.init(jnp.zeros(1))
    for g, expected in ((2.0, -0.5), (-4.0, 1.0), (0.0, 0.0)):
        updates, state = tx.update(jnp.array([g]), state)
        assert updates == jnp.array([expected])
    assert int(state.count) == 3


def test_long_run(precision: Any, awkward: np.ndarray) -> None:
    got = precision.run(sgd(0.1), awkward)
    expected = -precision.exact(0.1) * precision.exact(awkward)
    np.testing.assert_allclose(got, expected.astype(float), rtol=precision.tolerance, atol=0)


def test_equals_optax(precision: Any, awkward: np.ndarray) -> None:
    np.testing.assert_array_equal(precision.run(sgd(0.1), awkward), precision.run(optax.sgd(0.1), awkward))


def test_equals_torch(torch_updates: Callable[..., np.ndarray]) -> None:
    grads, w = np.random.default_rng(1).normal(size=(2, 20, 5))
    got = torch_updates(lambda optim, w: optim.SGD(w, lr=0.1), grads, w[0])
    np.testing.assert_allclose(got, -0.1 * grads, rtol=1e-12)


@pytest.mark.parametrize("schedule", [lambda t: 1.0 / (1 + t), optax.linear_schedule(1.0, 0.0, 4)])
def test_update_t_uses_the_schedule_at_t_from_0(schedule: Callable[[Any], Any]) -> None:
    tx: Any = sgd(schedule)
    state = tx.init(jnp.zeros(1))
    for t in range(5):
        updates, state = tx.update(jnp.ones(1), state)
        np.testing.assert_allclose(updates, [-schedule(t)], rtol=1e-6)
