"""What tests of populations share: a small task, and whole runs on it as functions of (hparams, key)."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

import fnn
from fnn.typing import Array, Key

X = jax.random.normal(jax.random.key(7), (48, 4))
DATA = fnn.data.Dataset(X, (X[:, 0] * X[:, 1] > 0).astype(jnp.int32))
KEYS = jax.random.split(jax.random.key(1), 2)
RATES = {"learning_rate": jnp.array([0.003, 0.01, 0.03])}
LOSS = fnn.losses.softmax_cross_entropy


def run_of(net: Callable[[Any], fnn.nn.Layer], tx: Callable[[Any], Any], epochs: int = 2) -> Callable[[Any, Key], Any]:
    """A run that returns the loss of each epoch and the parameters."""

    def train(hparams: Any, key: Key) -> dict[str, Any]:
        built, optimizer = net(hparams), tx(hparams)
        step = fnn.train.make_step(fnn.train.supervised(built, LOSS), optimizer)
        state = fnn.train.init_state(key, built, optimizer, X)
        state, history = fnn.train.run(step, DATA, batch_size=16, epochs=epochs)(state)
        return {"loss": history["loss"], "params": state.params}

    return train


def adam_run(hparams: dict[str, Array], key: Key) -> dict[str, Any]:
    """Adam on a small perceptron, as most tests want it."""
    return run_of(lambda _: fnn.nn.mlp([8, 2]), lambda h: fnn.optim.adam(h["learning_rate"]))(hparams, key)


def solo(train: Callable[[Any, Key], Any], hparams: Any) -> Any:
    """What each cell gives alone, with the axes (h, k): one after another, by one program."""
    alone = jax.jit(train)
    h = len(jax.tree.leaves(hparams)[0])
    cells = [[alone(jax.tree.map(lambda a, i=i: a[i], hparams), key) for key in KEYS] for i in range(h)]
    return _stacked([_stacked(row) for row in cells])


def _stacked(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
