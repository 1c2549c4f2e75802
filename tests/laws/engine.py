"""What the five rules share, as one gradient transformation, with faults of its own that can be planted by name.

Without a fault it obeys every law. A fault is a short name; each is planted in one place, `if fault == ...`, and
`tests/laws/mutants.py` tells what is wrong with it and which laws must break.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np
import optax

from fnn.errors import check_trainable
from fnn.optim.leafwise import bounded

Rule = Callable[..., Sequence[Any]]


class State(NamedTuple):
    """How many updates there were, and one tree for each slot of the rule."""

    steps: Any
    slots: tuple[Any, ...]
    extra: Any = ()


def transform(
    rule: Rule, slots: tuple[type, ...], learning_rate: Any, weight_decay: Any, fault: str
) -> optax.GradientTransformation:
    """The optimizer of a rule of one leaf: (number, g, t, *slots) to (direction, *slots), t from 1.

    A slot of type float holds |g|^2, which is real, and one of type complex what g is. The parameters move by
    -lr (direction + weight_decay w).
    """
    calls, kept = itertools.count(1), []
    make = _local_state() if fault == "state_of_a_local_class" else State
    first_rate = learning_rate(0) if callable(learning_rate) else learning_rate
    if fault == "truth_of_the_decay" and not weight_decay:
        weight_decay = 0.0

    def init(params: Any) -> Any:
        if fault != "integers_taken":
            check_trainable("params", params)
        if fault == "init_reads_values" and not all(bool(jnp.isfinite(w).all()) for w in jax.tree.leaves(params)):
            raise ValueError("params are not finite")
        trees = tuple(jax.tree.map(lambda w, real=slot is float: _zeros(w, real, fault), params) for slot in slots)
        if fault == "one_buffer_for_two":
            trees = trees[:1] * len(trees)
        extra = {"keeps_the_parameters": params, "table_in_the_state": jnp.zeros(1000)}.get(fault, ())
        steps = jnp.asarray(next(calls) - 1, jnp.int32) if fault == "init_counts_its_calls" else _no_steps(fault)
        return make(steps, trees, extra)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        t = _one_more(state.steps, fault)
        if fault == "counts_in_a_closure":
            t = next(calls)
        if fault == "keeps_a_tracer":
            kept.append(t)
        rate = first_rate if fault == "schedule_read_once" else _rate(learning_rate, state.steps, fault)
        decay_rate = first_rate if fault == "decay_ignores_the_schedule" else rate
        updates = _gradients(updates, fault)
        if fault != "broadcasts":
            jax.tree.map(_check_shape, updates, params)
        treedef = jax.tree.structure(params)
        rows = []
        for i, (w, g, *old) in enumerate(zip(*map(jax.tree.leaves, (params, updates, *state.slots)), strict=True)):
            step = t + i if fault == "one_count_for_all_leaves" else t
            rows.append(_leaf(rule, (rate, decay_rate, weight_decay), fault, step, w, g, *old))
        changes, *new = _unzipped(rows, treedef, 1 + len(slots), fault)
        if fault == "updates_in_place":
            changes = _in_place(updates, rate)
        return changes, make(t, tuple(new), state.extra)

    return optax.GradientTransformation(init, update)


def _leaf(rule: Rule, rates: Sequence[Any], fault: str, t: Any, w: Any, g: Any, *slots: Any) -> list[Any]:
    """The change of one parameter, and its new slots; rates of the step, of the decay, and the decay."""
    rate, decay_rate, weight_decay = rates
    wide = w.dtype if fault == "computes_in_the_parameters_dtype" else jnp.promote_types(w.dtype, jnp.float32)

    def number(value: Any) -> Any:
        return jnp.asarray(value, jnp.finfo(wide).dtype)

    direction, *new = rule(
        number, jnp.asarray(g, wide), t, *(jnp.asarray(s, jnp.promote_types(s.dtype, wide)) for s in slots)
    )
    if fault == "calls_back":
        direction = jax.pure_callback(np.asarray, jax.ShapeDtypeStruct(direction.shape, direction.dtype), direction)
    lr, decay = number(rate), number(weight_decay) * jnp.asarray(w, wide)
    change = -(lr * direction + number(decay_rate) * decay)
    if fault in _DECAYS:
        change = _DECAYS[fault](lr, decay, direction, number(weight_decay))
    elif fault == "rate_squared":
        change = -lr * lr * (direction + decay)
    elif fault == "ascends":
        change = lr * (direction + decay)
    elif fault == "hidden_decay":
        change = -lr * (direction + decay + number(1e-4) * w)
    elif fault == "decay_of_matrices_alone" and w.ndim < 2:
        change = -lr * direction
    elif fault == "noise":
        change = change * (1 + number(0.01 * np.random.normal()))  # noqa: NPY002
    elif fault == "rate_of_another_dtype":
        change = -rate * (direction + decay).astype(w.dtype)
    if fault not in ("rate_of_another_dtype", "updates_in_float32"):
        change = change.astype(g.dtype if fault == "updates_in_the_gradients_dtype" else w.dtype)
    if fault == "scalars_become_vectors":
        change = jnp.atleast_1d(change)
    like = [jnp.asarray(g)] * len(new) if fault == "slots_take_the_gradients_dtype" else slots
    kept = [n if fault == "slots_start_in_half" else n.astype(s.dtype) for n, s in zip(new, like, strict=True)]
    return [change, *kept]


_DECAYS: dict[str, Callable[[Any, Any, Any, Any], Any]] = {
    "decay_without_the_rate": lambda lr, decay, u, share: -(lr * u + decay),
    "decay_with_the_rate_twice": lambda lr, decay, u, share: -lr * (u + lr * decay),
    "decay_halved": lambda lr, decay, u, share: -lr * (u + decay / 2),
    "decay_twice": lambda lr, decay, u, share: -lr * (u + 2 * decay),
    "decay_grows": lambda lr, decay, u, share: -lr * (u - decay),
    "decay_after_the_step": lambda lr, decay, u, share: -lr * (u + decay - lr * share * u),
    "decay_through_the_gradient": lambda lr, decay, u, share: -lr * u,
}


def _zeros(w: Any, real: bool, fault: str) -> Any:
    """An accumulator like w, in float32 or wider."""
    dtype = jnp.promote_types(w.dtype, jnp.float32)
    dtype = jnp.finfo(dtype).dtype if real else dtype
    if fault in ("narrow_accumulators", "computes_in_the_parameters_dtype"):
        dtype = w.dtype
    elif fault in ("half_accumulators", "slots_start_in_half"):
        dtype = jnp.dtype(jnp.float16)
    if fault == "zeros_of_a_shape":
        return jnp.zeros(np.shape(w), dtype)
    return jnp.zeros_like(w, dtype)


def _no_steps(fault: str) -> Any:
    starts = {
        "count_is_a_python_int": 0,
        "count_is_weak": jnp.asarray(0),
        "count_is_int8": jnp.zeros((), jnp.int8),
        "count_is_int16": jnp.zeros((), jnp.int16),
        "count_is_of_the_default_int": jnp.zeros((), int),
    }
    return starts.get(fault, jnp.zeros((), jnp.int32))


def _one_more(steps: Any, fault: str) -> Any:
    if fault in ("count_wraps", "count_is_a_python_int", "count_is_weak"):
        return steps + 1
    if fault == "count_wraps_to_64_bits":
        return steps + jnp.ones((), int)
    return optax.safe_increment(steps)


def _rate(learning_rate: Any, steps: Any, fault: str) -> Any:
    if callable(learning_rate):
        rate: Any = learning_rate(steps + 1 if fault == "schedule_ahead" else steps)
        learning_rate = rate * rate if fault == "schedule_used_twice" else rate
    if fault == "rate_by_float":
        return float(learning_rate)
    if fault == "rate_without_derivative":
        return jax.lax.stop_gradient(learning_rate)
    if fault == "rate_in_float32":
        return jnp.asarray(learning_rate, jnp.float32)
    return learning_rate


def _gradients(updates: Any, fault: str) -> Any:
    """What a fault makes of the gradients before the rule sees them."""
    leaves = jax.tree.leaves(updates)
    if fault in _GRADIENTS:
        return jax.tree.map(_GRADIENTS[fault], updates)
    if fault == "clips_by_the_norm_of_all":
        norm = jnp.sqrt(sum(jnp.sum(jnp.square(g)) for g in leaves))
        return jax.tree.map(lambda g: (g / jnp.maximum(norm, 1)).astype(g.dtype), updates)
    if fault == "clips_without_jit" and not any(isinstance(g, jax.core.Tracer) for g in leaves):
        return jax.tree.map(lambda g: jnp.clip(g, -1, 1) if jnp.size(g) and jnp.abs(g).max() > 1 else g, updates)
    return updates


def _first_row_is_padding(g: Any) -> Any:
    return jnp.asarray(g).at[0].set(0) if np.ndim(g) and np.shape(g)[0] else g


_GRADIENTS: dict[str, Callable[[Any], Any]] = {
    "clips_at_one": lambda g: jnp.clip(g, -1, 1),
    "centralizes": lambda g: g - jnp.mean(g) if jnp.size(g) else g,
    "norm_of_the_leaf": lambda g: (g / (1e-6 + jnp.linalg.norm(jnp.ravel(g)))).astype(g.dtype),
    "computes_with_numpy": lambda g: np.asarray(g),
    "nan_spreads": lambda g: g + 0 * jnp.sum(g),
    "first_row_is_padding": _first_row_is_padding,
    "halves_in_a_loop": lambda g: jax.lax.while_loop(lambda x: (jnp.abs(x) > 1e18).any(), lambda x: x / 2, bounded(g)),
}


def _check_shape(g: Any, w: Any) -> None:
    if np.shape(g) != np.shape(w):
        raise ValueError(f"gradient: got shape {np.shape(g)}, expected {np.shape(w)}")


def _unzipped(rows: list[list[Any]], treedef: Any, n: int, fault: str) -> list[Any]:
    """The trees of changes and slots."""
    if fault == "tuples_taken_for_leaves":
        tree = treedef.unflatten([tuple(row) for row in rows])
        return [jax.tree.map(lambda x, i=i: x[i], tree, is_leaf=lambda x: isinstance(x, tuple)) for i in range(n)]
    if fault == "lists_for_trees":
        return [[row[i] for row in rows] if i == 0 else treedef.unflatten([row[i] for row in rows]) for i in range(n)]
    if fault == "empty_leaves_dropped":
        rows = [[jnp.zeros(0) if x.size == 0 else x for x in row] for row in rows]
    return [treedef.unflatten([row[i] for row in rows]) for i in range(n)]


def _in_place(updates: Any, rate: Any) -> Any:
    """The step of gradient descent written into the gradients, where they are NumPy's."""

    def leaf(g: Any) -> Any:
        if isinstance(g, np.ndarray):
            g *= -rate
            return g
        return -rate * g

    return jax.tree.map(leaf, updates)


def _local_state() -> Any:
    class Local(NamedTuple):
        steps: Any
        slots: tuple[Any, ...]
        extra: Any = ()

    return Local
