"""What every update rule shares: one pass over the leaves, checks, accumulators, the learning rate.

A rule is a function of one leaf, (g, slots..., w) to (change of w, slots...), written in the paper's
letters. Numbers enter it in the accumulator's dtype, so that a Python float, a NumPy scalar and a traced
value of the same float32 give the same bits.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fnn.errors import check_scalar, is_zero, message
from fnn.tree import named_leaves
from fnn.typing import Array, DType, LearningRate, Params, Scalar

Numbers = Callable[[Scalar], Array]


def check_learning_rate(learning_rate: LearningRate) -> None:
    """Refuses a learning rate that is neither a schedule nor one finite number >= 0.

    Example:
        >>> check_learning_rate(0.1)
    """
    if not callable(learning_rate):
        check_scalar("learning_rate", learning_rate, 0, remedy="Give a number, a traced scalar or an Optax schedule.")


def rate_at(learning_rate: LearningRate, count: Array) -> Scalar:
    """The learning rate of the update that `count` updates came before: `schedule(count)`, or the number.

    Example:
        >>> rate_at(lambda t: 0.1 / (1 + t), 1)
        0.05
    """
    return learning_rate(count) if callable(learning_rate) else learning_rate


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


def leafwise(
    rule: Callable[..., Sequence[Array]], grads: Any, *slots: Any, params: Params | None = None
) -> tuple[Any, ...]:
    """Applies a rule to all leaves, in one pass: the changes of the parameters, then the new slots.

    The rule is called as `rule(number, g, *slots, w)`, all in the accumulator's dtype; `number` turns a
    hyperparameter into a scalar of that dtype; w is None where there are no parameters. The change comes
    back in the parameter's dtype (in the gradient's without parameters).

    Raises:
        ValueError: the trees differ, or a gradient's shape differs from its parameter's: none is broadcast.

    Example:
        >>> leafwise(lambda number, g, w: (-number(0.5) * g,), {"w": jnp.array([2.0])})
        ({'w': Array([-1.], dtype=float32)},)
    """
    like = slots[0] if slots else grads if params is None else params
    _check_gradients(grads, like)
    treedef = jax.tree.structure(grads)
    columns = [jax.tree.leaves(tree) for tree in (grads, *slots)]
    weights = [None] * treedef.num_leaves if params is None else jax.tree.leaves(params)
    rows = [_apply(rule, w, *row) for w, *row in zip(weights, *columns, strict=True)]
    results = zip(*rows, strict=True) if rows else ([] for _ in range(1 + len(slots)))
    return tuple(jax.tree.unflatten(treedef, list(column)) for column in results)


def square(g: Array) -> Array:
    """|g|^2, real and never infinite for a finite g: an overflow would freeze its weight for good.

    Example:
        >>> square(jnp.array([3.0, 1e30]))
        Array([9.0000000e+00, 3.4028235e+38], dtype=float32)
    """
    magnitude = jnp.abs(g) if jnp.iscomplexobj(g) else g
    return jnp.minimum(jnp.square(magnitude), jnp.finfo(magnitude.dtype).max)


def root(v: Array) -> Array:
    """sqrt(v), whose derivative at 0 is taken as 0: no NaN when an update is differentiated.

    Example:
        >>> jax.grad(root)(0.0)
        Array(0., dtype=float32, weak_type=True)
    """
    positive = v > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, v, 1)), jnp.where(jnp.isnan(v), v, 0))


def average_weight(beta: Array, t: Array) -> Array:
    """1 - beta^t, the weight that t steps of an exponential average have gathered, without cancellation.

    Example:
        >>> float(abs(average_weight(jnp.float32(0.999), 1) / (1 - jnp.float32(0.999)) - 1)) < 2e-7
        True
    """
    # log 0 is -inf, and its multiples give weight 1: right for beta = 0.
    return -jnp.expm1(jnp.asarray(t, beta.dtype) * jnp.log(beta))


def _apply(rule: Callable[..., Sequence[Array]], w: Array | None, g: Array, *slots: Array) -> list[Array]:
    out = jnp.asarray(g if w is None else w).dtype
    wide = jnp.promote_types(out, jnp.float32)

    def number(value: Scalar) -> Array:
        return jnp.asarray(value, jnp.finfo(wide).dtype)

    change, *new = rule(number, jnp.asarray(g, wide), *slots, None if w is None else jnp.asarray(w, wide))
    return [change.astype(out), *(n.astype(s.dtype) for n, s in zip(new, slots, strict=True))]


def _check_gradients(grads: Any, like: Any) -> None:
    expected, got = named_leaves(like), named_leaves(grads)
    if jax.tree.structure(grads) != jax.tree.structure(like):
        differ = sorted(set(expected) ^ set(got)) or ["its containers"]
        raise ValueError(message("grads", f"another tree (differs in {', '.join(differ[:4])})", "the parameters' tree"))
    for name, g in got.items():
        where = f"gradient of '{name}'"
        if np.shape(g) != np.shape(expected[name]):
            raise ValueError(
                message(where, f"shape {np.shape(g)}", f"shape {np.shape(expected[name])}, its parameter's")
            )
        if _is_complex(g) and not _is_complex(expected[name]):
            raise TypeError(message(where, "complex numbers", "real ones, as its parameter"))


def _is_complex(x: Any) -> bool:
    dtype: DType = jnp.asarray(x).dtype
    return bool(jnp.issubdtype(dtype, jnp.complexfloating))
