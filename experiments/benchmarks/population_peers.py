"""Those who take part in `experiments.benchmarks.population`.

Each builder takes a `Task` and returns a turn: (nets, epochs) -> the mean of the networks' last losses, the seconds
that it took to compile, and the most memory that the process had.
"""

import contextlib
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import fnn
from experiments.benchmarks import mlp_peers, mlp_task, others, products
from experiments.benchmarks.mlp_task import RATE

BATCH = 64

Turn = Callable[[int, int], dict[str, Any]]


class Task(NamedTuple):
    """What a contestant is given.

    Attributes:
        widths: inputs, hidden widths, outputs.
        cores: on which it runs.
        mode: of our sweep.
        chunk: of our sweep.
    """

    widths: list[int]
    cores: int
    mode: Literal["auto", "vmap", "map"] = "auto"
    chunk: int | None = None

    @property
    def arguments(self) -> tuple[np.ndarray, np.ndarray, tuple[int, ...], int]:
        """x, y, widths and batch size."""
        return *mlp_task.Task("digits", 1, self.cores).examples(), tuple(self.widths), BATCH


def forget_peak() -> None:
    """The most memory so far no longer counts, where the system can do that."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_megabytes() -> float:
    """The most memory that the process had since then."""
    with contextlib.suppress(OSError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 1024)


def watched(train: Callable[[int, int], tuple[Any, float]]) -> Turn:
    """A turn from (nets, epochs) -> (losses, seconds to compile)."""

    def turn(nets: int, epochs: int) -> dict[str, Any]:
        forget_peak()
        losses, compiling = train(nets, epochs)
        return {"loss": float(np.mean(losses)), "compile_seconds": compiling, "peak_mb": peak_megabytes()}

    return turn


def in_fnn(task: Task) -> Turn:
    """`fnn.sweep`; all is traced and compiled anew each time."""
    x, y, widths, batch = task.arguments
    data = fnn.data.Dataset(jnp.asarray(x), jnp.asarray(y))
    net = fnn.nn.mlp(widths[1:])

    def train(nets: int, epochs: int) -> tuple[Any, float]:
        def one(hparams: dict[str, jax.Array], key: jax.Array) -> dict[str, Any]:
            tx = fnn.optim.adam(hparams["learning_rate"])
            step = fnn.train.make_step(fnn.train.supervised(net, fnn.losses.softmax_cross_entropy), tx)
            state = fnn.train.init_state(key, net, tx, data.x)
            state, history = fnn.train.run(step, data, batch_size=batch, epochs=epochs)(state)
            return {"loss": history["loss"][-1], "params": state.params}

        reporter, keys = fnn.train.Reporter(), jax.random.split(jax.random.key(0), nets)
        hparams, begun = fnn.population.grid(learning_rate=[RATE]), time.perf_counter()
        results = fnn.sweep(one, hparams, keys, mode=task.mode, chunk=task.chunk, progress=reporter)
        # Tracing too: all that is not training.
        return results["loss"], time.perf_counter() - begun - reporter.train_seconds

    return watched(train)


def in_vmap(task: Task) -> Turn:
    """jax.vmap of a scan by hand, all networks at once; traced and compiled anew each time."""
    x, y, widths, batch = task.arguments
    data = fnn.data.Dataset(jnp.asarray(x), jnp.asarray(y))

    def train(nets: int, epochs: int) -> tuple[Any, float]:
        def one(key: jax.Array) -> tuple[Any, jax.Array]:
            first, order = jax.random.split(key)
            params = mlp_peers.weights(first, widths)
            (params, _), losses = mlp_peers.scanned(order, (params, optax.adam(RATE).init(params)), data, batch, epochs)
            return params, losses[-1]

        keys, begun = jax.random.split(jax.random.key(0), nets), time.perf_counter()
        program = jax.jit(jax.vmap(one)).lower(keys).compile()
        compiling = time.perf_counter() - begun
        return jax.block_until_ready(program(keys))[1], compiling

    return watched(train)


def in_torch_func(task: Task) -> Turn:
    """torch.func.vmap, all networks at once."""
    import torch

    torch.set_num_threads(task.cores)
    arguments = task.arguments
    return watched(lambda nets, epochs: (others.torch_ensemble(*arguments, epochs, nets), 0.0))


def one_by_one(one: Callable[..., float], task: Task) -> Turn:
    """One network after the other."""
    arguments = task.arguments
    return watched(lambda nets, epochs: ([one(*arguments, epochs, seed) for seed in range(nets)], 0.0))


def by_joblib(one: Callable[..., float], task: Task) -> Turn:
    """A process a core, each with one network after the other; they have started before."""
    import joblib

    arguments = task.arguments

    def train(nets: int, epochs: int) -> tuple[Any, float]:
        begun = time.perf_counter()
        with joblib.parallel_config("loky", n_jobs=task.cores, inner_max_num_threads=1), joblib.Parallel() as parallel:
            parallel([joblib.delayed(one)(*arguments, 1, 0) for _ in range(task.cores)])
            starting = time.perf_counter() - begun
            return parallel([joblib.delayed(one)(*arguments, epochs, seed) for seed in range(nets)]), starting

    return watched(train)


def matrix_products(task: Task) -> Turn:
    """The products of all steps of one network after the other, alone, in a thread a core."""

    def train(nets: int, epochs: int) -> tuple[Any, float]:
        begun = time.perf_counter()
        turn = products.matrix_products(task.widths, BATCH, mlp_task.Task("digits", epochs, 1).steps)
        turn()
        compiling = time.perf_counter() - begun
        with ThreadPoolExecutor(task.cores) as threads:
            return list(threads.map(lambda _: turn(), range(nets))), compiling

    return watched(train)


CONTESTANTS: dict[str, Callable[[Task], Turn]] = {
    "matmul": matrix_products,
    "fnn": in_fnn,
    "vmap": in_vmap,
    "torch-func": in_torch_func,
    "sklearn": partial(one_by_one, others.sklearn_one),
    "torch": partial(one_by_one, others.torch_one),
    "sklearn-joblib": partial(by_joblib, others.sklearn_one),
    "torch-joblib": partial(by_joblib, others.torch_one),
}
