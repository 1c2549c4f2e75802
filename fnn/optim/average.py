"""The average of the weights along the way."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fnn.errors import check_count, check_scalar, check_trainable, message
from fnn.optim.leafwise import average_weight, check_own, no_updates, one_more
from fnn.tree import named_leaves
from fnn.typing import Array, DType, OptState, Params, Scalar


class AverageState(NamedTuple):
    """An optimizer's state, and the average of the parameters beside it.

    Attributes:
        count: the number of updates.
        average: of the parameters after each update, in float32 or wider; before any, the first parameters.
        inner: the state of the optimizer itself.
    """

    count: Array  # pyright: ignore[reportIncompatibleMethodOverride]
    average: Params
    inner: OptState


def with_average(
    tx: optax.GradientTransformation, decay: Scalar | None = 0.999, *, start: int = 0, every: int = 1
) -> optax.GradientTransformationExtraArgs:
    """An optimizer that keeps an average of the parameters too: `a <- a + (1 - d) / (1 - d^t) (w_t - a)`.

    w_t are the parameters after update t, counted from 1. The average is exponential and bias-corrected:
    `a_t = (1 - d) / (1 - d^t) sum_i d^(t - i) w_i`, weights that sum to 1, so that the first parameters do
    not count. It reaches back over about 1 / (1 - d) updates, and is often better than the last parameters,
    which jump about by the noise of a batch. The updates are those of tx; `average_of` reads the average.

    With `decay=None` all count alike, `a <- a + (w_t - a) / t`, the limit d = 1: stochastic weight averaging,
    `with_average(tx, None, start=..., every=steps)` with a learning rate that stays high or cycles. Running
    statistics are then taken anew: `fnn.train.refresh_statistics`.

    Args:
        tx: the optimizer, a whole chain: what changes its updates afterwards is not seen.
        decay: d, the share of the average that stays, in [0, 1); it may be traced. None weighs all alike.
        start: how many updates come before the average; until then it is the parameters themselves.
        every: the average takes one of so many updates, such as the last of each epoch; t counts those it takes.

    Returns:
        An optimizer with an `AverageState`.

    Raises:
        ValueError: decay is outside [0, 1), start is below 0, every below 1, or an update without parameters.
        TypeError: tx is no optimizer, or a parameter has no gradient.

    Example:
        >>> tx = with_average(fnn.optim.sgd(1.0), decay=0.5)
        >>> w = jnp.array(0.0)
        >>> state = tx.init(w)
        >>> for g in (-3.0, -3.0):
        ...     updates, state = tx.update(jnp.array(g), state, w)
        ...     w = optax.apply_updates(w, updates)
        >>> print(w, average_of(state, w))
        6.0 5.0

    Source: Polyak and Juditsky 1992, "Acceleration of stochastic approximation by averaging"; with these
    weights, Kingma and Ba 2015, "Adam", section 7.2; of equal ones, Izmailov et al. 2018, "Averaging weights
    leads to wider optima and better generalization", algorithm 1.
    """
    if not (callable(getattr(tx, "init", None)) and callable(getattr(tx, "update", None))):
        name = getattr(tx, "__name__", f"a {type(tx).__name__}")
        raise TypeError(message("tx", name, "an optimizer", "Make one: with_average(fnn.optim.adam(1e-3))."))
    if decay is not None:
        check_scalar("decay", decay, 0, 1, remedy="It is the share of the average that stays: 0.999.")
    check_count("start", start, minimum=0)
    check_count("every", every)
    inner = optax.with_extra_args_support(tx)

    def init(params: Params) -> AverageState:
        check_trainable("params", params)
        return AverageState(no_updates(), jax.tree.map(_widened, params), inner.init(params))

    def update(
        updates: Params, state: AverageState, params: Params | None = None, **extra: Any
    ) -> tuple[Params, AverageState]:
        check_own(state, AverageState)
        if params is None:
            remedy = "Call tx.update(grads, state, params)."
            raise ValueError(message("params", None, "the parameters, which are averaged", remedy))
        updates, inner_state = inner.update(updates, state.inner, params, **extra)
        t = one_more(state.count)

        def averaged(a: Array, w: Array) -> Array:
            share = _share(decay, t, start, every, jnp.finfo(a.dtype).dtype)
            return a + share * (w.astype(a.dtype) - a)

        average = jax.tree.map(averaged, state.average, optax.apply_updates(params, updates))
        return updates, AverageState(t, average, inner_state)

    return optax.GradientTransformationExtraArgs(init, update)  # pyright: ignore[reportArgumentType]


def average_of(opt_state: OptState, params: Params) -> Params | None:
    """The average of the parameters that an optimizer's state holds, at any depth, in their dtype.

    Args:
        opt_state: the state of `with_average(...)`, also inside a chain or `with_hyperparams`.
        params: the parameters, which say what dtype each leaf has.

    Returns:
        A tree like params, or None where the optimizer keeps no average.

    Raises:
        ValueError: the average is of other parameters.

    Example:
        >>> w = jnp.zeros(2, jnp.bfloat16)
        >>> average_of(with_average(fnn.optim.adam(1e-3)).init(w), w)
        Array([0, 0], dtype=bfloat16)
        >>> average_of(fnn.optim.adam(1e-3).init(w), w)
    """
    for node in jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, AverageState)):
        if isinstance(node, AverageState):
            _check_same(node.average, params)
            return jax.tree.map(lambda a, w: a.astype(w.dtype), node.average, params)
    return None


def _share(decay: Scalar | None, t: Array, start: int, every: int, dtype: DType) -> Array:
    """How much of the parameters after update t enters the average."""
    n = jnp.maximum((t - start) // every, 1)
    if decay is None:
        share = 1 / n.astype(dtype)
    else:
        d = jnp.asarray(decay, dtype)
        share = (1 - d) / average_weight(d, n)
    if every > 1:
        share = jnp.where((t - start) % every == 0, share, 0)
    return jnp.where(t <= start, 1, share) if start else share


def _widened(w: Array) -> Array:
    # A copy: the parameters may be donated beside it.
    return jnp.array(w, jnp.promote_types(w.dtype, jnp.float32), copy=True)


def _check_same(average: Params, params: Params) -> None:
    kept, given = ({name: np.shape(leaf) for name, leaf in named_leaves(tree).items()} for tree in (average, params))
    differ = sorted({name for name, _ in kept.items() ^ given.items()})
    if differ or jax.tree.structure(average) != jax.tree.structure(params):
        got = f"another tree (differs in {', '.join(differ[:4]) or 'its containers'})"
        raise ValueError(message("params", got, "the parameters whose average is kept"))
