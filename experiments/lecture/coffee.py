"""The coffee menu: a linear neuron says the drink's number from what is in it, a small classifier how likely each is.

The neuron's four equations x W + b = y can be solved by hand. Ice takes one off: w_ice = -1. Milk in place of water
adds two: w_milk - w_water = 2. An americano is number 1: w_espresso + w_water + b = 1. The rest is free, since every
drink has espresso and either water or milk. Of all solutions w = (4/5, -3/5, 7/5, -1), b = 4/5 is the nearest to zero.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

import fnn
from experiments.lecture.lesson import Picture
from fnn.data import COFFEE_DRINKS, COFFEE_INGREDIENTS
from fnn.nn import Layer
from fnn.plot.style import BLUE, GREY, VERMILION, figure_of, grid, styled
from fnn.typing import Loss

TITLE = "The coffee menu"
EQUATION = "y = x W + b = w_espresso x_1 + w_water x_2 + w_milk x_3 + w_ice x_4 + b"

BY_HAND = np.array([0.8, -0.6, 1.4, -1.0, 0.8])  # the four weights and the bias
DRAWS = 8


class Found(NamedTuple):
    """What came out; the numbers of a neuron are its four weights and its bias."""

    first: np.ndarray  # (draws, 5)
    last: np.ndarray  # (draws, 5)
    from_zero: np.ndarray  # (5,)
    chances: np.ndarray  # (drinks, drinks), the classifier's


# --8<-- [start:code]
menu = fnn.data.coffee()  # x (4, 4): espresso, water, milk, ice; y: 0, 1, 2, 3


def trained(net: Layer, loss: Loss, y: jax.Array, key: jax.Array) -> tuple[Any, Any]:
    """The parameters before and after 500 steps, each on all four drinks."""
    tx, data = fnn.optim.sgd(0.1), fnn.data.Dataset(menu.x, y)
    step = fnn.train.make_step(fnn.train.supervised(net, loss), tx)
    start = fnn.train.init_state(key, net, tx, menu.x)
    end, _ = fnn.train.run(step, data, batch_size=4, epochs=500)(start)
    return start.params, end.params


def neuron(w_init: str, key: jax.Array) -> tuple[Any, Any]:
    """One linear neuron, x W + b, with the loss (x W + b - y)^2."""
    net = fnn.nn.dense(1, w_init=w_init)
    return trained(net, fnn.losses.squared_error, menu.y[:, None].astype(float), key)


def classifier(key: jax.Array) -> jax.Array:
    """The probability of each drink, from a hidden layer of eight units and a softmax."""
    net = fnn.nn.mlp([8, 4], "tanh")
    _, params = trained(net, fnn.losses.softmax_cross_entropy, menu.y, key)
    return fnn.activations.softmax(net.apply(params, {}, menu.x)[0])


# --8<-- [end:code]


def numbers(params: Any) -> np.ndarray:
    """The four weights and the bias, in one row."""
    return np.concatenate([params["w"][..., 0], params["b"]], axis=-1)


def work() -> Found:
    """Trains the neuron from zero and from several first weights, and the classifier once."""
    keys = jax.random.split(jax.random.key(0), DRAWS)
    _, from_zero = jax.jit(lambda key: neuron("zeros", key))(keys[0])
    first, last = jax.jit(jax.vmap(lambda key: neuron("glorot_uniform", key)))(keys)
    return Found(numbers(first), numbers(last), numbers(from_zero), np.asarray(jax.jit(classifier)(keys[0])))


def findings(found: Found) -> list[str]:
    """What the numbers say."""
    names = (*COFFEE_INGREDIENTS, "bias")
    terms = ", ".join(f"{name} {number:.3f}" for name, number in zip(names, found.from_zero, strict=True))
    low, high = found.last[:, 0].min(), found.last[:, 0].max()
    return [
        f"From zero, gradient descent finds the solution nearest to zero: {terms}.",
        f"From {DRAWS} other first weights it finds others, espresso from {low:.2f} to {high:.2f}; all name the drinks,"
        f" and ice is always {found.last[:, 3].mean():.3f}.",
        f"The classifier gives each drink its own name with a probability of at least"
        f" {np.diag(found.chances).min():.1%}.",
    ]


@styled
def pictures(found: Found) -> dict[str, Picture]:
    """The neuron's five numbers, and the classifier's probabilities."""
    figure = figure_of(1, width=6.2, height=3.0)
    (axes,) = figure.axes
    places = np.arange(5)
    axes.bar(places, BY_HAND, width=0.55, color=BLUE, alpha=0.3, label="by hand")
    axes.plot(places, found.from_zero, "o", color=BLUE, markersize=9, label="gradient descent from zero")
    for draw, row in enumerate(found.last):
        offset = 0.36 * (draw / (DRAWS - 1) - 0.5)
        label = "from other first weights" if not draw else None
        axes.plot(places + offset, row, "x", color=VERMILION, markersize=6, label=label)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xticks(places, [*COFFEE_INGREDIENTS, "bias"])
    axes.set(ylabel="weight, or bias", ylim=(-2.0, 3.6))
    axes.legend(loc="upper right", fontsize=9)
    caption = (
        "Bars and dots agree: gradient descent from zero finds the solution nearest to zero. From other first weights"
        " (crosses) it finds other ones; only ice is the same in all."
    )
    return {"neuron": Picture(figure, caption), "classifier": Picture(_table(found.chances), _SURE)}


_SURE = (
    "Each row is a drink of the menu, each number the probability that the classifier gives a name: dark on the"
    " diagonal."
)


def _table(chances: np.ndarray) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.3))
    (axes,) = grid(figure, 1, 1, 1)
    axes.imshow(chances, cmap="Blues", vmin=0, vmax=1)
    for (row, column), chance in np.ndenumerate(chances):
        colour = "white" if chance > 0.5 else "black"
        axes.text(column, row, f"{chance:.1%}".replace("%", " %"), ha="center", va="center", color=colour)
    names = [name.replace("ice ", "ice\n") for name in COFFEE_DRINKS]
    axes.set_xticks(range(4), names)
    axes.set_yticks(range(4), names)
    axes.set(xlabel="what the classifier says", ylabel="drink")
    axes.set_aspect("auto")
    return figure
