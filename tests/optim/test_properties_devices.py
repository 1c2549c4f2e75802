"""Eight devices: on automatic and explicit meshes each rule keeps every parameter's sharding, and its numbers."""

import functools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from fnn.tree import named_leaves
from tests.optim.strategies import FORMS, MILD, TAME, numbers

# The form of each rule with the most slots.
FORM = {
    rule: max(forms, key=lambda form: (len(form.names), *(value is True for _, value in form.options)))
    for rule, forms in FORMS.items()
}
MESHES = [((8,), ("i",), 0), ((4, 2), ("i", "j"), 1), ((2, 4), ("i", "j"), 2)]
SHAPES = {"w": (8, 8), "b": (8,), "scale": (), "none": None}


def specs(axes: tuple[str, ...]) -> list[dict[str, Any]]:
    """Ways to lay the parameters out: along each axis of an array, along all axes of the mesh, or copied."""
    first, last = axes[0], axes[-1]
    rest: dict[str, Any] = {"scale": P(), "none": None}
    return [
        {"w": P(first, last if last != first else None), "b": P(last), **rest},
        {"w": P(None, axes), "b": P(), **rest},
        {"w": P(), "b": P(axes), **rest},
    ]


def check_shardings(what: str, tree: Any, shardings: dict[str, Any]) -> None:
    for name, x in named_leaves(tree).items():
        sharding = shardings.get(name.split("/")[-1])
        if sharding is not None:
            assert isinstance(x.sharding, NamedSharding), f"{what}, {name}: {x.sharding}"
            assert x.sharding.is_equivalent_to(sharding, x.ndim), f"{what}, {name}: {x.sharding}, not {sharding}"
            assert len(x.addressable_shards) == 8


@functools.cache
def compiled(rule: str) -> Any:
    """One step as a training loop compiles it: the state and the parameters are given away."""

    def step(values: Any, g: Any, state: Any, w: Any) -> Any:
        updates, state = FORM[rule].factory(**values).update(g, state, w)
        return updates, state, optax.apply_updates(w, updates)

    return jax.jit(step, donate_argnums=(2, 3))


def run(rule: str, values: Any, params: Any, grads: Any, shardings: dict[str, Any] | None = None) -> Any:
    # Copies: what JAX shares with a NumPy array cannot be given away.
    w, step = jax.device_put(jax.tree.map(lambda x: jnp.array(x, copy=True), params), shardings), compiled(rule)
    state, path = FORM[rule].factory(**values).init(w), []
    for g in grads:
        given_away = jax.tree.leaves((state, w))
        if shardings is not None:
            check_shardings("state", state, shardings)
        updates, state, w = step(values, jax.device_put(g, shardings), state, w)
        path.append((updates, state, w))
        assert all(x.is_deleted() for x in given_away)
        if shardings is not None:
            check_shardings("updates", updates, shardings)
            check_shardings("parameters", w, shardings)
        # The next step takes these away too; what NumPy has a view of cannot be given away.
        path[-1] = jax.tree.map(lambda x: np.array(jnp.copy(x)), path[-1])
    if shardings is not None:
        check_shardings("last state", state, shardings)
    return path


def trees() -> st.SearchStrategy[dict[str, Any]]:
    arrays = {name: hnp.arrays(np.float32, shape, elements=MILD) for name, shape in SHAPES.items() if shape is not None}
    return st.fixed_dictionaries({**arrays, "none": st.none()})


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=lambda kind: kind.name)
@pytest.mark.parametrize(("shape", "axes", "layout"), MESHES, ids=str)
@pytest.mark.parametrize("rule", FORMS)
@settings(max_examples=4)
@given(data=st.data())
def test_shardings_and_numbers_are_kept(
    rule: str, shape: tuple[int, ...], axes: tuple[str, ...], layout: int, kind: AxisType, data: st.DataObject
) -> None:
    values = data.draw(numbers(FORM[rule], TAME))
    params, *grads = (data.draw(trees()) for _ in range(3))
    alone = run(rule, values, params, grads)
    mesh = jax.make_mesh(shape, axes, axis_types=(kind,) * len(axes))
    shardings = {
        name: None if spec is None else NamedSharding(mesh, spec) for name, spec in specs(axes)[layout].items()
    }
    with jax.set_mesh(mesh):
        spread = run(rule, values, params, grads, shardings)
    chex.assert_trees_all_close(spread, alone, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=lambda kind: kind.name)
@pytest.mark.parametrize("rule", FORMS)
@settings(max_examples=3)
@given(data=st.data())
def test_a_compiled_init_is_laid_out_as_it_is_told(rule: str, kind: AxisType, data: st.DataObject) -> None:
    tx, params = FORM[rule].factory(**data.draw(numbers(FORM[rule], TAME))), data.draw(trees())
    axes = ("i", "j")
    mesh = jax.make_mesh((4, 2), axes, axis_types=(kind, kind))
    shardings = {
        name: NamedSharding(mesh, P(*axes[: len(shape)])) for name, shape in SHAPES.items() if shape is not None
    }
    with jax.set_mesh(mesh):
        w = jax.device_put(params, {**shardings, "none": None})
        eager = tx.init(w)
        check_shardings("state", eager, shardings)
        # On automatic axes a compiled program lays out what has no input as it likes, unless it is told.
        told = jax.tree.map(lambda x: x.sharding if isinstance(x.sharding, NamedSharding) else None, eager)
        state = jax.jit(tx.init, out_shardings=None if kind is AxisType.Explicit else told)(w)
    check_shardings("state", state, shardings)
    chex.assert_trees_all_equal(jax.tree.map(np.array, state), jax.tree.map(np.array, eager))
