"""Tests of one's own optimizer: copy this file, and put your factory in place of `my_momentum`.

It needs fnn with its extra `laws`, and pytest, and runs with `pytest test_my_optimizer.py`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
import pytest

import fnn


class MyState(NamedTuple):
    """What the rule remembers: one number for each parameter."""

    velocity: optax.Updates


def my_momentum(learning_rate: float, beta: float = 0.9) -> optax.GradientTransformation:
    """Momentum as on paper: v <- beta v + g, w <- w - lr v."""

    def init(params: optax.Params) -> MyState:
        return MyState(jax.tree.map(jnp.zeros_like, params))

    def update(
        updates: optax.Updates, state: MyState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, MyState]:
        del params
        velocity = jax.tree.map(lambda v, g: beta * v + g, state.velocity, updates)
        return jax.tree.map(lambda v: -learning_rate * v, velocity), MyState(velocity)

    return optax.GradientTransformation(init, update)


# What this rule does not promise. Each is an error once it starts to hold, so that the list stays true.
KNOWN = {
    "integers_are_refused": "its parameters are always floats",
    "shapes_are_not_broadcast": "gradients come from jax.grad, which gives them the parameters' shapes",
    "other_gradient_dtype": "gradients have the parameters' dtype here",
    "state_is_a_fixed_point": "only with gradients of another dtype",
    "accumulators_are_wide": "it is for float32",
    "rate_types": "NumPy numbers widen bfloat16 updates",
}


def test_it_obeys_the_laws() -> None:
    report = fnn.laws.check_transform(my_momentum, like="momentum", expected=KNOWN)
    report.raise_if_broken()


# Or one test a law, so that a failure names its law at once.
@pytest.mark.parametrize("law", ["odd", "rate_linear", "vmap_is_loop", "minimizes_a_quadratic"])
def test_law(law: str) -> None:
    fnn.laws.check_transform(my_momentum, laws=[law]).raise_if_broken()


def test_it_is_momentum_as_pytorch_has_it() -> None:
    torch = fnn.optim.convention("torch", "momentum")
    fnn.laws.check_transform(my_momentum, like=torch, laws=["follows_its_convention"]).raise_if_broken()
