"""Properties of all update rules on random trees, dtypes and numbers: their form, and JAX's transformations."""

from collections.abc import Callable
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl.testing import parameterized
from hypothesis import given, settings
from hypothesis import strategies as st

from fnn.optim import with_hyperparams
from tests.optim.strategies import (
    FORMS,
    HIGH,
    LOW,
    MILD,
    TAME,
    Case,
    all_variants,
    arrays,
    cases,
    numbers,
    tolerance,
    variants,
)

each_rule = parameterized.named_parameters(*((rule, rule) for rule in FORMS))
few, some = settings(max_examples=3), settings(max_examples=5)


def avals(tree: Any) -> Any:
    """Structure, shapes, dtypes and weak types: what a scan compares."""
    leaves, treedef = jax.tree.flatten(tree)
    return treedef, [(x.shape, x.dtype, getattr(x, "weak_type", False)) for x in leaves]


def assert_near(got: Any, expected: Any) -> None:
    """Two paths of (updates, state): each leaf near, relative to the largest number that it ever holds."""
    for now, then in zip(got, expected, strict=True):
        chex.assert_trees_all_equal_shapes_and_dtypes(now, then)
    for ours, theirs in zip(
        zip(*map(jax.tree.leaves, got), strict=True), zip(*map(jax.tree.leaves, expected), strict=True), strict=True
    ):
        a, b = (np.stack([np.asarray(x) for x in column]) for column in (ours, theirs))
        if not np.issubdtype(a.dtype, np.integer) and a.size:
            kind = np.complex128 if np.iscomplexobj(a) else np.float64
            unit, a, b = tolerance(a.dtype), a.astype(kind), b.astype(kind)
            chex.assert_trees_all_close(a, b, rtol=unit, atol=unit * np.abs(b).max())
        else:
            chex.assert_trees_all_equal(a, b)


def stepwise(case: Case, init: Callable[..., Any], update: Callable[..., Any], params: Any, grads: Any) -> list[Any]:
    state, path = init(case.numbers, params), []
    for g in grads:
        updates, state = update(case.numbers, g, state, params)
        path.append((updates, state))
    return path


def on_device(case: Case) -> Any:
    return jax.tree.map(jnp.asarray, (case.params, case.grads))


class Variants(chex.TestCase):
    @all_variants
    @each_rule
    @few
    @given(data=st.data())
    def test_updates_are_like_parameters_and_the_state_keeps_its_form(self, rule: str, data: st.DataObject) -> None:
        case = data.draw(cases(rule))
        with case.world():
            params, grads = on_device(case)
            first = case.init(case.numbers, params)
            init, update = self.variant(case.init), self.variant(case.update)
            for updates, state in stepwise(case, init, update, params, grads):
                assert jax.tree.structure(updates) == jax.tree.structure(params)
                chex.assert_trees_all_equal_shapes_and_dtypes(updates, params)
                assert avals(state) == avals(first)
                kinds = [x.dtype for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.inexact)]
                assert all(jnp.finfo(kind).bits >= 32 for kind in kinds)

    @variants(with_jit=True, with_device=True, without_device=True)
    @each_rule
    @few
    @given(data=st.data())
    def test_every_way_to_call_it_gives_the_same(self, rule: str, data: st.DataObject) -> None:
        case = data.draw(cases(rule, ranges=TAME))
        with case.world():
            params, grads = on_device(case)
            got = stepwise(case, self.variant(case.init), self.variant(case.update), params, grads)
            assert_near(got, case.run(case.numbers, grads, params))

    @variants(with_jit=True)
    @each_rule
    @few
    @given(data=st.data())
    def test_a_scan_is_the_loop(self, rule: str, data: st.DataObject) -> None:
        case = data.draw(cases(rule, steps=3, ranges=TAME))

        def scan(values: Any, grads: Any, params: Any) -> Any:
            def step(state: Any, g: Any) -> Any:
                updates, state = case.update(values, g, state, params)
                return state, (updates, state)

            return jax.lax.scan(step, case.init(values, params), grads, length=3)[1]

        with case.world():
            params, grads = on_device(case)
            stacked = self.variant(scan)(case.numbers, jax.tree.map(lambda *gs: jnp.stack(gs), *grads), params)
            path = [jax.tree.map(lambda x, t=t: x[t], stacked) for t in range(3)]
            assert_near(path, case.run(case.numbers, grads, params))

    @variants(with_jit=True)
    @each_rule
    @few
    @given(data=st.data())
    def test_vmap_over_hyperparameters_is_the_loop(self, rule: str, data: st.DataObject) -> None:
        case = data.draw(cases(rule, ranges=TAME))
        sweep = [case.numbers, *(data.draw(numbers(case.form, TAME)) for _ in range(2))]
        with case.world():
            params, grads = on_device(case)
            stacked = jax.tree.map(lambda *x: jnp.asarray(x), *sweep)
            paths = self.variant(lambda values: jax.vmap(lambda n: case.run(n, grads, params))(values))(stacked)
            for i, values in enumerate(sweep):
                assert_near(jax.tree.map(lambda x, i=i: x[i], paths), case.run(values, grads, params))

    @variants(with_jit=True)
    @each_rule
    @few
    @given(data=st.data())
    def test_a_chain_clips_first_and_a_mask_leaves_the_rest_alone(self, rule: str, data: st.DataObject) -> None:
        # A compiled chain does not round to a narrow dtype between its parts.
        case = data.draw(cases(rule, elements=MILD, dtypes=("float32", "complex64"), ranges=TAME))
        params, grads = on_device(case)
        mask = jax.tree.map(lambda _: data.draw(st.booleans()), params)
        clip: Any = optax.clip_by_global_norm(data.draw(st.sampled_from([0.125, 1.0, 1e4])))
        chain: Any = optax.chain(clip, optax.masked(case.tx(), mask))
        update, state, got = self.variant(chain.update), chain.init(params), []
        for g in grads:
            updates, state = update(g, state, params)
            got.append(updates)
        clipped = [clip.update(g, clip.init(params))[0] for g in grads]
        by_hand = [updates for updates, _ in case.run(case.numbers, clipped, params)]
        rows = zip(by_hand, clipped, strict=True)
        assert_near(got, [jax.tree.map(lambda m, u, g: u if m else g, mask, *row) for row in rows])

    @variants(with_jit=True, without_device=True)
    @each_rule
    @some
    @given(data=st.data())
    def test_a_gradient_of_another_dtype_is_the_number_that_it_is(self, rule: str, data: st.DataObject) -> None:
        case = data.draw(cases(rule, dtypes=("float16", "bfloat16", "float32")))
        narrow = st.sampled_from(["float16", "bfloat16"])
        grads = jax.tree.map(lambda w: data.draw(arrays(w.shape, data.draw(narrow), MILD)), case.params)
        wide = jax.tree.map(lambda g: g.astype(np.float32), grads)
        params = jax.tree.map(jnp.asarray, case.params)
        update, first = self.variant(case.update), case.init(case.numbers, params)
        got, expected = (update(case.numbers, g, first, params) for g in (grads, wide))
        assert avals(got[1]) == avals(first)
        chex.assert_trees_all_equal_shapes_and_dtypes(got[0], params)
        chex.assert_trees_all_equal(got, expected)

    @variants(without_jit=True, without_device=True)
    @each_rule
    @some
    @given(data=st.data())
    def test_an_update_is_pure(self, rule: str, data: st.DataObject) -> None:
        case = data.draw(cases(rule, dtypes=LOW))
        params, grads = case.params, case.grads
        before = jax.tree.map(np.copy, (params, grads))
        init, update = self.variant(case.init), self.variant(case.update)
        state = init(case.numbers, params)
        kept = jax.tree.map(lambda x: np.array(x), state)
        once, again = (update(case.numbers, grads[0], state, params) for _ in range(2))
        chex.assert_trees_all_equal(once, again)
        chex.assert_trees_all_equal((params, grads, state), (*before, kept))


class Programs(parameterized.TestCase):
    """What is said about compiled programs alone."""

    @each_rule
    @few
    @given(data=st.data())
    def test_hyperparameters_in_the_state_have_the_bits_of_constants(self, rule: str, data: st.DataObject) -> None:
        case = data.draw(cases(rule))
        with case.world():
            params, grads = on_device(case)
            closed, injected = case.tx(), with_hyperparams(case.form.factory, **case.numbers)
            own, other = closed.init(params), injected.init(params)
            step, same = jax.jit(closed.update), jax.jit(injected.update)
            for g in grads:
                expected, own = step(g, own, params)
                got, other = same(g, other, params)
                chex.assert_trees_all_equal((got, other.inner), (expected, own))

    @each_rule
    @few
    @given(data=st.data())
    def test_a_number_is_a_number_of_whatever_type(self, rule: str, data: st.DataObject) -> None:
        case = data.draw(cases(rule))
        with case.world():
            params, grads = on_device(case)
            kinds = st.sampled_from([float, np.float32, np.float64, np.asarray, jnp.float32, jnp.asarray])
            mixed = case.tx({name: data.draw(kinds)(value) for name, value in case.numbers.items()})
            step, traced, state = jax.jit(mixed.update), jax.jit(case.update), mixed.init(params)
            for g in grads:
                expected = traced(case.numbers, g, state, params)
                updates, state = step(g, state, params)
                chex.assert_trees_all_equal((updates, state), expected)

    @each_rule
    @few
    @given(data=st.data())
    def test_one_trace_for_every_step_number_and_restored_state(self, rule: str, data: st.DataObject) -> None:
        case = data.draw(cases(rule, dtypes=HIGH[:1] + LOW))
        params, grads = on_device(case)
        chex.clear_trace_counter()
        update = jax.jit(chex.assert_max_traces(case.update, n=1))
        state = case.init(case.numbers, params)
        values = {name: jnp.float32(value) for name, value in case.numbers.items()}
        for g in grads:
            _, state = update(values, g, state, params)
            values = {name: value / 2 for name, value in values.items()}
        restored = jax.tree.map(lambda x: np.array(x), state)
        chex.assert_trees_all_equal(update(values, grads[0], restored, params), update(values, grads[0], state, params))

    @each_rule
    @few
    @given(data=st.data())
    def test_leaves_do_not_know_of_each_other(self, rule: str, data: st.DataObject) -> None:
        case = data.draw(cases(rule, dtypes=LOW))
        params, grads = on_device(case)
        whole = case.run(case.numbers, grads, params)[-1][0]
        for i, (w, u) in enumerate(zip(jax.tree.leaves(params), jax.tree.leaves(whole), strict=True)):
            alone = case.run(case.numbers, [jax.tree.leaves(g)[i] for g in grads], w)[-1][0]
            chex.assert_trees_all_equal(alone, u)

    @each_rule
    @few
    @given(data=st.data())
    def test_the_state_has_no_part_in_the_parameters(self, rule: str, data: st.DataObject) -> None:
        case = data.draw(cases(rule, elements=MILD, dtypes=LOW, ranges=TAME))
        params, grads = on_device(case)
        state = case.init(case.numbers, params)
        buffers = [x.unsafe_buffer_pointer() for x in jax.tree.leaves((state, params)) if x.size]
        assert len(set(buffers)) == len(buffers)

        def step(values: Any, g: Any, state: Any, w: Any) -> Any:
            updates, state = case.update(values, g, state, w)
            return jax.tree.map(jnp.add, w, updates), state

        expected = step(case.numbers, grads[0], state, params)
        # Both are given away: two names of one buffer would be refused, and a buffer of no use is a warning.
        assert_near([jax.jit(step, donate_argnums=(2, 3))(case.numbers, grads[0], state, params)], [expected])
