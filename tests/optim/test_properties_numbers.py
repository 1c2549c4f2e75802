"""Properties of all update rules on random hyperparameters and gradients: their numbers, symmetries and bounds."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl.testing import parameterized
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fnn import optim
from fnn.laws.transform.oracle import Oracle
from fnn.optim.leafwise import average_weight
from fnn.typing import Array
from tests.optim.strategies import (
    AWKWARD,
    EVERY,
    FORMS,
    LOW,
    MILD,
    NO_DECAY,
    TAME,
    Form,
    cases,
    flat_run,
    numbers,
    one_update,
    reals,
    variants,
)

SIZE, STEPS = 6, 4
each_rule = pytest.mark.parametrize("rule", FORMS)
each_form = pytest.mark.parametrize(
    "form",
    [form for form in EVERY if dict(form.options).get("momentum", 0) is not None],
    ids=lambda form: "-".join(str(value) for _, value in form.options) or "sgd",
)
grads_of = hnp.arrays(np.float32, (STEPS, SIZE), elements=MILD)
awkward_of = hnp.arrays(np.float32, (STEPS, SIZE), elements=AWKWARD)
some = settings(max_examples=10)
W = np.array([1.0, -2.0, 0.5, 3.0, -0.25, 0.0], np.float32)


def forms_of(rule: str) -> st.SearchStrategy[Form]:
    return st.sampled_from(FORMS[rule])


def negated(tree: Any) -> Any:
    return jax.tree.map(lambda x: -x, tree)


class Trees(chex.TestCase):
    """What holds for every tree."""

    each = parameterized.named_parameters(*((rule, rule) for rule in FORMS))

    @variants(with_jit=True, without_jit=True)
    @each
    @settings(max_examples=4)
    @given(data=st.data())
    def test_every_finite_gradient_gives_finite_numbers(self, rule: str, data: st.DataObject) -> None:
        # The step of a linear rule is as long as its gradients together.
        huge = AWKWARD | st.sampled_from([1e37, -1e37] if rule in ("sgd", "momentum") else [1e30, 3e38, -3e38])
        ranges = {"learning_rate": (0.0, 0.1), "eps": (1e-6, 1.0)}
        case = data.draw(cases(rule, steps=3, elements=huge, ranges=ranges))
        # Where a variance may vanish the true quotient is 1 / eps, beyond float16.
        narrow = any(x.dtype == np.float16 for x in jax.tree.leaves(case.params))
        assume(not (case.form.has("centered") and narrow))
        with case.world():
            state, update = case.init(case.numbers, case.params), self.variant(case.update)
            for g in case.grads:
                updates, state = update(case.numbers, g, state, case.params)
                chex.assert_tree_all_finite((updates, state))

    @variants(with_jit=True, without_jit=True)
    @each
    @settings(max_examples=4)
    @given(data=st.data())
    def test_odd_to_the_bit(self, rule: str, data: st.DataObject) -> None:
        case = data.draw(cases(rule, dtypes=LOW))
        update = self.variant(case.update)
        there = case.walk(update, case.grads, case.params)
        back = case.walk(update, negated(case.grads), negated(case.params))
        chex.assert_trees_all_equal([u for u, _ in back], negated([u for u, _ in there]))

    @variants(with_jit=True, without_jit=True)
    @each
    @settings(max_examples=4)
    @given(data=st.data())
    def test_zero_gradients_rest(self, rule: str, data: st.DataObject) -> None:
        case = data.draw(cases(rule, ranges=NO_DECAY))
        with case.world():
            zero = jax.tree.map(jnp.zeros_like, case.params)
            for updates, state in case.walk(self.variant(case.update), [zero, zero], case.params):
                chex.assert_trees_all_equal(updates, zero)
                chex.assert_tree_all_finite(state)

    @variants(with_jit=True)
    @each
    @settings(max_examples=3)
    @given(data=st.data())
    def test_the_derivative_of_an_update_is_finite(self, rule: str, data: st.DataObject) -> None:
        case = data.draw(
            cases(rule, dtypes=("bfloat16", "float32"), elements=MILD | st.just(0.0), ranges={"eps": (1e-6, 1.0)})
        )

        def total(values: Any, grads: Any) -> Any:
            updates = [
                u.astype(jnp.float32).sum()
                for u in jax.tree.leaves([u for u, _ in case.run(values, grads, case.params)])
            ]
            return jnp.sum(jnp.stack([*updates, jnp.float32(0)]))

        values = {name: jnp.float32(value) for name, value in case.numbers.items()}
        grads = jax.tree.map(jnp.asarray, case.grads)
        chex.assert_tree_all_finite(self.variant(jax.grad(total, argnums=(0, 1)))(values, grads))

    @variants(with_jit=True, with_device=True)
    @each
    @settings(max_examples=4)
    @given(data=st.data())
    def test_an_error_in_one_number_stays_there(self, rule: str, data: st.DataObject) -> None:
        case = data.draw(cases(rule, dtypes=LOW))
        bad = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
        leaves, treedef = jax.tree.flatten(case.grads[0])
        hit = [(i, index) for i, x in enumerate(leaves) for index in np.ndindex(x.shape)]
        assume(hit)
        i, index = data.draw(st.sampled_from(hit))
        broken = [x.copy() for x in leaves]
        broken[i][index] = bad
        update = self.variant(case.update)
        good = case.walk(update, case.grads, case.params)
        spoilt = case.walk(update, [treedef.unflatten(broken), *case.grads[1:]], case.params)
        for (expected, _), (got, _) in zip(good, spoilt, strict=True):
            for j, (a, b) in enumerate(zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True)):
                a, b = np.array(a), np.array(b)
                if j == i:
                    a[index] = b[index] = 0
                chex.assert_trees_all_equal(a, b)
        assert not np.isfinite(np.asarray(jax.tree.leaves(spoilt[0][0])[i]))[index]


# The numbers of each form ---------------------------------------------------------------------------------


@each_form
@settings(max_examples=12)
@given(data=st.data(), grads=awkward_of)
def test_it_computes_the_printed_equations(form: Form, data: st.DataObject, grads: np.ndarray) -> None:
    values = data.draw(numbers(form, TAME))
    equations, known = ("w <- w - lr g",), {"momentum": 0.0} | values
    if form.rule != "sgd":
        row = optim.convention(form.convention, form.rule)
        equations, known = row.equations, {"momentum": 0.0} | dict(row.defaults) | values
    ways = [name for name, on in form.options if on is True]
    ways += ["coupled"] if form.rule == "adam" and not form.has("decoupled") else []
    rate = known.pop("learning_rate")
    expected = Oracle(equations, ways).run(known, list(grads.astype(float)), lambda _: rate, W.astype(float))
    with jax.enable_x64(True):
        updates = flat_run(form)(values, jnp.asarray(grads, jnp.float64), jnp.asarray(W, jnp.float64))[0]
    got = W + np.cumsum(np.asarray(updates), axis=0)
    size = np.abs(expected).max(axis=0).clip(1e-300)
    chex.assert_trees_all_close(got / size, expected / size, atol=2e-11)


def unflushed(grads: np.ndarray) -> np.ndarray:
    """Without the numbers whose product with a rate float32 may flush to 0, the one and not its double."""
    return np.where(np.abs(grads) < 1e-20, np.float32(0), grads)


@each_rule
@some
@given(data=st.data(), grads=grads_of, k=st.integers(-8, 8))
def test_linear_in_the_learning_rate(rule: str, data: st.DataObject, grads: np.ndarray, k: int) -> None:
    grads = unflushed(grads)
    form = data.draw(forms_of(rule))
    # A decay reads the parameters, which the rate moves.
    values = data.draw(numbers(form, NO_DECAY | {"learning_rate": (2**-10, 1.0)}))
    scaled = values | {"learning_rate": 2.0**k * values["learning_rate"]}
    once, other = (flat_run(form)(numbers, grads, W)[0] for numbers in (values, scaled))
    chex.assert_trees_all_equal(other, 2.0**k * once)


@each_rule
@some
@given(data=st.data(), grads=grads_of, k=st.integers(-8, 8))
def test_the_unit_of_the_gradient(rule: str, data: st.DataObject, grads: np.ndarray, k: int) -> None:
    """A linear rule's step grows with it; an adaptive rule's stays, if eps and the accumulator are in that unit too."""
    form = data.draw(forms_of(rule))
    values = data.draw(numbers(form, NO_DECAY | {"eps": (1e-4, 1.0), "learning_rate": (1e-3, 1.0)}))
    grads = np.where(np.abs(grads) < 1e-6, 0, grads).astype(np.float32)
    unit, scaled = 2.0**k, dict(values)
    if "eps" in values:
        inside = rule != "adam" and form.choice("eps_inside")
        scaled["eps"] *= unit**2 if inside else unit
    if "initial_accumulator" in values:
        scaled["initial_accumulator"] *= unit**2
    once, other = flat_run(form)(values, grads, W)[0], flat_run(form)(scaled, unit * grads, W)[0]
    chex.assert_trees_all_equal(other, once if "eps" in values else unit * once)


@each_rule
@some
@given(data=st.data(), grads=awkward_of, order=st.permutations(range(SIZE)))
def test_the_order_of_elements_is_no_matter(
    rule: str, data: st.DataObject, grads: np.ndarray, order: list[int]
) -> None:
    form = data.draw(forms_of(rule))
    values = data.draw(numbers(form))
    updates = np.asarray(flat_run(form)(values, grads, W)[0])
    chex.assert_trees_all_equal(flat_run(form)(values, grads[:, order], W[order])[0], updates[:, order])


@each_rule
@some
@given(data=st.data(), grads=hnp.arrays(np.float32, (2, SIZE), elements=MILD), before=st.integers(0, 3))
def test_the_counter_saturates(rule: str, data: st.DataObject, grads: np.ndarray, before: int) -> None:
    form, last = data.draw(forms_of(rule)), 2**31 - 1
    tx = form.factory(**data.draw(numbers(form)))
    state = tx.init(jnp.asarray(W))._replace(count=jnp.int32(last - before))
    for step, g in enumerate(grads, start=1):
        updates, state = tx.update(jnp.asarray(g), state, jnp.asarray(W))
        chex.assert_tree_all_finite(updates)
        assert state.count == min(last, last - before + step)


@jax.jit
def _weights(beta: Array, t: Array) -> Array:
    return jax.lax.map(lambda t: average_weight(beta, t), t)


@settings(max_examples=25)
@given(beta=reals(0.001, 0.999))
def test_a_constant_weighs_an_average_with_the_bits_of_a_traced_number(beta: float) -> None:
    first = average_weight(jnp.float32(beta), jnp.int32(1))
    t = jnp.arange(1, 65)
    constant = jax.jit(lambda t: jax.lax.map(lambda t: average_weight(jnp.float32(beta), t), t))(t)
    chex.assert_trees_all_equal(constant, _weights(jnp.float32(beta), t))
    np.testing.assert_allclose(first, 1 - beta, rtol=1e-6)


@each_rule
@settings(max_examples=4)
@given(data=st.data(), seed=st.integers(0, 999), whole=st.booleans())
def test_constants_have_the_bits_of_traced_numbers(rule: str, data: st.DataObject, seed: int, whole: bool) -> None:
    form = data.draw(forms_of(rule))
    # A rate of 1 that is a constant drops out of a product, and other terms are then added without rounding.
    values = data.draw(numbers(form, TAME)) | ({"learning_rate": 1.0} if whole else {})
    w, *grads = np.random.default_rng(seed).normal(size=(5, 64)).astype(np.float32)
    state = jax.tree.map(lambda x: x[-1], flat_run(form)(values, np.stack(grads), w)[1])
    constant = jax.jit(form.factory(**values).update)(grads[0], state, w)
    chex.assert_trees_all_equal(constant, one_update(form)(values, grads[0], state, w))
