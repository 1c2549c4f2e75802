"""What every update rule shares: one pass over the leaves, checks, accumulators, the learning rate.

A rule is a function of one leaf, (g, slots..., w) to (change of w, slots...), written in the paper's
letters. Numbers enter it in the accumulator's dtype, so that a Python float, a NumPy scalar and a traced
value of the same float32 give the same bits.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fnn.errors import check_scalar, is_zero, message
from fnn.tree import named_leaves, path_name
from fnn.typing import Array, DType, LearningRate, Params, Scalar

Rule = Callable[..., Sequence[Any]]


class Numbers:
    """The hyperparameters of one update as arrays of a dtype, each made once for all leaves.

    Example:
        >>> number = Numbers(jnp.dtype("float32"))
        >>> number(0.5), number.of(jnp.add, number(0.5), number(1))
        (Array(0.5, dtype=float32), Array(1.5, dtype=float32))
    """

    def __init__(self, dtype: DType) -> None:
        self._dtype = dtype
        self._made: dict[Any, tuple[Any, Array]] = {}

    def __call__(self, value: Scalar) -> Array:
        """This hyperparameter."""
        # Behind the barrier XLA computes with a constant as with any other number: the same bits.
        return self._once((id(value),), value, lambda: jax.lax.optimization_barrier(jnp.asarray(value, self._dtype)))

    def of(self, function: Callable[..., Array], *numbers: Array) -> Array:
        """A number that follows from others, computed once: in each leaf it would be a loop of its own."""
        return self._once((function, *map(id, numbers)), numbers, lambda: function(*numbers))

    def _once(self, key: Any, kept: Any, make: Callable[[], Array]) -> Array:
        # What it is made of is kept, so that nothing else gets its id.
        if key not in self._made:
            self._made[key] = kept, make()
        return self._made[key][1]


def check_learning_rate(learning_rate: LearningRate) -> None:
    """Refuses a learning rate that is neither one finite number >= 0 nor a schedule that starts with one.

    Example:
        >>> check_learning_rate(0.1)
    """
    rate, remedy = learning_rate, "Give a number, a traced scalar or an Optax schedule."
    if callable(learning_rate):
        rate, remedy = learning_rate(no_updates()), "It is the schedule's rate at step 0."
    check_scalar("learning_rate", rate, 0, remedy=remedy)


def rate_at(learning_rate: LearningRate, count: Array) -> Scalar:
    """The learning rate of the update that `count` updates came before: `schedule(count)`, or the number.

    Example:
        >>> rate_at(lambda t: 0.1 / (1 + t), jnp.array(1))
        Array(0.05, dtype=float32, weak_type=True)
    """
    if not callable(learning_rate):
        return learning_rate
    rate = learning_rate(count)
    if np.shape(rate) != ():
        got = f"a schedule that gives an array of shape {np.shape(rate)}"
        raise ValueError(message("learning_rate", got, "a schedule that gives one number"))
    return rate


def no_updates() -> Array:
    """A counter of updates at 0: int32, of a strong type.

    Example:
        >>> no_updates()
        Array(0, dtype=int32)
    """
    return jnp.zeros((), jnp.int32)


def one_more(count: Array) -> Array:
    """The counter after one more update; it stays at the largest int32 instead of wrapping.

    Example:
        >>> one_more(no_updates())
        Array(1, dtype=int32)
    """
    return jnp.asarray(optax.safe_increment(count))


def accumulators(params: Params, fill: Scalar = 0.0, *, real: bool = False) -> Params:
    """A tree like params, filled with one number, in float32 or wider; real for |g|^2 of complex g.

    Example:
        >>> accumulators({"w": jnp.ones(2, jnp.bfloat16)})
        {'w': Array([0., 0.], dtype=float32)}
    """

    def leaf(w: Array) -> Array:
        dtype = jnp.promote_types(w.dtype, jnp.float32)
        dtype = jnp.finfo(dtype).dtype if real else dtype
        # zeros_like keeps the parameter's sharding.
        return jnp.zeros_like(w, dtype) + jnp.asarray(fill, dtype)

    return jax.tree.map(leaf, params)


def decay_needs_params(weight_decay: Scalar, params: Params | None) -> None:
    """Refuses an update that decays parameters without being given them.

    Example:
        >>> decay_needs_params(0.0, None)
    """
    if params is None and not is_zero(weight_decay):
        raise ValueError(
            message("params", None, "the parameters, which decay", "Call tx.update(grads, state, params).")
        )


def check_own(state: Any, kind: type, **slots: bool) -> None:
    """Refuses the state of another optimizer: of another kind, or with other slots than these.

    Example:
        >>> tx = fnn.optim.rmsprop(0.1, centered=True)
        >>> check_own(tx.init(jnp.zeros(2)), fnn.optim.RmspropState, m=True)
    """
    remedy = "Make it with this optimizer's init."
    if not isinstance(state, kind):
        raise TypeError(message("optimizer state", f"a {type(state).__name__}", kind.__name__, remedy))
    for name, there in slots.items():
        if (getattr(state, name) is not None) != there:
            got, expected = ("none", "one") if there else ("one", "none")
            raise ValueError(message(f"optimizer state, {name}", got, expected, remedy))


def leafwise(rule: Rule, grads: Any, *slots: Any, params: Params | None = None) -> tuple[Any, ...]:
    """Applies a rule to all leaves, in one pass: the changes of the parameters, then the new slots.

    The rule is called as `rule(number, g, *slots, w)`, all in the accumulator's dtype; `number`, a `Numbers`,
    turns a hyperparameter into a scalar of that dtype; w is None where there are no parameters, and a slot that
    is None stays None. The change comes back in the parameter's dtype (in the gradient's without parameters).

    Raises:
        ValueError: the trees differ, or a gradient's shape differs from its parameter's: none is broadcast.

    Example:
        >>> leafwise(lambda number, g, w: (-number(0.5) * g,), {"w": jnp.array([2.0])})
        ({'w': Array([-1.], dtype=float32)},)
    """
    _check_gradients(grads, params, *(slot for slot in slots if slot is not None))
    treedef = jax.tree.structure(grads)

    def column(tree: Any) -> list[Any]:
        return [None] * treedef.num_leaves if tree is None else jax.tree.leaves(tree)

    numbers: dict[DType, Numbers] = {}
    rows = [_apply(rule, numbers, *row) for row in zip(*map(column, (params, grads, *slots)), strict=True)]
    results = zip(*rows, strict=True) if rows else ([] for _ in range(1 + len(slots)))
    trees = (None if old is None else treedef.unflatten(new) for old, new in zip((grads, *slots), results, strict=True))
    return tuple(trees)


def bounded(g: Array) -> Array:
    """g, shortened where |g|^2 would overflow (in float32 above 4.6e18): an infinite average never recovers.

    The bound is a quarter of the root of the largest number, so that differences may be squared too. A
    rule whose step is a quotient of g and its averages makes the same step as with the true g. An infinite
    g becomes NaN: it is an error, and stays one.

    Example:
        >>> bounded(jnp.array([3.0, -1e30]))
        Array([ 3.0000000e+00, -4.6116857e+18], dtype=float32)
    """
    limit = math.sqrt(jnp.finfo(g.dtype).max) / 4
    if jnp.iscomplexobj(g):
        return g * (limit / jnp.maximum(jnp.abs(g), limit))
    # 0 times infinity is NaN; and no division, which would take as long as the rest of a rule.
    return jnp.clip(g, -limit, limit) + 0 * g


def square(g: Array) -> Array:
    """|g|^2, real also of a complex g.

    Example:
        >>> square(jnp.array([3.0 + 4.0j]))
        Array([25.], dtype=float32)
    """
    return jnp.square(g.real) + jnp.square(g.imag) if jnp.iscomplexobj(g) else jnp.square(g)


def root(v: Array) -> Array:
    """sqrt(v), whose derivative at 0 is taken as 0: no NaN when an update is differentiated.

    Example:
        >>> jax.grad(root)(jnp.array(0.0))
        Array(0., dtype=float32, weak_type=True)
    """
    return _root(v)


@jax.custom_jvp
def _root(v: Array) -> Array:
    return jnp.sqrt(v)


@_root.defjvp
def _root_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (v,), (dv,) = primals, tangents
    r = _root(v)
    return r, jnp.where(v > 0, dv / (2 * jnp.where(v > 0, r, 1)), jnp.zeros_like(dv))


def average_weight(beta: Array, t: Array) -> Array:
    """1 - beta^t, the weight that t steps of an exponential average have gathered, without cancellation.

    Example:
        >>> float(abs(average_weight(jnp.array(0.999), jnp.array(1)) / 0.001 - 1)) < 1e-4
        True
    """
    t, positive = jnp.asarray(t, beta.dtype), beta > 0
    # log has no derivative at 0, and there nothing cancels. With t in it no compiler computes the log of a
    # constant beforehand, which it does in other bits.
    log = jnp.log(jnp.where(positive, beta, 1) + 0 * t)
    return jnp.where(positive, -jnp.expm1(t * log), 1 - beta**t)


def _apply(
    rule: Rule, numbers: dict[DType, Numbers], w: Array | None, g: Array, *slots: Array | None
) -> list[Array | None]:
    out = jnp.asarray(g if w is None else w).dtype
    wide = jnp.promote_types(out, jnp.float32)
    real = jnp.finfo(wide).dtype
    number = numbers.setdefault(real, Numbers(real))
    change, *new = rule(number, jnp.asarray(g, wide), *slots, None if w is None else jnp.asarray(w, wide))
    kept = [None if s is None else n.astype(s.dtype) for n, s in zip(new, slots, strict=True)]
    return [change.astype(out), *kept]


def _check_gradients(grads: Any, params: Params | None, *slots: Any) -> None:
    for like in (*slots, *([] if params is None else [params])):
        _check_same_shapes(grads, like)
    weights = jax.tree.leaves(params) or [None] * jax.tree.structure(grads).num_leaves
    for (name, g), w in zip(_gradients(grads), weights, strict=True):
        if not jnp.issubdtype(_dtype(g), jnp.inexact):
            raise TypeError(message(name, f"dtype {_dtype(g)}", "floating-point or complex numbers"))
        if w is not None and _is_complex(g) and not _is_complex(w):
            raise TypeError(message(name, "complex numbers", "real ones, as its parameter"))


def _check_same_shapes(grads: Any, like: Any) -> None:
    if jax.tree.structure(grads) != jax.tree.structure(like):
        differ = sorted(set(named_leaves(grads)) ^ set(named_leaves(like))) or ["its containers"]
        raise ValueError(message("grads", f"another tree (differs in {', '.join(differ[:4])})", "the parameters' tree"))
    for (name, g), w in zip(_gradients(grads), jax.tree.leaves(like), strict=True):
        if np.shape(g) != np.shape(w):
            raise ValueError(message(name, f"shape {np.shape(g)}", f"shape {np.shape(w)}, its parameter's"))


def _gradients(grads: Any) -> list[tuple[str, Any]]:
    named = ((path_name(path), g) for path, g in jax.tree_util.tree_leaves_with_path(grads))
    return [(f"gradient of '{name}'" if name else "gradient", g) for name, g in named]


def _dtype(x: Any) -> DType:
    return x.dtype if hasattr(x, "dtype") else jnp.result_type(x)


def _is_complex(x: Any) -> bool:
    return bool(jnp.issubdtype(_dtype(x), jnp.complexfloating))
