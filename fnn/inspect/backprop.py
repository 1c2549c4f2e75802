"""Back-propagation as data: every quantity of it, by layer."""

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from fnn.contract import applied
from fnn.data.batch import batch_parts, weighted_mean
from fnn.errors import check_callable, message
from fnn.inspect.tap import Forward, Site
from fnn.inspect.trace import ByLayer, Trace
from fnn.tree import cast
from fnn.typing import Array, Batch, Key, Loss, Params, State


def backprop(
    net: Any,
    loss: Loss,
    params: Params,
    state: State,
    batch: Batch,
    *,
    train: bool = True,
    key: Key | None = None,
) -> Trace:
    """One batch through a network, forward and backward, with everything in between, by layer.

    `z^l = a^(l-1) W^l + b^l`, `a^l = f(z^l)`, `delta^l = dL/dz^l`, `dW^l = a^(l-1)^T delta^l`; L is the mean of
    the loss over the batch, without penalties. It is the derivative that `jax.grad` takes, in one pass, and runs
    inside `jit`, `vmap` and `scan`.

    Every layer of `sequential` and of `residual` is seen, whoever wrote it, however deep; what an activation
    layer does is told as `a` of the layer before it. A network of another kind, or what a layer does in a loop of its
    own, is seen as one layer. What is called again is told again, as "dense_0@2", and so is the second array of a
    layer that gives several; an output of integers has delta 0.

    Args:
        net: a network, an `fnn.nn.Layer` or anything with such an `apply`.
        loss: (outputs, targets) to one value an example.
        params: its parameters.
        state: its state, {} where there is none.
        batch: a `Dataset`, a pair (x, y), or a `WeightedBatch`, whose mean is the weighted one.
        train: whether layers such as batch normalization act as in training.
        key: for the noise of a network that draws some in training; `fnn.keys.for_step(state.key, state.step)` is
            that of a step of `fnn.train`.

    Returns:
        A `Trace`: `trace.loss`, `trace.gradient`, and for each layer by its path the `Signals` z, a, delta, da,
        dw and db: `trace["dense_0"].delta`.

    Raises:
        TypeError: net without `apply`, or a loss that is no function.
        ValueError: a batch of unequal lengths, a loss that does not give one value an example.

    Example:
        A 2-2-1 network by hand. z = (1 0.5 + 2 0.25, 1 (-1) + 2 0.25) = (1, -0.5), so a = (1, 0) and y = 2.
        L = (2 - 1)^2, dL/dy = 2 (2 - 1) = 2; back through W2 = (2, 1) that is da = (4, 2), and the second unit,
        whose z is negative, passes nothing on: delta = (4, 0).

        >>> net = fnn.nn.mlp([2, 1])
        >>> params = {
        ...     "dense_0": {"w": jnp.array([[0.5, -1.0], [0.25, 0.25]]), "b": jnp.zeros(2)},
        ...     "dense_1": {"w": jnp.array([[2.0], [1.0]]), "b": jnp.zeros(1)},
        ... }
        >>> batch = fnn.data.Dataset(jnp.array([[1.0, 2.0]]), jnp.array([[1.0]]))
        >>> trace = backprop(net, fnn.losses.squared_error, params, {}, batch)
        >>> trace["dense_0"].z.tolist(), trace["dense_0"].a.tolist(), trace["dense_1"].z.tolist()
        ([[1.0, -0.5]], [[1.0, 0.0]], [[2.0]])
        >>> trace["dense_1"].delta.tolist(), trace["dense_0"].da.tolist(), trace["dense_0"].delta.tolist()
        ([[2.0]], [[4.0, 2.0]], [[4.0, 0.0]])
        >>> trace["dense_0"].dw.tolist(), trace["dense_0"].db.tolist(), trace["dense_1"].dw.tolist()
        ([[4.0, 0.0], [8.0, 0.0]], [4.0, 0.0], [[2.0], [0.0]])

    Source: Rumelhart, Hinton and Williams 1986, "Learning representations by back-propagating errors";
    Goodfellow et al. 2016, "Deep Learning", algorithms 6.3 and 6.4.
    """
    if not callable(getattr(net, "apply", None)):
        remedy = "Make one: fnn.nn.mlp; wrap a Flax module: fnn.interop.from_linen."
        raise TypeError(message("net", f"a {type(net).__name__}", "a network with apply", remedy))
    check_callable("loss", loss, "a function (outputs, targets) -> one value per example")
    x, y, weight = batch_parts(batch)

    def whole(params: Params, state: State, x: Array, key: Key | None) -> Array:
        return applied(net, params, state, x, train, key)[0]

    forward = Forward(whole, params, state, x, key)
    # Where a 0 is added to an output, the derivative by that 0 is the derivative by the output.
    smooth = [jnp.issubdtype(site.shape.dtype, jnp.inexact) for site in forward.sites]
    zeros = [jnp.zeros_like(site.shape) if s else None for site, s in zip(forward.sites, smooth, strict=True)]

    def objective(params: Params, zeros: list[Array | None]) -> tuple[Array, list[Array]]:
        seen: list[Array] = []

        def tap(zero: Array | None, value: Array) -> Array:
            seen.append(value)
            return value if zero is None else value + zero

        outputs = forward([partial(tap, zero) for zero in zeros], params, state, x, key)
        values = loss(cast(outputs, jnp.promote_types(outputs.dtype, jnp.float32)), y)
        return weighted_mean("loss", values, weight, len(x)), seen

    (value, seen), (gradient, deltas) = jax.value_and_grad(objective, argnums=(0, 1), has_aux=True)(params, zeros)
    return Trace(value, gradient, _flows(forward.sites, seen, deltas, getattr(net, "name", "network")))


def _flows(
    sites: Sequence[Site], seen: list[Array], deltas: list[Array | None], whole: str
) -> ByLayer[tuple[Array, ...]]:
    """(z, delta) of each call of a layer; an activation's (a, da) go with the layer before it."""
    found: dict[str, tuple[Array, ...]] = {}
    last: dict[str, str] = {}
    calls: Counter[str] = Counter()
    for site, value, delta in zip(sites, seen, deltas, strict=True):
        parent = site.path.rpartition("/")[0]
        before = last.pop(parent, None) if site.activation else None
        if before is None:
            calls[site.path] += 1
            before = (site.path or whole) + (f"@{calls[site.path]}" if calls[site.path] > 1 else "")
            last[parent] = before
        found[before] = (*found.get(before, ()), value, jnp.zeros(value.shape) if delta is None else delta)
    return ByLayer(list(found), list(found.values()))
