"""The five losses with their gradients, and what one far example does to the answer.

A loss says what a mistake costs, its gradient how hard the mistake pulls. The squared error pulls with twice the
distance, so its least is at the mean, which one far value carries away; the absolute error pulls with 1 whatever the
distance, so its least is at the median. The hinge loss does not pull at all once an example is right by a margin of 1.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import fnn
from experiments.lecture.lesson import Picture
from fnn.plot.style import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION, figure_of, styled

TITLE = "Losses"
EQUATION = "(y_hat - y)^2,  |y_hat - y|,  -log p_y (two classes or many),  max(0, 1 - y f)"

REGRESSION, CLASSES = ("squared", "absolute"), ("cross-entropy, 2 classes", "cross-entropy, 3 classes", "hinge")
LOOKS = (("-", BLUE), ("--", VERMILION)), (("--", ORANGE), (":", PURPLE), ("-", GREEN))  # a loss keeps its colour
OUTPUTS = jnp.linspace(-3, 3, 121)
KNOWN, OUTLIERS = (1.0, 2.0, 3.0, 4.0), jnp.linspace(4, 40, 10)
POINTS, LABELS, FAR = (-3.0, -2.0, -1.0, 1.0, 2.0), (-1.0, -1.0, -1.0, 1.0, 1.0), jnp.linspace(2, 20, 10)


# --8<-- [start:code]
N = len(OUTPUTS)
LOSSES = {
    "squared": lambda f: fnn.losses.squared_error(f, jnp.zeros(N)),
    "absolute": lambda f: fnn.losses.absolute_error(f, jnp.zeros(N)),
    "cross-entropy, 2 classes": lambda f: fnn.losses.sigmoid_binary_cross_entropy(f, jnp.ones(N)),
    "cross-entropy, 3 classes": lambda f: fnn.losses.softmax_cross_entropy(
        jnp.stack([f, 0 * f, 0 * f], axis=1), jnp.zeros(N, int)
    ),
    "hinge": lambda f: fnn.losses.hinge(f, jnp.ones(N)),
}


def curve(name: str) -> tuple[jax.Array, jax.Array]:
    """A loss and its gradient at each output f of the network; the answer is 0, or the first class, or +1."""
    return LOSSES[name](OUTPUTS), jax.grad(lambda f: LOSSES[name](f).sum())(OUTPUTS)


def fitted(loss: Any, x: jax.Array, y: jax.Array, l2: float = 0.0) -> dict[str, jax.Array]:
    """One neuron, f = x w + b, from w = b = 0 by gradient descent, with steps that become shorter."""
    net, tx = fnn.nn.dense(1, w_init=fnn.initializers.zeros), fnn.optim.adam(optax.exponential_decay(0.2, 1, 0.995))
    step = fnn.train.make_step(fnn.train.supervised(net, loss, l2=l2), tx)
    data = fnn.data.Dataset(x[:, None], y[:, None])
    train = fnn.train.run(step, data, batch_size=len(x), epochs=1500)
    return train(fnn.train.init_state(jax.random.key(0), net, tx, data.x))[0].params


# --8<-- [end:code]


class Found(NamedTuple):
    """Loss and gradient by name; the fitted value for each outlier; the boundary for each far example."""

    curves: dict[str, Any]
    values: dict[str, np.ndarray]
    boundaries: dict[str, np.ndarray]


def location(loss: Any, outlier: jax.Array) -> jax.Array:
    """The one number nearest to 1, 2, 3, 4 and the outlier: a neuron that sees only x = 0."""
    y = jnp.append(jnp.array(KNOWN), outlier)
    return fitted(loss, jnp.zeros_like(y), y)["b"][0]


def boundary(loss: Any, far: jax.Array) -> jax.Array:
    """Where f changes its sign, with one example of the class +1 far out on its right side."""
    params = fitted(loss, jnp.append(jnp.array(POINTS), far), jnp.append(jnp.array(LABELS), 1.0), l2=0.05)
    return -params["b"][0] / params["w"][0, 0]


def work() -> Found:
    """All curves, and all fits of one loss in one program."""
    squared, absolute, hinge = fnn.losses.squared_error, fnn.losses.absolute_error, fnn.losses.hinge
    curves = {name: jax.tree.map(np.asarray, jax.jit(curve, static_argnums=0)(name)) for name in LOSSES}
    values, boundaries = {"squared": squared, "absolute": absolute}, {"squared": squared, "hinge": hinge}
    return Found(
        curves,
        {name: np.asarray(jax.jit(jax.vmap(lambda o, f=f: location(f, o)))(OUTLIERS)) for name, f in values.items()},
        {name: np.asarray(jax.jit(jax.vmap(lambda o, f=f: boundary(f, o)))(FAR)) for name, f in boundaries.items()},
    )


def findings(found: Found) -> list[str]:
    """What the figures say."""
    mean, median = found.values["squared"][-1], found.values["absolute"][-1]
    drift, still = found.boundaries["squared"], np.abs(found.boundaries["hinge"]).max()
    return [
        f"Of 1, 2, 3, 4 and {OUTLIERS[-1]:.0f} the squared error finds {mean:.2f}, the mean, and the absolute error"
        f" {median:.2f}, the median.",
        f"One example at {FAR[-1]:.0f} on its right side moves the boundary of the squared error from {drift[0]:.2f} to"
        f" {drift[-1]:.2f}, past the example at 1; that of the hinge loss stays within {still:.0e} of the middle.",
    ]


@styled
def pictures(found: Found) -> dict[str, Picture]:
    """The curves, and what a far example does."""
    return {"curves": _curves(found), "outliers": _outliers(found)}


def _curves(found: Found) -> Picture:
    figure = figure_of(4, width=3.2, height=2.1, most=2)
    titles = "regression, answer 0", "classification, first class right"
    for column, names in enumerate((REGRESSION, CLASSES)):
        for row, part in enumerate(("loss", "gradient dL/df")):
            axes = figure.axes[2 * row + column]
            for name, (dashes, color) in zip(names, LOOKS[column], strict=True):
                axes.plot(OUTPUTS, found.curves[name][row], dashes, color=color, label=name)
            axes.set(xlabel="output f of the network", ylabel=part)
        figure.axes[column].set_title(titles[column])
        figure.axes[column].legend(fontsize=9)
    figure.axes[1].set_ylim(-0.2, 6.5)
    caption = (
        "Above what a mistake costs, below how hard it pulls. Only the squared error pulls harder the farther away;"
        " the hinge loss does not pull beyond f = 1."
    )
    return Picture(figure, caption)


def _outliers(found: Found) -> Picture:
    figure = figure_of(2, width=4.2, height=3.0)
    value, boundaries = figure.axes
    value.plot(OUTLIERS, found.values["squared"], "o-", color=BLUE, label="squared: the mean")
    value.plot(OUTLIERS, found.values["absolute"], "s-", color=VERMILION, label="absolute: the median")
    value.set(xlabel="the outlier; the others are 1, 2, 3, 4", ylabel="fitted value", ylim=(0, 11))
    boundaries.axhspan(-1, 1, color=GREY, alpha=0.15, linewidth=0)
    boundaries.text(FAR[-1], 0.35, "all six examples right", ha="right", fontsize=9)
    boundaries.plot(FAR, found.boundaries["squared"], "o-", color=BLUE, label="squared")
    boundaries.plot(FAR, found.boundaries["hinge"], "s-", color=GREEN, label="hinge")
    boundaries.set(xlabel="far example of the right class", ylabel="boundary, f = 0", ylim=(-1.2, 3.6))
    boundaries.set_xticks(range(0, 21, 5))
    for axes in figure.axes:
        axes.legend(loc="upper left", fontsize=9)
    caption = (
        "Left: the outlier carries the mean away and leaves the median. Right: the squared error punishes an example"
        " for being too far on its right side, until others are wrong; the hinge loss does not see it."
    )
    return Picture(figure, caption)
