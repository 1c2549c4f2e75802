"""Gradients of a batch as the sum over its micro-batches."""

import contextlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.data import WeightedBatch
from fnn.data.batch import batch_parts
from fnn.errors import concrete, message, values_behind
from fnn.optim.leafwise import accumulators
from fnn.typing import Array, Batch, Key, Params, State

Backward = Callable[[Params, State, Batch, Key | None], Any]


def accumulated(backward: Backward, parts: int, *, weighted: bool) -> Backward:
    """`backward` over micro-batches one after another, equal to one pass over the whole batch.

    Each micro-batch counts by its share of the examples (of their weights), so that unequal ones add up
    right. Noise is folded by the micro-batch's number; the network's state goes from one to the next.
    Gradients add up in float32 or wider.

    Args:
        backward: (params, state, batch, key) to ((loss, (state, metrics)), gradients).
        parts: how many micro-batches.
        weighted: whether `backward` heeds weights: then the last micro-batch is filled up where `parts`
            does not divide the batch; otherwise that is an error.

    Example:
        >>> def backward(w, state, batch, key):
        ...     return jax.value_and_grad(lambda w: (jnp.mean(batch[0] * w), (state, {})), has_aux=True)(w)
        >>> (loss, _), g = accumulated(backward, 2, weighted=False)(jnp.array(2.0), {}, (jnp.arange(4.0),), None)
        >>> float(loss), float(g)
        (3.0, 1.5)
    """

    def whole(params: Params, state: State, batch: Batch, key: Key | None) -> Any:
        targets = concrete(batch_parts(batch)[1]) if weighted else None
        micro, shares = _cut(batch, parts, weighted)

        def one(carry: tuple[State, Params], numbered: tuple[Array, Batch, Array]) -> tuple[Any, Any]:
            (state, total), (number, part, share) = carry, numbered
            noise = None if key is None else jax.random.fold_in(key, number)
            with contextlib.nullcontext() if targets is None else values_behind(part.y, targets):
                (loss, (state, metrics)), grads = backward(params, state, part, noise)
            total = jax.tree.map(lambda sum_, g: sum_ + (share * g).astype(sum_.dtype), total, grads)
            return (state, total), jax.tree.map(lambda a: share * a, (loss, metrics))

        start = (state, accumulators(params))
        (state, total), terms = jax.lax.scan(one, start, (jnp.arange(parts), micro, shares))
        loss, metrics = jax.tree.map(lambda a: jnp.sum(a, axis=0), terms)
        return (loss, (state, metrics)), jax.tree.map(lambda g, w: g.astype(w.dtype), total, params)

    return whole


def _cut(batch: Batch, parts: int, weighted: bool) -> tuple[Batch, Array]:
    sizes = {np.shape(a)[:1] for a in jax.tree.leaves(batch)}
    if len(sizes) != 1 or sizes & {(), (0,)}:
        raise ValueError(message("batch", f"leading axes {sorted(sizes)}", "one leading axis, that of the examples"))
    ((examples,),) = sizes
    if parts > examples:
        raise ValueError(message("accumulate", parts, f"at most the {examples} examples of a batch"))
    if examples % parts and not weighted:
        remedy = "Choose a batch size that it divides, or a loss_fn that heeds weights (fnn.train.supervised)."
        raise ValueError(message("accumulate", parts, f"a divisor of the batch's {examples} examples", remedy))
    size = -(-examples // parts)
    if weighted:
        batch = _filled(batch, parts * size)
    cut = jax.tree.map(lambda a: a.reshape(parts, size, *a.shape[1:]), batch)
    counts = cut.weight.sum(axis=1) if weighted else jnp.full(parts, size, jnp.float32)
    return cut, counts / counts.sum()


def _filled(batch: Batch, size: int) -> WeightedBatch:
    # Fillers are the batch's own examples again, with weight 0.
    x, y, *weight = (jnp.asarray(a) for a in batch)
    counts = weight[0] if weight else jnp.ones(len(x), jnp.float32)
    place = np.arange(size)
    again = place % len(x)
    return WeightedBatch(x[again], y[again], jnp.where(place < len(x), counts[again], 0))
