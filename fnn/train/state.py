"""What a training step carries."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from fnn import jaxlibs, keys
from fnn.contract import check_example, check_signatures, initialized
from fnn.errors import check_key, check_trainable, message
from fnn.typing import Array, Key, OptState, Params, State


class TrainState(NamedTuple):
    """All that a training step carries, arrays only: it vmaps, scans, donates and shards as it is.

    Attributes:
        step: how many steps were taken, int32.
        params: the parameters.
        model_state: the network's state, such as running statistics.
        opt_state: the optimizer's state.
        key: the run's typed key. It never changes: what is drawn at a step is a function of (key, step).
    """

    step: Array
    params: Params
    model_state: State
    opt_state: OptState
    key: Key


def init_state(key: Key, net: Any, tx: optax.GradientTransformation, x: Any) -> TrainState:
    """The state before the first step.

    Args:
        key: the run's typed key; the first weights, the order of the data and all noise follow from it.
        net: a network with `init` and `apply`, such as an `fnn.nn.Layer`.
        tx: an Optax gradient transformation, such as `fnn.optim.adam(1e-3)`.
        x: an example batch, or its `jax.ShapeDtypeStruct`.

    Raises:
        TypeError: not a typed key, not a network, an init that returns anything but (params, state), or
            parameters without a gradient (the leaf is named).

    Example:
        >>> net = fnn.nn.mlp([4, 2])
        >>> state = init_state(jax.random.key(0), net, fnn.optim.sgd(0.1), jnp.zeros((1, 3)))
        >>> int(state.step), state.params["dense_0"]["w"].shape
        (0, (3, 4))
    """
    jaxlibs.warn_once()
    check_key("key", key)
    check_network(net)
    check_optimizer(tx)
    check_example("x", x)
    shaped = jax.ShapeDtypeStruct(jnp.shape(x), jax.dtypes.canonicalize_dtype(x.dtype))
    params, model_state = initialized(net, keys.for_init(key), shaped)
    check_trainable("params", params)
    # Copies, so that the state may be donated while the caller's own arrays live on; their dtypes named, since a
    # weak type would be gone after the first step, and the second step compiled again.
    state = TrainState(jnp.zeros((), jnp.int32), params, model_state, tx.init(params), key)
    return jax.tree.map(lambda a: jnp.array(a, dtype=a.dtype, copy=True), state)


def check_optimizer(tx: Any) -> None:
    """Refuses what is not a gradient transformation, and says how to make one of it.

    Example:
        >>> check_optimizer(fnn.optim.sgd(0.1))
    """
    if callable(getattr(tx, "init", None)) and callable(getattr(tx, "update", None)):
        return
    name = getattr(tx, "__name__", None)
    remedy = f"Call it: {name}(1e-3)." if callable(tx) and name else "Such as fnn.optim.adam(1e-3)."
    got = f"the function {name}" if callable(tx) and name else f"a {type(tx).__name__}"
    raise TypeError(message("tx", got, "an Optax gradient transformation", remedy))


def check_state(state: Any) -> None:
    """Refuses what is not a `TrainState`.

    Example:
        >>> check_state(TrainState(jnp.array(0), {}, {}, (), jax.random.key(0)))
    """
    if not isinstance(state, TrainState):
        remedy = "Make one: fnn.train.init_state. Of a FitResult give .state or .best."
        raise TypeError(message("state", f"a {type(state).__name__}", "a TrainState", remedy))


def check_network(net: Any) -> None:
    """Refuses what is not a pair of pure functions `init` and `apply`.

    Example:
        >>> check_network(fnn.nn.dense(1))
    """
    flax = any(c.__module__.startswith("flax") for c in type(net).__mro__)
    if flax or not (callable(getattr(net, "init", None)) and callable(getattr(net, "apply", None))):
        remedy = "Wrap Flax modules: fnn.interop.from_linen or from_nnx; a function: fnn.interop.from_function."
        raise TypeError(
            message("net", f"a {type(net).__name__}", "a network with init and apply (fnn.nn.Layer)", remedy)
        )
    check_signatures(str(getattr(net, "name", type(net).__name__)), net.init, net.apply)
