"""Vanishing gradients: how the norm of dL/dW changes from layer to layer, by activation and by first weights.

Back through a layer, delta^l = (delta^(l+1) W^T) * f'(z): each layer multiplies by W and by f'. The sigmoid's f' is at
most 1/4, so unless the weights make up for it, the first layers of a deep network see next to no gradient.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import fnn
from experiments.lecture.lesson import Picture
from fnn.plot.style import figure_of, styled

TITLE = "Vanishing gradients"
EQUATION = "delta^l = (delta^(l+1) W^(l+1)^T) * f'(z^l),   0 < sigmoid'(z) <= 1/4"

LAYERS, WIDTH, SEEDS = 30, 64, 8
LEAST = 1e-37  # float32 holds no less
FIRST_WEIGHTS = {
    "Gaussian, 0.05": fnn.initializers.gaussian(0.05),
    "Xavier": fnn.initializers.xavier(),
    "normalized Xavier": fnn.initializers.normalized_xavier(),
    "He": fnn.initializers.he(),
}
ACTIVATIONS = ("sigmoid", "tanh", "relu")


# --8<-- [start:code]
def first_params(w_init: Any, key: jax.Array) -> dict[str, Any]:
    """30 hidden layers of 64 units and 10 outputs; each layer's W is drawn with a key of its own."""
    weights = jax.vmap(lambda k: w_init(k, (WIDTH, WIDTH)))(jax.random.split(key, LAYERS))
    layers = {f"dense_{layer}": {"w": w, "b": jnp.zeros(WIDTH)} for layer, w in enumerate(weights)}
    return {**layers, f"dense_{LAYERS}": {"w": w_init(key, (WIDTH, 10)), "b": jnp.zeros(10)}}


def deltas(activation: str, params: dict[str, Any]) -> jax.Array:
    """The norm of delta at each hidden layer, for one batch of digits."""
    net = fnn.nn.mlp([WIDTH] * LAYERS + [10], activation)
    x, y = fnn.data.digits().train
    trace = fnn.inspect.backprop(net, fnn.losses.softmax_cross_entropy, params, {}, (x[:128] - 0.3, y[:128]))
    signals = [trace[f"dense_{layer}"] for layer in range(LAYERS)]
    return jnp.stack([fnn.tree.global_norm(layer.delta, scaled=True) for layer in signals])


# --8<-- [end:code]


def work() -> dict[tuple[str, str], np.ndarray]:
    """For each activation and each kind of first weights, the norms by layer: the geometric mean over draws."""
    keys = jax.random.split(jax.random.key(0), SEEDS)
    drawn = [jax.vmap(lambda key, w=w_init: first_params(w, key))(keys) for w_init in FIRST_WEIGHTS.values()]
    params = jax.tree.map(lambda *kinds: jnp.stack(kinds), *drawn)
    found = {}
    for activation in ACTIVATIONS:
        # Every kind and every draw in one program.
        many = jax.jit(jax.vmap(jax.vmap(lambda p, a=activation: deltas(a, p))))(params)
        for name, norms in zip(FIRST_WEIGHTS, np.asarray(many, np.float64), strict=True):
            found[activation, name] = np.exp(np.log(np.maximum(norms, LEAST)).mean(axis=0))
    return found


def factor(norms: np.ndarray) -> float:
    """What each layer back multiplies delta by: the fitted slope of its logarithm."""
    usable = norms > 10 * LEAST
    layers = np.arange(len(norms))[usable]
    return float(np.exp(-np.polyfit(layers, np.log(norms[usable]), 1)[0])) if usable.sum() > 2 else 0.0


def findings(found: dict[tuple[str, str], np.ndarray]) -> list[str]:
    """What the figures say."""
    sigmoid = [factor(norms) for (activation, _), norms in found.items() if activation == "sigmoid"]
    relu = found["relu", "He"]
    return [
        f"Sigmoid: each layer back multiplies delta by {min(sigmoid):.2f} to {max(sigmoid):.2f}; at most 1/4 comes from"
        " f' where the weights neither grow nor shrink it.",
        f"ReLU with He's weights: over {LAYERS} layers the largest delta is {relu.max() / relu.min():.1f} times the"
        " smallest.",
    ]


@styled
def pictures(found: dict[tuple[str, str], np.ndarray]) -> dict[str, Picture]:
    """A panel for each activation, a line for each kind of first weights."""
    figure = figure_of(len(ACTIVATIONS), width=3.2, height=3.0)
    for axes, activation in zip(figure.axes, ACTIVATIONS, strict=True):
        for (name, norms), marker in zip(
            ((n, v) for (a, n), v in found.items() if a == activation), "osD^", strict=True
        ):
            axes.semilogy(np.arange(1, LAYERS + 1), norms, marker=marker, markersize=3, label=name)
        axes.set(title=activation.replace("relu", "ReLU"), ylim=(1e-33, 1e3))
        axes.set(xlabel="layer, from the input", ylabel="norm of delta = dL/dz")
    figure.axes[0].legend(loc="lower right", fontsize=8)
    caption = (
        "From right to left is back-propagation. With the sigmoid the line falls by orders of magnitude whatever the"
        " first weights; with ReLU and He's weights it stays level."
    )
    return {"norms": Picture(figure, caption)}
