"""The contestants of `experiments.benchmarks.gpu` in JAX, all in one process."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import fnn
from experiments.benchmarks import cnn_peers, mlp_peers, mlp_task, population_peers
from experiments.benchmarks.gpu_task import BUFFERS, CNN_BATCH, Task, Turn, answered
from experiments.benchmarks.products import matrix_products

__all__ = ["CONTESTANTS", "Task"]

# What JAX is told of float32 products: "default" lets a GPU take TF32, "highest" does not.
PRODUCTS = {"float32": "highest", "tf32": "default", "bfloat16": "default"}


def half(precision: str) -> str | None:
    """What `make_step` is told."""
    return "bfloat16" if precision == "bfloat16" else None


def mlp_turn(name: str, precision: str, shape: str, epochs: int) -> Turn:
    """A perceptron of `experiments.benchmarks.mlp`."""
    task = mlp_task.Task(shape, epochs, 1)
    if name == "matmul":
        dtype = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
        return matrix_products(task.shape.widths, task.shape.batch, task.steps, dtype)
    if name == "fnn":
        return mlp_peers.fnn_run(task, half(precision))
    return mlp_peers.CONTESTANTS[name](task)


def cnn_turn(name: str, precision: str, steps: int) -> Turn:
    """The network of `experiments.benchmarks.cnn`."""
    task = cnn_peers.Task(steps, CNN_BATCH, 1, None)
    return cnn_peers.fnn_run(task, precision=half(precision)) if name == "fnn" else cnn_peers.CONTESTANTS[name](task)


def limit_turn(_: str, precision: str, side: int, times: int) -> Turn:
    """A product of two large matrices, so many times in one program."""
    dtype = jnp.bfloat16 if precision == "bfloat16" else jnp.float32
    a, b = (jnp.asarray(np.random.default_rng(n).normal(0, side**-0.5, (side, side)), dtype) for n in (0, 1))
    program = jax.jit(lambda a, b: jax.lax.fori_loop(0, times, lambda _, c: c @ b, a))

    def turn() -> float:
        jax.block_until_ready(program(a, b))
        return 0.0

    return turn


def copy_turn(_: str, __: str, megabytes: int, times: int) -> Turn:
    """Reads and writes so many megabytes, so many times in one program."""
    a = jnp.ones(megabytes * 250_000)
    program = jax.jit(lambda a: jax.lax.fori_loop(0, times, lambda _, a: a * 0.5, a))

    def turn() -> float:
        jax.block_until_ready(program(a))
        return 0.0

    return turn


def launch_turn(name: str, _: str, shape: str, epochs: int) -> Turn:
    """Our step in a scan by hand: "UNROLL BUFFERS", how far it is unrolled and which command buffers XLA makes."""
    unroll, buffers = name.split()
    task = mlp_task.Task(shape, epochs, 1)
    widths, batch, data = task.shape.widths, task.shape.batch, mlp_peers.dataset(task)
    net, tx = fnn.nn.mlp(widths[1:]), fnn.optim.adam(mlp_task.RATE)
    step = fnn.train.make_step(fnn.train.supervised(net, fnn.losses.softmax_cross_entropy), tx)

    def one(state: Any, rows: jax.Array) -> tuple[Any, jax.Array]:
        state, metrics = step(state, fnn.data.take(data, rows))
        return state, metrics["loss"]

    def epoch(state: Any, _: None) -> tuple[Any, jax.Array]:
        per_epoch = task.shape.examples // batch
        rows, _weight = fnn.data.epoch_order(state.key, state.step // per_epoch, task.shape.examples, batch)
        state, losses = jax.lax.scan(one, state, rows, unroll=int(unroll))
        return state, losses.mean()

    def train(state: Any) -> tuple[Any, jax.Array]:
        return jax.lax.scan(epoch, state, None, length=epochs)

    program = jax.jit(train, donate_argnums=0, compiler_options=BUFFERS[buffers])
    held = [fnn.train.init_state(jax.random.key(0), net, tx, data.x)]

    def turn() -> float:
        held[0], losses = jax.block_until_ready(program(held[0]))
        return float(losses[-1])

    return turn


def order_turn(name: str, _: str, examples: int, times: int) -> Turn:
    """The order of the examples of so many epochs, ours or JAX's own, without any training."""

    def ours(key: jax.Array, number: jax.Array) -> jax.Array:
        return fnn.data.epoch_order(key, number, examples, 64)[0].ravel()

    def own(key: jax.Array, number: jax.Array) -> jax.Array:
        return jax.random.permutation(jax.random.fold_in(key, number), examples)

    made = ours if name == "ours" else own

    @jax.jit
    def program(key: jax.Array) -> jax.Array:
        def add(total: jax.Array, number: jax.Array) -> tuple[jax.Array, None]:
            return total + made(key, number)[:examples], None

        return jax.lax.scan(add, jnp.zeros(examples, jnp.int32), jnp.arange(times))[0]

    def turn() -> float:
        jax.block_until_ready(program(jax.random.key(0)))
        return 0.0

    return turn


def population_turn(name: str, _: str, widths: list[int], nets: int, epochs: int) -> Turn:
    """Populations of `experiments.benchmarks.population`; all is traced and compiled anew each time."""
    mode: Any = name.partition(" ")[2] or "auto"
    train = {"fnn": population_peers.in_fnn, "vmap": population_peers.in_vmap}[name.partition(" ")[0]]
    turn = train(population_peers.Task(widths, 1, mode))

    def watched() -> dict[str, Any]:
        told, memory = turn(nets, epochs), jax.local_devices()[0].memory_stats() or {}
        return {**told, "device_mb": memory.get("peak_bytes_in_use", 0) / 2**20}

    return watched


KINDS: dict[str, Callable[..., Turn]] = {
    "limit": limit_turn,
    "copy": copy_turn,
    "mlp": mlp_turn,
    "cnn": cnn_turn,
    "launches": launch_turn,
    "order": order_turn,
    "population": population_turn,
}


def everything(task: Task) -> Callable[..., dict[str, Any]]:
    """All contestants in JAX."""
    here = jax.local_devices()[0]
    # JAX says "cuda" where it is asked for one, and "gpu" where it has one.
    if here.platform != {"cuda": "gpu"}.get(task.platform, task.platform):
        raise RuntimeError(f"JAX computes on {here.platform}, not on {task.platform}")
    products: Callable[[str], Any] = lambda precision: jax.default_matmul_precision(PRODUCTS[precision])  # noqa: E731
    return answered(KINDS, products)


CONTESTANTS = {"jax": everything}
