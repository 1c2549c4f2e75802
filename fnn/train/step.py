"""One training step, as a pure function of the state and a batch."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax

from fnn import keys
from fnn.errors import check_callable, check_count, check_scalar, message
from fnn.optim import hyperparams_of
from fnn.optim.leafwise import one_more
from fnn.train.accumulate import accumulated
from fnn.train.state import TrainState, check_optimizer, check_state
from fnn.train.supervised import heeds_weights, takes_weights
from fnn.tree import global_norm
from fnn.typing import Batch, LossFn, Metrics, Params, Scalar

Step: TypeAlias = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def make_step(
    loss_fn: LossFn, tx: optax.GradientTransformation, *, accumulate: int = 1, clip_norm: Scalar | None = None
) -> Step:
    """A training step, `w <- w + update(dL/dw)`: forward, backward and update as one pure function.

    It does not jit itself: `jax.jit(step)` in a host loop, `fnn.train.run(step, ...)` as one program.

    Args:
        loss_fn: (params, state, batch, key) to (loss, (new state, metrics)): `supervised(...)`, or your own.
        tx: an Optax gradient transformation, such as `fnn.optim.adam(1e-3)`.
        accumulate: how many micro-batches each batch is cut into, to save memory. Their gradients add up
            to the whole batch's; statistics that a network takes over a batch are each micro-batch's own.
        clip_norm: the gradient's largest global norm, > 0; a longer one is scaled down to it. None clips
            nothing.

    Returns:
        step(state, batch) to (state, metrics): `loss`, each metric of `loss_fn`, `grad_norm`, the gradient's
        norm before clipping, and the numbers of `fnn.optim.with_hyperparams`, such as `learning_rate`.

    Raises:
        ValueError: accumulate below 1 or above the batch size, or clip_norm not positive.

    Example:
        >>> net, tx = fnn.nn.mlp([1]), fnn.optim.sgd(0.1)
        >>> step = make_step(fnn.train.supervised(net, fnn.losses.squared_error), tx)
        >>> batch = fnn.data.Dataset(jnp.array([[1.0], [2.0]]), jnp.array([[2.0], [4.0]]))
        >>> state = fnn.train.init_state(jax.random.key(0), net, tx, batch.x)
        >>> for _ in range(300):
        ...     state, metrics = step(state, batch)
        >>> bool(metrics["loss"] < 1e-3), int(state.step)
        (True, 300)

    Source: Goodfellow et al. 2016, "Deep Learning", algorithm 8.1; clipping: Pascanu et al. 2013,
    algorithm 1.
    """
    check_callable("loss_fn", loss_fn, "a function (params, state, batch, key)", "Make one: supervised(net, loss).")
    check_optimizer(tx)
    check_count("accumulate", accumulate)
    if clip_norm is not None:
        check_scalar("clip_norm", clip_norm, 0, open_low=True)
    backward = jax.value_and_grad(loss_fn, has_aux=True)
    if accumulate > 1:
        backward = accumulated(backward, accumulate, weighted=heeds_weights(loss_fn))

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        check_state(state)
        noise = keys.for_step(state.key, state.step)
        (loss, (model_state, metrics)), grads = backward(state.params, state.model_state, batch, noise)
        if taken := {"loss", "grad_norm"} & set(metrics):
            raise ValueError(
                message("metrics of loss_fn", f"the name {taken.pop()!r}", "another one: make_step gives it")
            )
        norm = global_norm(grads)
        updates, opt_state = tx.update(_clip(grads, norm, clip_norm), state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        new = TrainState(one_more(state.step), params, model_state, opt_state, state.key)
        return new, {**hyperparams_of(opt_state), "loss": loss, **metrics, "grad_norm": norm}

    return takes_weights(step) if heeds_weights(loss_fn) else step


def _clip(grads: Params, norm: jax.Array, clip_norm: Scalar | None) -> Any:
    if clip_norm is None:
        return grads
    scale = jnp.minimum(1.0, clip_norm / jnp.maximum(norm, jnp.finfo(norm.dtype).tiny))
    return jax.tree.map(lambda g: (g * scale).astype(g.dtype), grads)
