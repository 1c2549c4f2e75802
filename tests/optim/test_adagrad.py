"""AdaGrad: by hand, in the long run with 60 digits, against PyTorch, and its sum at the end of the range."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn.optim import adagrad


def test_three_steps_by_hand() -> None:
    # 3^2, + 4^2, + 12^2 are the squares of 3, 5 and 13.
    tx: Any = adagrad(0.5, eps=1e-30)
    state: Any = tx.init(jnp.zeros(1))
    for g, root in ((3.0, 3), (-4.0, 5), (12.0, 13)):
        updates, state = tx.update(jnp.array([g]), state)
        assert jnp.array([root**2]) == state.G
        np.testing.assert_allclose(updates, [-0.5 * g / root], rtol=2e-7)


def _by_the_paper(grads: Any, lr: Any, eps: Any, start: Any) -> np.ndarray:
    total, updates = 0 * grads[0] + start, []
    for g in grads:
        total = total + g * g
        updates.append(-lr * g / (np.sqrt(total) + eps))
    return np.array(updates)


@pytest.mark.parametrize("start", [0.0, 0.1, 1e3])
def test_long_run(precision: Any, awkward: np.ndarray, start: float) -> None:
    got = precision.run(adagrad(0.1, 1e-8, start), awkward)
    expected = _by_the_paper(precision.exact(awkward), *(precision.exact(x) for x in (0.1, 1e-8, start)))
    precision.check(got, expected, size=0.1)


def test_equals_torch(torch_updates: Callable[..., np.ndarray], awkward: np.ndarray) -> None:
    grads = awkward[:, 4:8]

    def make(optim: Any, w: list[Any]) -> Any:
        return optim.Adagrad(w, lr=0.1, eps=1e-8, initial_accumulator_value=0.1)

    expected = torch_updates(make, grads, np.zeros(4))
    with jax.enable_x64(True):
        tx: Any = adagrad(0.1, 1e-8, 0.1)
        state: Any = tx.init(jnp.zeros(4))
        for g, change in zip(jnp.asarray(grads), expected, strict=True):
            updates, state = tx.update(g, state)
            np.testing.assert_allclose(updates, change, rtol=1e-9, atol=1e-13)


def test_the_sum_stays_finite_and_steps_go_on() -> None:
    tx: Any = adagrad(1.0)
    state: Any = tx.init(jnp.zeros(1))
    for _ in range(100):
        updates, state = tx.update(jnp.array([-1e30]), state)
        assert bool(jnp.isfinite(state.G[0]))
        assert 0.1 < float(updates[0]) <= 1.0


def test_a_schedule_scales_the_step_alone() -> None:
    tx: Any = adagrad(lambda t: 1.0 / (1 + t))
    state: Any = tx.init(jnp.zeros(1))
    for t in range(3):
        updates, state = tx.update(jnp.ones(1), state)
        np.testing.assert_allclose(updates, [-((1 + t) ** -1.5)], rtol=1e-6)


def test_the_defaults_are_the_convention_s(precision: Any, awkward: np.ndarray) -> None:
    got = precision.run(adagrad(0.1), awkward[:10])
    np.testing.assert_array_equal(got, precision.run(adagrad(0.1, 1e-8, 0.0), awkward[:10]))


def test_unknown_convention_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"convention: got 'papers', expected one of .*paper.* Did you mean 'paper'"):
        adagrad(0.1, convention="papers")
