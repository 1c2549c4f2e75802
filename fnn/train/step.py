"""One training step, as a pure function of the state and a batch."""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jax.ad_checkpoint import checkpoint_name

from fnn import keys
from fnn.errors import check_callable, check_count, check_flag, check_scalar, message
from fnn.optim import hyperparams_of
from fnn.optim.leafwise import one_more
from fnn.train.accumulate import Backward, accumulated
from fnn.train.guard import guarded
from fnn.train.precision import Precision, as_precision, in_precision
from fnn.train.state import TrainState, check_optimizer, check_state
from fnn.train.supervised import heeds_weights, takes_weights
from fnn.tree import global_norm, path_name
from fnn.typing import Batch, Key, LossFn, Metrics, Params, Scalar, State

Step: TypeAlias = Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def make_step(
    loss_fn: LossFn,
    tx: optax.GradientTransformation,
    *,
    accumulate: int = 1,
    clip_norm: Scalar | None = None,
    precision: Precision | str | None = None,
    guard: bool = False,
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
        precision: "bfloat16", or another `Precision`: the network computes in bfloat16, while parameters,
            gradients, optimizer and loss are float32. None computes in the parameters' dtype.
        guard: a step whose loss, gradient norm or new state is not finite is not taken: the state comes back
            as it was, its count included, and so is always the last finite one. `fnn.train.run` stops there.

    Returns:
        step(state, batch) to (state, metrics): `loss`, each metric of `loss_fn`, `grad_norm`, the gradient's
        norm before clipping, the numbers of `fnn.optim.with_hyperparams`, such as `learning_rate`, and with a
        guard `finite`, whether the step was taken, 1 or 0.

    Raises:
        ValueError: accumulate below 1 or above the batch size, clip_norm not positive, or a precision that
            loses small gradients.

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
    check_flag("guard", guard)
    exact = loss_fn if precision is None else in_precision(loss_fn, as_precision(precision))
    backward = _named(jax.value_and_grad(exact, has_aux=True))
    if accumulate > 1:
        backward = accumulated(backward, accumulate, weighted=heeds_weights(loss_fn))

    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        check_state(state)
        noise = keys.for_step(state.key, state.step)
        (loss, (model_state, metrics)), grads = backward(state.params, state.model_state, batch, noise)
        if taken := {"loss", "grad_norm", "finite"} & set(metrics):
            raise ValueError(
                message("metrics of loss_fn", f"the name {taken.pop()!r}", "another one: make_step gives it")
            )
        norm = global_norm(grads)
        updates, opt_state = tx.update(_clip(grads, norm, clip_norm), state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        new = TrainState(one_more(state.step), params, model_state, opt_state, state.key)
        return new, {**hyperparams_of(opt_state), "loss": loss, **metrics, "grad_norm": norm}

    step = takes_weights(step) if heeds_weights(loss_fn) else step
    return guarded(step) if guard else step


def _named(backward: Backward) -> Backward:
    """The same, each gradient under its parameter's name, which `fnn.inspect.first_nonfinite` looks for."""

    def named(params: Params, state: State, batch: Batch, key: Key | None) -> Any:
        result, grads = backward(params, state, batch, key)
        return result, jax.tree_util.tree_map_with_path(
            lambda path, g: checkpoint_name(g, f"gradient/{path_name(path)}"), grads
        )

    return named


def _clip(grads: Params, norm: jax.Array, clip_norm: Scalar | None) -> Any:
    if clip_norm is None:
        return grads
    scale = jnp.minimum(1.0, clip_norm / jnp.maximum(norm, jnp.finfo(norm.dtype).tiny))
    return jax.tree.map(lambda g: (g * scale).astype(g.dtype), grads)
