"""Networks of every kind, with data, for tests that look into them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

import fnn
from fnn import nn


class Case(NamedTuple):
    """A network, its loss, and a batch."""

    net: Any
    loss: Any
    x: jax.Array
    y: jax.Array

    @property
    def start(self) -> tuple[Any, Any]:
        """First parameters and state."""
        return self.net.init(jax.random.key(1), self.x)


ROWS = jax.random.normal(jax.random.key(0), (6, 5))
IMAGES = jax.random.normal(jax.random.key(0), (4, 8, 8, 2))
CLASSES = jnp.array([0, 2, 1, 2, 0, 1])
CE = fnn.losses.softmax_cross_entropy


def noisy(net: Any) -> Case:
    return Case(net, CE, ROWS, CLASSES)


def own_layer() -> nn.Layer:
    """A layer that is none of ours, with a parameter of its own name."""

    def init(key: Any, x: Any) -> Any:
        return {"scale": jnp.full(x.shape[-1], 2.0, x.dtype)}, {}

    def apply(params: Any, state: Any, x: Any, *, train: bool = False, key: Any = None) -> Any:
        return x * params["scale"], state

    return nn.Layer("scale", init, apply)


NETWORKS = {
    "mlp": Case(nn.mlp([7, 4, 3]), CE, ROWS, CLASSES),
    "tanh": Case(nn.mlp([7, 4, 1], "tanh"), fnn.losses.squared_error, ROWS, ROWS[:, :1]),
    "normalized": Case(nn.mlp([7, 4, 3], norm=nn.batch_norm), CE, ROWS, CLASSES),
    "dropout": Case(nn.mlp([7, 4, 3], dropout=0.4), CE, ROWS, CLASSES),
    "cnn": Case(nn.cnn([4], 6, 3), CE, IMAGES, CLASSES[:4]),
    "resnet": Case(nn.resnet([4, 6], 1, 3), CE, IMAGES, CLASSES[:4]),
    "remat": Case(
        nn.sequential(nn.remat(nn.sequential(nn.dense(5), nn.activation("tanh"))), nn.dense(3)), CE, ROWS, CLASSES
    ),
    "residual": Case(nn.sequential(nn.residual(nn.dense(5)), nn.activation("relu"), nn.dense(3)), CE, ROWS, CLASSES),
    "own layer": Case(nn.sequential(nn.dense(4), own_layer(), nn.dense(3)), CE, ROWS, CLASSES),
    "one layer": Case(nn.dense(3), CE, ROWS, CLASSES),
}
