"""Properties of single rules on random numbers: one rule as another, and bounds of their steps."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fnn import optim
from tests.optim.strategies import AWKWARD, FORMS, MILD, NO_DECAY, TAME, Form, arrays, flat_run, numbers, reals

SIZE, STEPS = 6, 4
grads_of = hnp.arrays(np.float32, (STEPS, SIZE), elements=MILD)
awkward_of = hnp.arrays(np.float32, (STEPS, SIZE), elements=AWKWARD)
some = settings(max_examples=10)
W = np.array([1.0, -2.0, 0.5, 3.0, -0.25, 0.0], np.float32)

# One rule as another --------------------------------------------------------------------------------------


@some
@given(rate=reals(0, 1), grads=grads_of)
def test_the_sum_of_steps_is_the_step_of_the_sum(rate: float, grads: np.ndarray) -> None:
    (form,) = FORMS["sgd"]
    steps = flat_run(form)({"learning_rate": rate}, grads, W)[0]
    whole = flat_run(form)({"learning_rate": rate}, grads.sum(0, keepdims=True), W)[0]
    chex.assert_trees_all_close(steps.sum(0), whole[0], rtol=0, atol=2e-6 * np.abs(grads).sum())


@pytest.mark.parametrize("form", FORMS["momentum"], ids=lambda form: str(form.options))
@some
@given(rate=reals(0, 1), grads=grads_of)
def test_momentum_without_memory_is_sgd(form: Form, rate: float, grads: np.ndarray) -> None:
    values = dict.fromkeys(form.names, 0.0) | {"learning_rate": rate}
    plain = flat_run(FORMS["sgd"][0])({"learning_rate": rate}, grads, W)[0]
    chex.assert_trees_all_equal(flat_run(form)(values, grads, W)[0], plain)


@pytest.mark.parametrize("convention", optim.conventions("rmsprop"))
@pytest.mark.parametrize("centered", [False, True])
@some
@given(data=st.data(), grads=awkward_of)
def test_a_velocity_that_forgets_is_no_velocity(
    convention: str, centered: bool, data: st.DataObject, grads: np.ndarray
) -> None:
    (with_u, without) = (f for f in FORMS["rmsprop"] if f.convention == convention and f.has("centered") == centered)
    values = data.draw(numbers(without, TAME))
    a, b = flat_run(with_u)(values | {"momentum": 0.0}, grads, W)[0], flat_run(without)(values, grads, W)[0]
    chex.assert_trees_all_close(a, b, rtol=5e-7)


@pytest.mark.parametrize("convention", optim.conventions("adam"))
@some
@given(data=st.data(), sizes=hnp.arrays(np.float32, SIZE, elements=reals(0.125, 4)), growth=reals(1, 2))
def test_amsgrad_is_adam_while_gradients_grow(
    convention: str, data: st.DataObject, sizes: np.ndarray, growth: float
) -> None:
    plain, largest = (f for f in FORMS["adam"] if f.convention == convention and f.has("decoupled"))
    values = data.draw(numbers(plain, TAME | NO_DECAY))
    grads = sizes * np.float32(growth) ** np.arange(STEPS, dtype=np.float32)[:, None]
    a, b = (np.asarray(flat_run(form)(values, grads, W)[0]) for form in (plain, largest))
    if convention == "paper":
        # Without bias correction: t steps of an average of 1 - b^t of its weight.
        v = np.asarray(flat_run(largest)(values, grads, W)[1].v, np.float64)
        t = np.arange(1, STEPS + 1)[:, None]
        c1, c2 = 1 - values["b1"] ** t, 1 - values["b2"] ** t
        a = a * c1 * (np.sqrt(v / c2) + values["eps"]) / (np.sqrt(v) + values["eps"])
    chex.assert_trees_all_close(a.astype(np.float64), b.astype(np.float64), rtol=1e-5)


# Bounds ---------------------------------------------------------------------------------------------------


def _longest_steps(values: dict[str, float], steps: int) -> np.ndarray:
    """By Cauchy and Schwarz, the longest step of Adam at each t; the gradients (b1 / b2)^-s reach it."""
    b1, b2, t = values["b1"], values["b2"], np.arange(1, steps + 1)
    r = b1**2 / b2
    return (
        values["learning_rate"]
        * (1 - b1)
        / math.sqrt(1 - b2)
        * np.sqrt(np.cumsum(r ** (t - 1)) * (1 - b2**t))
        / (1 - b1**t)
    )


PLAIN_ADAM = [next(f for f in FORMS["adam"] if f.convention == name) for name in optim.conventions("adam")]


@pytest.mark.parametrize("form", PLAIN_ADAM, ids=lambda form: form.convention)
@settings(max_examples=25)
@given(data=st.data(), grads=hnp.arrays(np.float64, (20, SIZE), elements=AWKWARD))
def test_adam_s_step_has_a_bound(form: Form, data: st.DataObject, grads: np.ndarray) -> None:
    values = data.draw(numbers(form, NO_DECAY | {"b2": (0.01, 0.999)}))
    with jax.enable_x64(True):
        updates = np.asarray(flat_run(form)(values, jnp.asarray(grads), jnp.zeros(SIZE))[0])
    assert np.all(np.abs(updates).max(1) <= _longest_steps(values, 20) * (1 + 1e-9))


@pytest.mark.parametrize("form", PLAIN_ADAM, ids=lambda form: form.convention)
@settings(max_examples=15)
@given(data=st.data(), steps=st.integers(1, 8))
def test_adam_s_bound_is_reached(form: Form, data: st.DataObject, steps: int) -> None:
    values = data.draw(numbers(form, NO_DECAY | {"b1": (0.125, 0.999), "b2": (0.125, 0.999)})) | {"eps": 1e-12}
    # g_s = (b2 / b1)^(s - t), the last of them 1, after zeros that make all runs equally long.
    grads = (values["b2"] / values["b1"]) ** np.arange(1 - steps, 1.0)
    with jax.enable_x64(True):
        grads = jnp.asarray(np.pad(grads, (0, 8 - steps))[:, None])
        updates = np.asarray(flat_run(form)(values, grads, jnp.zeros(1))[0])
    np.testing.assert_allclose(-updates[steps - 1, 0], _longest_steps(values, steps)[-1], rtol=1e-7)


@pytest.mark.parametrize("form", FORMS["adagrad"], ids=lambda form: form.convention)
@settings(max_examples=15)
@given(data=st.data(), grads=awkward_of)
def test_adagrad_s_sum_never_falls_and_its_step_has_a_bound(form: Form, data: st.DataObject, grads: np.ndarray) -> None:
    values = data.draw(numbers(form))
    updates, state = flat_run(form)(values, grads, W)
    G = np.asarray(state.G)
    assert np.all(np.diff(G, axis=0) >= 0)
    assert np.all(np.float32(values["initial_accumulator"]) <= G)
    assert np.all(np.abs(updates) <= values["learning_rate"] * (1 + 1e-6))


@pytest.mark.parametrize("form", [f for f in FORMS["rmsprop"] if f.has("centered")], ids=lambda form: str(form.options))
@settings(max_examples=15)
@given(
    data=st.data(),
    base=arrays(SIZE, "float32", AWKWARD),
    noise=hnp.arrays(np.float32, (STEPS, SIZE), elements=reals(-1e-3, 1e-3)),
)
def test_a_centered_variance_is_never_negative(
    form: Form, data: st.DataObject, base: np.ndarray, noise: np.ndarray
) -> None:
    updates, state = flat_run(form)(data.draw(numbers(form)), base * (1 + noise), W)
    assert np.all(np.asarray(state.v) >= 0)
    chex.assert_tree_all_finite(updates)
