"""A layer whose forward pass is computed again in the backward pass, to save memory."""

import jax

from fnn.nn.layer import Layer, check_layer
from fnn.typing import Array, Key, Params, State


def remat(layer: Layer) -> Layer:
    """The layer, keeping only its input for the backward pass, which computes the rest of it again.

    Output, state and gradients are the layer's, and so are parameters, their names and the noise: a mask of
    dropout is a function of the key, and is drawn the same again. It costs one more forward pass of the layer
    in each training step; evaluation is as it was.

    Args:
        layer: any layer; best a `sequential` of several, since their inner activations are what is saved.

    Raises:
        TypeError: not a layer.

    Example:
        >>> block = fnn.nn.sequential(fnn.nn.dense(64), fnn.nn.activation("relu"), fnn.nn.dropout(0.5))
        >>> net = fnn.nn.sequential(remat(block), remat(block), fnn.nn.dense(10))
        >>> params, state = net.init(jax.random.key(0), jax.numpy.ones((1, 8)))
        >>> sorted(params)
        ['dense_0', 'sequential_0', 'sequential_1']

    Source: Chen et al. 2016, "Training deep nets with sublinear memory cost", section 3.
    """
    check_layer("layer", layer)

    def forward(params: Params, state: State, x: Array, key: Key | None) -> tuple[Array, State]:
        return layer.apply(params, state, x, train=True, key=key)

    def apply(
        params: Params, state: State, x: Array, *, train: bool = False, key: Key | None = None
    ) -> tuple[Array, State]:
        if not train:
            return layer.apply(params, state, x, train=False, key=key)
        return jax.checkpoint(forward)(params, state, x, key)

    return Layer(layer.name, layer.init, apply)
