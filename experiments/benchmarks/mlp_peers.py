"""Those who take part in `experiments.benchmarks.mlp`, and here those in JAX.

Each builder takes a `Task` and returns a turn: so many epochs, and then the mean loss of the last one.
"""

import itertools
import math
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen, nnx
from flax.training.train_state import TrainState as LinenState

import fnn
from experiments.benchmarks import others
from experiments.benchmarks.cnn_peers import cross_entropy
from experiments.benchmarks.mlp_task import RATE, Task
from experiments.benchmarks.products import matrix_products

__all__ = ["CONTESTANTS", "Task"]

Turn = Callable[[], Any]
Weights = list[tuple[jax.Array, jax.Array]]


def dataset(task: Task) -> fnn.data.Dataset:
    """The examples on the device."""
    return fnn.data.Dataset(*map(jnp.asarray, task.examples()))


def program_turn(train: Callable[[Any], tuple[Any, jax.Array]], state: Any) -> Turn:
    """Turns of a whole program (state) -> (state, mean loss of each epoch)."""
    program, held = jax.jit(train, donate_argnums=0), [state]

    def turn() -> float:
        held[0], losses = jax.block_until_ready(program(held[0]))
        return float(losses[-1])

    return turn


def loop_turn(task: Task, step: Callable[..., tuple[Any, jax.Array]], state: Any) -> Turn:
    """Turns of a host loop over a step (state, rows, data) -> (state, loss).

    It gathers the batch in the jitted step, from data on the device, which was seen to be the fastest.
    """
    data, draw, held = dataset(task), np.random.default_rng(0), [state]

    def turn() -> float:
        losses: list[jax.Array] = []
        for _ in range(task.epochs):
            losses.clear()
            for rows in draw.permutation(len(data.x)).astype(np.int32).reshape(-1, task.shape.batch):
                held[0], loss = step(held[0], rows, data)
                losses.append(loss)
        jax.block_until_ready(held[0])
        return float(np.mean([float(loss) for loss in losses]))

    return turn


def fnn_run(task: Task, precision: str | None = None) -> Turn:
    """`fnn.train.run` as one program; in `make_step`'s precision."""
    widths, data = task.shape.widths, dataset(task)
    net, tx = fnn.nn.mlp(widths[1:]), fnn.optim.adam(RATE)
    loss_fn = fnn.train.supervised(net, fnn.losses.softmax_cross_entropy)
    step = fnn.train.make_step(loss_fn, tx, precision=precision)
    run = fnn.train.run(step, data, batch_size=task.shape.batch, epochs=task.epochs)

    def train(state: fnn.train.TrainState) -> tuple[fnn.train.TrainState, jax.Array]:
        state, history = run(state)
        return state, history["loss"]

    return program_turn(train, fnn.train.init_state(jax.random.key(0), net, tx, data.x))


def fnn_fit(task: Task) -> Turn:
    """`fnn.fit` with its bar and history; it chooses how many steps a call of its program takes."""
    import rich

    from experiments.benchmarks import overhead

    class Fit(overhead.Fit):
        """Remembers where it is."""

        at, loss = 0, float("nan")

        def update(self, step: int, metrics: Any) -> None:
            """As it tells."""
            self.at, self.loss = step, float(metrics.get("loss", self.loss))
            super().update(step, metrics)

    data = dataset(task)
    measured = overhead.Task(list(task.shape.widths[1:]), task.shape.batch, 0, 0, data, data)
    fits: list[Fit] = []
    rich.reconfigure(file=Path(os.devnull).open("w"), force_terminal=True)  # noqa: SIM115

    def turn() -> dict[str, Any]:
        before, calls = (fits[0].at, 0) if fits else (0, overhead.GROWING)
        if not fits:
            fits.append(Fit(measured))
        fit = fits[0]
        # Calls of their full length, as many steps as the others at least, and an epoch whose loss is known.
        while calls > 0 or fit.at - before < task.steps or math.isnan(fit.loss):
            fit.turn()
            calls -= 1
        return {"loss": fit.loss, "steps": fit.at - before}

    return turn


def weights(key: jax.Array, widths: tuple[int, ...]) -> Weights:
    """The first weights of a network written by hand."""
    pairs = zip(jax.random.split(key, len(widths) - 1), itertools.pairwise(widths), strict=True)
    return [(jax.random.normal(key, (a, b)) * (2 / a) ** 0.5, jnp.zeros(b)) for key, (a, b) in pairs]


def hand_loss(params: Weights, x: jax.Array, y: jax.Array) -> jax.Array:
    """The mean loss of a network written by hand."""
    for w, b in params[:-1]:
        x = jax.nn.relu(x @ w + b)
    w, b = params[-1]
    return cross_entropy(x @ w + b, y)


def hand_step(state: tuple[Any, Any], rows: Any, data: fnn.data.Dataset) -> tuple[tuple[Any, Any], jax.Array]:
    """A step by hand with Optax's Adam."""
    params, slots = state
    loss, grads = jax.value_and_grad(hand_loss)(params, data.x[rows], data.y[rows])
    updates, slots = optax.adam(RATE).update(grads, slots, params)
    return (optax.apply_updates(params, updates), slots), loss


def optax_loop(task: Task) -> Turn:
    """A host loop over the jitted step by hand, whose state is donated."""
    params = weights(jax.random.key(0), task.shape.widths)
    return loop_turn(task, jax.jit(hand_step, donate_argnums=0), (params, optax.adam(RATE).init(params)))


def scanned(key: jax.Array, state: Any, data: fnn.data.Dataset, batch: int, epochs: int) -> tuple[Any, jax.Array]:
    """A scan over epochs of a scan over batches, as anybody writes it; the mean loss of each epoch."""

    def epoch(state: Any, key: jax.Array) -> tuple[Any, jax.Array]:
        order = jax.random.permutation(key, len(data.x)).reshape(-1, batch)
        state, losses = jax.lax.scan(lambda state, rows: hand_step(state, rows, data), state, order)
        return state, losses.mean()

    return jax.lax.scan(epoch, state, jax.random.split(key, epochs))


def optax_scan(task: Task) -> Turn:
    """A whole turn as one program by hand."""
    params, data = weights(jax.random.key(0), task.shape.widths), dataset(task)

    def train(state: Any) -> tuple[Any, jax.Array]:
        key, *rest = state
        now, later = jax.random.split(key)
        rest, losses = scanned(now, tuple(rest), data, task.shape.batch, task.epochs)
        return (later, *rest), losses

    return program_turn(train, (jax.random.key(0), params, optax.adam(RATE).init(params)))


class LinenMLP(linen.Module):
    """The network in Flax Linen."""

    widths: tuple[int, ...]

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits."""
        for width in self.widths[:-1]:
            x = linen.relu(linen.Dense(width)(x))
        return linen.Dense(self.widths[-1])(x)


def in_linen(task: Task) -> Turn:
    """Flax Linen and Optax, a host loop over the jitted step."""
    inputs, *widths = task.shape.widths
    model = LinenMLP(tuple(widths))
    params = model.init(jax.random.key(0), jnp.ones((1, inputs)))["params"]

    @partial(jax.jit, donate_argnums=0)
    def step(state: LinenState, rows: Any, data: fnn.data.Dataset) -> tuple[LinenState, jax.Array]:
        def loss(params: Any) -> jax.Array:
            return cross_entropy(state.apply_fn({"params": params}, data.x[rows]), data.y[rows])

        value, grads = jax.value_and_grad(loss)(state.params)
        return state.apply_gradients(grads=grads), value

    return loop_turn(task, step, LinenState.create(apply_fn=model.apply, params=params, tx=optax.adam(RATE)))


class NnxMLP(nnx.Module):
    """The network in Flax NNX."""

    def __init__(self, widths: tuple[int, ...], rngs: nnx.Rngs) -> None:
        self.layers = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in itertools.pairwise(widths)])

    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits."""
        *hidden, last = self.layers
        for layer in hidden:
            x = nnx.relu(layer(x))
        return last(x)


def in_nnx(task: Task) -> Turn:
    """Flax NNX and Optax, a host loop over nnx.jit of the step, which changes model and optimizer."""
    model = NnxMLP(task.shape.widths, nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(RATE), wrt=nnx.Param)

    @nnx.jit
    def train_step(model: NnxMLP, optimizer: Any, rows: Any, data: fnn.data.Dataset) -> jax.Array:
        loss, grads = nnx.value_and_grad(lambda model: cross_entropy(model(data.x[rows]), data.y[rows]))(model)
        optimizer.update(model, grads)
        return loss

    def step(_: Any, rows: Any, data: fnn.data.Dataset) -> tuple[Any, jax.Array]:
        return None, train_step(model, optimizer, rows, data)

    return loop_turn(task, step, None)


def in_equinox(task: Task) -> Turn:
    """Equinox and Optax, a host loop over eqx.filter_jit of the step."""
    import equinox as eqx

    class EqxMLP(eqx.Module):
        """The network of one example."""

        layers: list[Any]

        def __call__(self, x: jax.Array) -> jax.Array:
            """Logits."""
            for layer in self.layers[:-1]:
                x = jax.nn.relu(layer(x))
            return self.layers[-1](x)

    keys = jax.random.split(jax.random.key(0), len(task.shape.widths))
    pairs = zip(keys[1:], itertools.pairwise(task.shape.widths), strict=True)
    model, tx = EqxMLP([eqx.nn.Linear(a, b, key=key) for key, (a, b) in pairs]), optax.adam(RATE)

    @eqx.filter_jit
    def step(state: Any, rows: Any, data: fnn.data.Dataset) -> tuple[Any, jax.Array]:
        def loss_of(model: EqxMLP) -> jax.Array:
            return cross_entropy(jax.vmap(model)(data.x[rows]), data.y[rows])

        model, slots = state
        loss, grads = eqx.filter_value_and_grad(loss_of)(model)
        updates, slots = tx.update(grads, slots, eqx.filter(model, eqx.is_array))
        return (eqx.apply_updates(model, updates), slots), loss

    return loop_turn(task, step, (model, tx.init(eqx.filter(model, eqx.is_array))))


CONTESTANTS: dict[str, Callable[[Task], Turn]] = {
    "matmul": lambda task: matrix_products(task.shape.widths, task.shape.batch, task.steps),
    "fnn": fnn_run,
    "fnn-fit": fnn_fit,
    "optax-scan": optax_scan,
    "optax-loop": optax_loop,
    "linen": in_linen,
    "nnx": in_nnx,
    "equinox": in_equinox,
    "keras": others.in_keras,
    "torch-loader": others.torch_loader,
    "torch": others.torch_tuned,
    "torch-compile": partial(others.torch_tuned, compiled=True),
    "torch-one-thread": partial(others.torch_tuned, threads=1),
    "torch-compile-one-thread": partial(others.torch_tuned, compiled=True, threads=1),
    "sklearn": others.in_sklearn,
    "sklearn-one-thread": others.in_sklearn,
}
