"""Those who take part in `experiments.benchmarks.cnn`.

Each builder takes a `Task` and returns a turn: so many training steps, each on a new batch, and then their mean loss.
All train the same network: 3x3 convolutions with 32 and 64 channels, each with ReLU and max-pooling by 2, a hidden
layer of 128 and 10 outputs.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen, nnx
from flax.training.train_state import TrainState as LinenState
from jax.sharding import NamedSharding, PartitionSpec

import fnn
from experiments.benchmarks.cnn_worker import CLASSES, CONVOLUTIONS, HIDDEN, SIDE, SIZE

RATE, B1, B2, EPS = 1e-3, 0.9, 0.999, 1e-8

Turn = Callable[[], float]


class Task(NamedTuple):
    """What a contestant is given.

    Attributes:
        steps: of one turn.
        batch: examples of a step.
        cores: on which it runs, and host devices where it splits its batches.
        data: folder of the MNIST files; None makes images.
    """

    steps: int
    batch: int
    cores: int
    data: str | None

    def dataset(self) -> fnn.data.Dataset:
        """The examples on the device."""
        return fnn.data.Dataset(*map(jnp.asarray, self.examples()))

    def examples(self) -> tuple[np.ndarray, np.ndarray]:
        """As many examples as one turn uses: (n, 28, 28, 1) in 0 to 1, and labels."""
        n = self.steps * self.batch
        if self.data is not None:
            x, y = (np.asarray(part)[:n] for part in fnn.data.mnist(self.data).train)
            if len(x) < n:
                raise ValueError(f"a turn needs {n} images, and {self.data} has {len(x)}")
            return np.asarray(x.reshape(-1, SIZE, SIZE, 1), np.float32), np.asarray(y, np.int32)
        draw = np.random.default_rng(0)
        y = draw.integers(0, 10, n, dtype=np.int32)
        x = draw.random((10, SIZE, SIZE, 1), np.float32)[y] + draw.random((n, SIZE, SIZE, 1), np.float32)
        return x / np.float32(2), y


def adam() -> optax.GradientTransformation:
    """Adam, of fnn."""
    return fnn.optim.adam(RATE, B1, B2, EPS)


def fnn_start(tx: Any, lowering: str, precision: str | None = None) -> tuple[fnn.train.Step, fnn.train.TrainState]:
    """The step of fnn and the state that all its forms start from."""
    net = fnn.nn.cnn(CONVOLUTIONS, HIDDEN, CLASSES, lowering=lowering)
    step = fnn.train.make_step(fnn.train.supervised(net, fnn.losses.softmax_cross_entropy), tx, precision=precision)
    return step, fnn.train.init_state(jax.random.key(0), net, tx, jax.ShapeDtypeStruct((1, SIZE, SIZE, 1), jnp.float32))


def as_turn(train: Callable[..., Any], state: fnn.train.TrainState) -> Turn:
    """Turns of one epoch each, by a program (state) -> (state, history)."""
    program, held = jax.jit(train, donate_argnums=0), [state]

    def turn() -> float:
        held[0], history = jax.block_until_ready(program(held[0]))
        return float(history["loss"][0])

    return turn


def fnn_run(task: Task, lowering: str = "auto", precision: str | None = None) -> Turn:
    """The whole turn as one program."""
    step, state = fnn_start(adam(), lowering, precision)
    return as_turn(fnn.train.run(step, task.dataset(), batch_size=task.batch, epochs=1), state)


def fnn_shard_map(task: Task) -> Turn:
    """The whole turn as one program; each device takes its share of every batch, and gradients are averaged."""
    mesh = jax.make_mesh((task.cores,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    mean = optax.stateless(lambda grads, _: jax.lax.pmean(grads, "batch"))
    step, state = fnn_start(optax.chain(mean, adam()), "auto")

    def share(state: fnn.train.TrainState, batch: Any) -> tuple[fnn.train.TrainState, fnn.typing.Metrics]:
        size = task.batch // task.cores
        begin = size * jax.lax.axis_index("batch")
        mine = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, begin, size), batch)
        state, metrics = step(state, fnn.data.Dataset(mine.x, mine.y))
        return state, jax.lax.pmean(metrics, "batch")

    train = fnn.train.run(share, task.dataset(), batch_size=task.batch, epochs=1)
    everywhere = PartitionSpec()
    train = jax.shard_map(train, mesh=mesh, in_specs=everywhere, out_specs=everywhere, check_vma=False)
    return as_turn(train, jax.device_put(state, NamedSharding(mesh, everywhere)))


def fnn_constraint(task: Task) -> Turn:
    """The whole turn as one program; XLA is told to split the batch, and finds the rest by itself."""
    mesh = jax.make_mesh((task.cores,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    step, state = fnn_start(adam(), "auto")
    split = NamedSharding(mesh, PartitionSpec("batch"))

    def constrained(state: fnn.train.TrainState, batch: Any) -> Any:
        return step(state, jax.lax.with_sharding_constraint(batch, split))

    everywhere = NamedSharding(mesh, PartitionSpec())
    data = jax.device_put(task.dataset(), everywhere)
    return as_turn(fnn.train.run(constrained, data, batch_size=task.batch, epochs=1), jax.device_put(state, everywhere))


def looped(step: Callable[[Any, Any], tuple[Any, jax.Array]], state: Any, epoch: Callable[[], Iterable[Any]]) -> Turn:
    """Turns of a host loop over the batches of an epoch, by a step (state, batch) -> (state, loss)."""
    held = [state]

    def turn() -> float:
        losses = []
        for batch in epoch():
            held[0], loss = step(held[0], batch)
            losses.append(loss)
        jax.block_until_ready(held[0])
        return float(np.mean(losses))

    return turn


def fnn_loop(task: Task) -> Turn:
    """A host loop over the jitted step."""
    step, state = fnn_start(adam(), "auto")
    program, data, key = jax.jit(step, donate_argnums=0), task.dataset(), jax.random.key(0)
    number = itertools.count()

    def one(state: fnn.train.TrainState, batch: fnn.data.Dataset) -> tuple[fnn.train.TrainState, jax.Array]:
        state, metrics = program(state, batch)
        return state, metrics["loss"]

    return looped(one, state, lambda: fnn.data.batches(data, task.batch, key=key, epoch=next(number)))


def batches(task: Task) -> Callable[[], Iterator[fnn.data.Dataset]]:
    """Batches as Flax's examples cut them: from arrays on the device, by a permutation for each epoch."""
    data, number = task.dataset(), itertools.count()

    def epoch() -> Iterator[fnn.data.Dataset]:
        order = jax.random.permutation(jax.random.key(next(number)), len(data.x))
        for rows in order.reshape(-1, task.batch):
            yield fnn.data.Dataset(data.x[rows], data.y[rows])

    return epoch


class LinenCNN(linen.Module):
    """The network in Flax Linen."""

    @linen.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits of the images."""
        for channels in CONVOLUTIONS:
            x = linen.relu(linen.Conv(channels, kernel_size=(3, 3))(x))
            x = linen.max_pool(x, window_shape=(2, 2), strides=(2, 2))
        x = linen.relu(linen.Dense(HIDDEN)(x.reshape(len(x), -1)))
        return linen.Dense(CLASSES)(x)


def cross_entropy(logits: jax.Array, y: jax.Array) -> jax.Array:
    """Optax's, averaged."""
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def in_linen(task: Task) -> Turn:
    """Flax Linen and Optax, a host loop over the jitted step."""
    model = LinenCNN()
    params = model.init(jax.random.key(0), jnp.ones((1, SIZE, SIZE, 1)))["params"]

    @partial(jax.jit, donate_argnums=0)
    def step(state: LinenState, batch: fnn.data.Dataset) -> tuple[LinenState, jax.Array]:
        def loss(params: Any) -> jax.Array:
            return cross_entropy(state.apply_fn({"params": params}, batch.x), batch.y)

        value, grads = jax.value_and_grad(loss)(state.params)
        return state.apply_gradients(grads=grads), value

    state = LinenState.create(apply_fn=model.apply, params=params, tx=optax.adam(RATE, B1, B2, EPS))
    return looped(step, state, batches(task))


class NnxCNN(nnx.Module):
    """The network in Flax NNX."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.conv1 = nnx.Conv(1, 32, kernel_size=(3, 3), rngs=rngs)
        self.conv2 = nnx.Conv(32, 64, kernel_size=(3, 3), rngs=rngs)
        self.linear1 = nnx.Linear(3136, 128, rngs=rngs)
        self.linear2 = nnx.Linear(128, 10, rngs=rngs)
        self.pool = partial(nnx.max_pool, window_shape=(2, 2), strides=(2, 2))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Logits of the images."""
        x = self.pool(nnx.relu(self.conv1(x)))
        x = self.pool(nnx.relu(self.conv2(x)))
        return self.linear2(nnx.relu(self.linear1(x.reshape(len(x), -1))))


def in_nnx(task: Task) -> Turn:
    """Flax NNX and Optax, a host loop over nnx.jit of the step, which changes model and optimizer."""
    model = NnxCNN(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, optax.adam(RATE, B1, B2, EPS), wrt=nnx.Param)

    @nnx.jit
    def step(model: NnxCNN, optimizer: Any, batch: fnn.data.Dataset) -> jax.Array:
        value, grads = nnx.value_and_grad(lambda model: cross_entropy(model(batch.x), batch.y))(model)
        optimizer.update(model, grads)
        return value

    def one(_: Any, batch: fnn.data.Dataset) -> tuple[Any, jax.Array]:
        loss = step(model, optimizer, batch)
        return jax.tree.leaves(nnx.state(model)), loss

    return looped(one, None, batches(task))


def in_torch(task: Task, *, channels_last: bool = False, compiled: bool = False, pool_first: bool = False) -> Turn:
    """PyTorch, with its fused Adam."""
    import torch
    from torch import nn

    torch.set_num_threads(task.cores)
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for before, after in ((1, 32), (32, 64)):
        then = [nn.ReLU(), nn.MaxPool2d(2)]
        layers += [nn.Conv2d(before, after, 3, padding=1), *(then[::-1] if pool_first else then)]
    model: Any = nn.Sequential(*layers, nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10))
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = model.to(memory_format=layout)
    optimizer = torch.optim.Adam(model.parameters(), RATE, (B1, B2), EPS, fused=True)
    x, y = task.examples()
    inputs, labels = torch.from_numpy(np.moveaxis(x, -1, 1).copy()), torch.from_numpy(y.astype(np.int64))

    def loss(x: Any, y: Any) -> Any:
        return nn.functional.cross_entropy(model(x), y)

    forward = torch.compile(loss) if compiled else loss

    def turn() -> float:
        total = torch.zeros(())
        for rows in torch.randperm(len(inputs)).reshape(-1, task.batch):
            optimizer.zero_grad()
            value = forward(inputs[rows].contiguous(memory_format=layout), labels[rows])
            value.backward()
            optimizer.step()
            total += value.detach()
        return float(total) / task.steps

    return turn


def matrix_product(task: Task) -> Turn:
    """A product of two large matrices, once for each step."""
    a = jnp.asarray(np.random.default_rng(0).normal(size=(SIDE, SIDE)).astype(np.float32))
    program = jax.jit(jnp.matmul)

    def turn() -> float:
        for _ in range(task.steps):
            jax.block_until_ready(program(a, a))
        return 0.0

    return turn


CONTESTANTS: dict[str, Callable[[Task], Turn]] = {
    "matmul": matrix_product,
    "fnn": fnn_run,
    "fnn-shard-map": fnn_shard_map,
    "fnn-constraint": fnn_constraint,
    "fnn-loop": fnn_loop,
    "fnn-xla": partial(fnn_run, lowering="xla"),
    "torch": in_torch,
    "torch-last": partial(in_torch, channels_last=True),
    "torch-pooled": partial(in_torch, channels_last=True, pool_first=True),
    "torch-compile": partial(in_torch, compiled=True),
    "torch-compile-last": partial(in_torch, channels_last=True, compiled=True),
    "torch-last-passive": partial(in_torch, channels_last=True),
    "torch-pooled-passive": partial(in_torch, channels_last=True, pool_first=True),
    "torch-compile-passive": partial(in_torch, compiled=True),
    "linen": in_linen,
    "nnx": in_nnx,
}
