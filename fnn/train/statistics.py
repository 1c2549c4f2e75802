"""The running statistics of a network whose parameters were not trained as they are, such as an average."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from fnn import keys
from fnn.data import Dataset, check_dataset, epoch_order, steps_per_epoch, take
from fnn.errors import message
from fnn.train.state import TrainState, check_network, check_state
from fnn.tree import named_leaves
from fnn.typing import Array, Key, State


def refresh_statistics(net: Any, data: Dataset, *, batch_size: int) -> Callable[[TrainState], TrainState]:
    """Takes a network's running statistics anew, as means over one pass of the data in training mode.

    Averaged weights are another network than any that was trained, and need statistics of their own. A layer's
    running update is `s <- c s + (1 - c) b` with b from the batch; each batch's b is read from it, whatever c
    is, and the new statistics are `sum_j n_j b_j / sum_j n_j` over batches of n_j examples. All else of the state
    stays. Noise, such as dropout's, is drawn as in training.

    Args:
        net: a network with `init` and `apply`, whose state is such statistics.
        data: the examples, taken once, in the order of the epoch that `state.step` is in.
        batch_size: examples in a batch; as in training, since the variance is taken within batches.

    Returns:
        refresh(state) to a state with new `model_state`. It does not jit itself.

    Raises:
        ValueError: bad data or batch size.
        TypeError: not a network, or a state with numbers that are no statistics.

    Example:
        >>> net, x = fnn.nn.sequential(fnn.nn.batch_norm(0.5)), jnp.array([[1.0], [3.0]])
        >>> state = fnn.train.init_state(jax.random.key(0), net, fnn.optim.sgd(0.1), x)
        >>> refresh = refresh_statistics(net, fnn.data.Dataset(x, x), batch_size=2)
        >>> refresh(state).model_state
        {'batch_norm_0': {'mean': Array([2.], dtype=float32), 'var': Array([2.], dtype=float32)}}

    Source: Izmailov et al. 2018, "Averaging weights leads to wider optima and better generalization", section 3.2
    and algorithm 1, last line.
    """
    check_network(net)
    data = check_dataset(data)
    examples = len(data.x)
    steps = steps_per_epoch(examples, batch_size)
    whole, rest = divmod(examples, batch_size)

    def refresh(state: TrainState) -> TrainState:
        check_state(state)
        _check_statistics(state.model_state)
        order, _ = epoch_order(state.key, state.step // steps, examples, batch_size)

        def batch(rows: Array, step: Array | int) -> State:
            noise = keys.for_step(state.key, state.step + step)
            return _statistics(net, state, take(data, rows).x, noise, jnp.asarray(len(rows) / examples))

        def add(total: State, numbered: tuple[Array, Array]) -> tuple[State, None]:
            return jax.tree.map(jnp.add, total, batch(*numbered)), None

        zero = jax.tree.map(jnp.zeros_like, state.model_state)
        total, _ = jax.lax.scan(add, zero, (order[:whole], jnp.arange(whole)))
        if rest:
            total = jax.tree.map(jnp.add, total, batch(order[-1, :rest], whole))
        return state._replace(model_state=total)

    return refresh


def _statistics(net: Any, state: TrainState, x: Array, noise: Key, weight: Array) -> State:
    """A batch's own statistics times a weight."""

    def after(before: State) -> State:
        return net.apply(state.params, before, x, train=True, key=noise)[1]

    zero = jax.tree.map(jnp.zeros_like, state.model_state)
    moved, back = jax.vjp(after, zero)
    # From s = 0 the update gives (1 - c) b; its derivative by s is c.
    (c,) = back(jax.tree.map(jnp.ones_like, moved))

    def own(old: Array, new: Array, c: Array) -> Array:
        # What training does not move stays.
        return (weight * jnp.where(c == 1, old, new / jnp.where(c == 1, 1, 1 - c))).astype(old.dtype)

    return jax.tree.map(own, state.model_state, moved, c)


def _check_statistics(model_state: State) -> None:
    for name, leaf in named_leaves(model_state).items():
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            got = f"leaf '{name}' of dtype {leaf.dtype}"
            raise TypeError(message("state.model_state", got, "running statistics, floating-point numbers"))
