"""Why activations matter: without them a deep network is one matrix.

With f the identity, (x W^1 + b^1) W^2 + b^2 = x (W^1 W^2) + (b^1 W^2 + b^2): two layers are one, and so are any number.
Such a network can only draw straight lines; the same network with ReLU bends them.
"""

from functools import reduce
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import fnn
from experiments.lecture.lesson import Picture
from fnn.plot.style import BLUE, GREY, VERMILION, figure_of, styled

TITLE = "Why activations matter"
EQUATION = "(x W^1 + b^1) W^2 + b^2 = x (W^1 W^2) + (b^1 W^2 + b^2)"

WIDTHS = [16, 16, 16, 1]


class Found(NamedTuple):
    """What came out; outputs are (100,), at x."""

    deep: np.ndarray  # of the identity network, layer by layer
    single: np.ndarray  # of its one matrix
    relu: np.ndarray
    line: np.ndarray  # of the best straight line
    w: float  # of the one matrix
    b: float
    layers: int


# --8<-- [start:code]
x = jnp.linspace(-2.0, 2.0, 100)[:, None]
y = jnp.sin(2 * x) + 0.5 * x
data = fnn.data.Dataset(x, y)


def trained(activation: str) -> tuple[fnn.nn.Layer, Any]:
    """Three hidden layers of 16 units with that activation, trained."""
    net, tx = fnn.nn.mlp(WIDTHS, activation), fnn.optim.adam(0.01)
    loss, key = fnn.losses.squared_error, jax.random.key(0)
    result = fnn.fit(net, loss, tx, data, key=key, epochs=400, batch_size=25)
    return net, result.state.params


def joined(first: Any, second: Any) -> Any:
    """Two dense layers without an activation between them, as one."""
    return {"w": first["w"] @ second["w"], "b": first["b"] @ second["w"] + second["b"]}


def one_matrix(params: Any) -> Any:
    """All layers of a network with identity activations, as one."""
    return reduce(joined, [params[f"dense_{layer}"] for layer in range(len(params))])


# --8<-- [end:code]


def work() -> Found:
    """Trains both, joins the layers of the one, and fits the best straight line."""
    net, params = trained("identity")
    single = one_matrix(params)
    bent, bent_params = trained("relu")
    ones = np.c_[x, np.ones(len(x))]
    line = ones @ np.linalg.lstsq(ones, np.asarray(y[:, 0]), rcond=None)[0]
    outputs = (
        net.apply(params, {}, x)[0],
        fnn.nn.dense(1).apply(single, {}, x)[0],
        bent.apply(bent_params, {}, x)[0],
    )
    deep, one, relu = (np.asarray(output[:, 0]) for output in outputs)
    return Found(deep, one, relu, line, float(single["w"][0, 0]), float(single["b"][0]), len(params))


def error(outputs: np.ndarray) -> float:
    """The mean squared error."""
    return float(np.mean((outputs - np.asarray(y[:, 0])) ** 2))


def findings(found: Found) -> list[str]:
    """What the numbers say."""
    return [
        f"The {found.layers} layers with identity activations are y = {found.w:.3f} x {found.b:+.3f}: the outputs"
        f" differ by {np.abs(found.deep - found.single).max():.0e} at most, which is rounding.",
        f"Their mean squared error is {error(found.deep):.3f}, and no straight line has less than"
        f" {error(found.line):.3f}; with ReLU it is {error(found.relu):.4f}.",
    ]


@styled
def pictures(found: Found) -> dict[str, Picture]:
    """The data, what each network says, and the one matrix."""
    figure = figure_of(1, width=6.2, height=3.4)
    (axes,) = figure.axes
    places = np.asarray(x[:, 0])
    axes.plot(places, np.asarray(y[:, 0]), "o", color=GREY, markersize=3.5, alpha=0.6, label="data")
    axes.plot(places, found.deep, color=VERMILION, linewidth=5, alpha=0.35, label=f"{found.layers} layers, identity")
    axes.plot(places, found.single, "--", color=VERMILION, label="their one matrix")
    axes.plot(places, found.relu, color=BLUE, label=f"{found.layers} layers, ReLU")
    axes.set(xlabel="x", ylabel="y")
    axes.legend(loc="upper left", fontsize=9)
    caption = (
        "Without activations the deep network draws the straight line of a single matrix, right on top of it. The same"
        " network with ReLU follows the data."
    )
    return {"fit": Picture(figure, caption)}
