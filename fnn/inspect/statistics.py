"""Back-propagation in numbers: for each layer how large its signals are, and how many of its units are asleep."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from fnn import keys
from fnn.errors import check_callable
from fnn.inspect.backprop import backprop
from fnn.inspect.trace import ByLayer, Signals, Trace, own_leaves
from fnn.tree import global_norm
from fnn.typing import Array, Batch, Loss, Metrics, Params

# A unit passes nothing on where |f'(z)| is less than this.
_ASLEEP = 0.01


class Statistics(NamedTuple):
    """What one layer's signals are like on a batch; all numbers are scalars, in float32 or wider.

    Attributes:
        z_mean: mean of the pre-activations z.
        z_std: their standard deviation.
        a_mean: mean of the activations a.
        a_std: their standard deviation.
        delta_norm: Euclidean norm of delta = dL/dz, of all examples and units.
        gradient_norm: of dL/dw, all own parameters together; 0 without any.
        weight_norm: of the parameters.
        update_norm: of their change in a step; 0 where no update is given.
        update_ratio: update_norm / weight_norm, about 1e-3 where training goes well; 0 without parameters.
        saturated: the share of entries of z that pass next to no gradient on, |f'(z)| < 0.01.
        dead: the share of units (of channels) that do so on every example.
    """

    z_mean: Array
    z_std: Array
    a_mean: Array
    a_std: Array
    delta_norm: Array
    gradient_norm: Array
    weight_norm: Array
    update_norm: Array
    update_ratio: Array
    saturated: Array
    dead: Array


def statistics(trace: Trace, params: Params, updates: Params | None = None) -> ByLayer[Statistics]:
    """The statistics of each layer of a trace.

    `f'(z) = delta / da` tells how much of the gradient a unit passes on. Where no gradient arrives, da = 0,
    nothing is known of f', and the entry does not count as saturated.

    Args:
        trace: what `backprop` gives.
        params: the parameters that it was taken with.
        updates: what a step adds to them, a tree like them; None where there is none.

    Example:
        >>> net = fnn.nn.mlp([2, 1])
        >>> params = {
        ...     "dense_0": {"w": jnp.array([[0.5, -1.0], [0.25, 0.25]]), "b": jnp.zeros(2)},
        ...     "dense_1": {"w": jnp.array([[2.0], [1.0]]), "b": jnp.zeros(1)},
        ... }
        >>> batch = fnn.data.Dataset(jnp.array([[1.0, 2.0]]), jnp.array([[1.0]]))
        >>> trace = backprop(net, fnn.losses.squared_error, params, {}, batch)
        >>> first = statistics(trace, params)["dense_0"]
        >>> float(first.z_mean), float(first.delta_norm), float(first.dead)
        (0.25, 4.0, 0.5)

    Source: Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks",
    sections 3 and 4, which look at such numbers.
    """

    def of(name: str, signals: Signals) -> Statistics:
        w, u = (_norm(own_leaves(tree, name, trace)) for tree in (params, {} if updates is None else updates))
        z, a = _wide(signals.z), _wide(signals.a)
        asleep = jnp.abs(_wide(signals.delta)) < _ASLEEP * jnp.abs(_wide(signals.da))
        return Statistics(
            z_mean=jnp.mean(z),
            z_std=jnp.std(z),
            a_mean=jnp.mean(a),
            a_std=jnp.std(a),
            delta_norm=_norm(signals.delta),
            gradient_norm=_norm(signals.gradient),
            weight_norm=w,
            update_norm=u,
            update_ratio=jnp.where(w > 0, u / jnp.where(w > 0, w, 1), 0),
            saturated=jnp.mean(asleep, dtype=z.dtype),
            dead=jnp.mean(jnp.all(asleep, axis=tuple(range(asleep.ndim - 1))), dtype=z.dtype),
        )

    return ByLayer(list(trace), [of(name, signals) for name, signals in trace.items()])


def watched(step: Callable[[Any, Batch], Any], net: Any, loss: Loss) -> Callable[[Any, Batch], Any]:
    """A training step whose metrics also hold the statistics of each layer: "dense_0/delta_norm".

    So a run's history tells how they go through training, averaged over each epoch like every metric, in a
    scan, in a host loop, and for each network of a population. They are taken of the state before the step, on
    its batch and with its noise, and the update is the one that the step makes. It costs about as much as a
    second step.

    Args:
        step: (state, batch) to (state, metrics), as `fnn.train.make_step` returns it, guarded or not.
        net: its network.
        loss: its loss, without penalties.

    Example:
        >>> net, tx = fnn.nn.mlp([4, 1]), fnn.optim.sgd(0.1)
        >>> loss = fnn.losses.squared_error
        >>> step = watched(fnn.train.make_step(fnn.train.supervised(net, loss), tx), net, loss)
        >>> x = jnp.linspace(-1.0, 1.0, 8)[:, None]
        >>> state = fnn.train.init_state(jax.random.key(0), net, tx, x)
        >>> _, history = fnn.train.run(step, fnn.data.Dataset(x, x), batch_size=4, epochs=3)(state)
        >>> history["dense_0/delta_norm"].shape
        (3,)
    """
    check_callable("step", step, "a function (state, batch) -> (state, metrics)", "Make one: fnn.train.make_step.")
    check_callable("loss", loss, "a function (outputs, targets) -> one value per example")

    def watching(state: Any, batch: Batch) -> tuple[Any, Metrics]:
        new, metrics = step(state, batch)
        noise = keys.for_step(state.key, state.step)
        trace = backprop(net, loss, state.params, state.model_state, batch, key=noise)
        updates = jax.tree.map(jnp.subtract, new.params, state.params)
        found = statistics(trace, state.params, updates)
        told = {f"{name}/{kind}": value for name, row in found.items() for kind, value in row._asdict().items()}
        return new, {**metrics, **told}

    marked: Any = watching
    # What the step says of itself holds for this one too; a run takes the step inside a guarded one.
    marked.takes_weights = getattr(step, "takes_weights", False)
    if hasattr(step, "unguarded"):
        marked.unguarded = watched(step.unguarded, net, loss)  # pyright: ignore[reportFunctionMemberAccess]
    return watching


def _norm(tree: Any) -> Array:
    # Where gradients vanish, their squares do so long before.
    return global_norm(tree, scaled=True)


def _wide(x: Array) -> Array:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
