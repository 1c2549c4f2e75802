"""Linear regression by gradient descent: the surface of the loss over (w, b), the path down, and the learning rate.

The mean of (x w + b - y)^2 is a bowl with the Hessian H = 2 [[mean x^2, mean x], [mean x, 1]]. A step multiplies the
distance to the bottom along each eigenvector of H by 1 - lr lambda: the path is slow along the small eigenvalue, and
along the largest it swings wider and wider as soon as lr > 2 / lambda_max.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import fnn
from experiments.lecture.lesson import Picture
from fnn.plot.style import BLUE, GREEN, GREY, VERMILION, figure_of, styled
from fnn.train import TrainState

TITLE = "Gradient descent"
EQUATION = "L(w, b) = mean (x w + b - y)^2,   (w, b) <- (w, b) - lr dL/d(w, b),   lr < 2 / lambda_max"

STEPS, START = 40, (-1.5, -0.5)  # where (w, b) begins
DRAWN = 12  # steps of each path in the picture
SHARES = {"too small": 0.02, "right": 0.7, "too large": 1.02}  # of 2 / lambda_max
COLOURS = (GREY, GREEN, VERMILION)
W_RANGE, B_RANGE = (-2.7, 5.7), (-3.7, 4.7)


class Found(NamedTuple):
    """What came out; a path holds STEPS + 1 points (w, b)."""

    hessian: np.ndarray  # (2, 2)
    bottom: np.ndarray  # (2,), the (w, b) of least loss
    paths: np.ndarray  # (3, STEPS + 1, 2)
    losses: np.ndarray  # (3, STEPS + 1)
    rates: np.ndarray  # as shares of 2 / lambda_max
    ends: np.ndarray  # (rates, 2), the last point of each
    last_losses: np.ndarray  # (rates,)
    surface: np.ndarray  # (b, w)


# --8<-- [start:code]
x = jnp.linspace(-0.5, 2.0, 20)[:, None]
y = 1.5 * x + 0.5 + 0.3 * jax.random.normal(jax.random.key(0), x.shape)
data = fnn.data.Dataset(x, y)

net = fnn.nn.dense(1)  # x w + b
loss_fn = fnn.train.supervised(net, fnn.losses.squared_error)


def loss(point: jax.Array) -> jax.Array:
    """The loss at a point (w, b)."""
    return loss_fn({"w": point[:1, None], "b": point[1:]}, {}, data, None)[0]


def path(learning_rate: jax.Array) -> jax.Array:
    """The points (w, b) of forty steps of gradient descent, each on all of the data."""
    step = fnn.train.make_step(loss_fn, fnn.optim.sgd(learning_rate))
    start = fnn.train.init_state(jax.random.key(0), net, fnn.optim.sgd(learning_rate), x)
    w, b = jnp.array(START)
    start = start._replace(params={"w": w.reshape(1, 1), "b": b.reshape(1)})

    def walk(state: TrainState, _: None) -> tuple[TrainState, jax.Array]:
        return step(state, data)[0], jnp.append(state.params["w"], state.params["b"])

    return jax.lax.scan(walk, start, length=STEPS + 1)[1]


# --8<-- [end:code]


def work() -> Found:
    """Three paths, the end of many, and the surface."""
    hessian = jax.hessian(loss)(jnp.zeros(2))
    bottom = np.linalg.lstsq(np.c_[x, np.ones(len(x))], np.asarray(y)[:, 0], rcond=None)[0]
    limit = 2 / np.linalg.eigvalsh(hessian)[-1]
    shares = np.linspace(0.01, 1.2, 120)
    paths = jax.jit(jax.vmap(path))(jnp.asarray(limit * np.r_[list(SHARES.values()), shares], jnp.float32))
    losses = np.asarray(jax.jit(jax.vmap(jax.vmap(loss)))(paths))
    sides = (jnp.linspace(*W_RANGE, 120), jnp.linspace(*B_RANGE, 120))
    surface = jax.jit(jax.vmap(jax.vmap(loss)))(jnp.stack(jnp.meshgrid(*sides), axis=-1))
    points = np.asarray(paths)
    few = len(SHARES)
    ends, last_losses = points[few:, -1], losses[few:, -1]
    return Found(
        np.asarray(hessian), bottom, points[:few], losses[:few], shares, ends, last_losses, np.asarray(surface)
    )


def findings(found: Found) -> list[str]:
    """What the numbers say."""
    small, large = np.linalg.eigvalsh(found.hessian)
    w, b = found.bottom
    grown = found.rates[found.last_losses > found.losses[0, 0]]
    return [
        f"The Hessian's eigenvalues are {small:.2f} and {large:.2f}, so learning rates above 2 / {large:.2f} ="
        f" {2 / large:.3f} diverge; of those tried, the first to end higher than it began is {grown.min():.2f} times"
        " that.",
        f"After {STEPS} steps the loss is {', '.join(_each(found.losses[:, -1]))}; the least possible, at w = {w:.2f}"
        f" and b = {b:.2f}, is {float(loss(jnp.asarray(found.bottom, jnp.float32))):.3f}.",
    ]


def _each(losses: np.ndarray) -> list[str]:
    return [f"{value:.3g} ({name}: {share} of it)" for value, (name, share) in zip(losses, SHARES.items(), strict=True)]


@styled
def pictures(found: Found) -> dict[str, Picture]:
    """The three paths on the surface, and the loss by step and by learning rate."""
    paths = (
        f"Lines of equal loss, and the first {DRAWN} steps from the left to the star, the bottom. Too small a"
        " learning rate hardly gets there; too large a one swings from side to side, wider each time."
    )
    rates = (
        f"Left: the loss of the three paths. Right: the loss after {STEPS} steps for 120 learning rates; it shoots up"
        " where lr passes 2 / lambda_max, the dashed line."
    )
    return {"paths": Picture(_paths(found), paths), "rates": Picture(_rates(found), rates)}


def _paths(found: Found) -> Any:
    figure = figure_of(3, width=2.9, height=3.1, lines=False)
    sides = (np.linspace(*W_RANGE, 120), np.linspace(*B_RANGE, 120))
    levels = found.losses.min() + np.geomspace(0.02, 150, 12)
    for axes, name, points, colour in zip(figure.axes, SHARES, found.paths, COLOURS, strict=True):
        axes.contour(*sides, found.surface, levels=levels, colors=[BLUE], alpha=0.35, linewidths=0.9)
        axes.plot(*points[: DRAWN + 1].T, "o-", color=colour, markersize=3.5, linewidth=1.2)
        axes.plot(*found.bottom, "*", color="black", markersize=11)
        axes.set(
            title=f"{name}: {SHARES[name]} of 2 / $\\lambda_{{max}}$",
            xlabel="w",
            ylabel="b",
            xlim=W_RANGE,
            ylim=B_RANGE,
        )
    return figure


def _rates(found: Found) -> Any:
    figure = figure_of(2, width=4.0, height=3.0)
    by_step, by_rate = figure.axes
    for name, losses, colour in zip(SHARES, found.losses, COLOURS, strict=True):
        by_step.semilogy(losses, color=colour, label=name)
    by_step.set(xlabel="step", ylabel="loss: mean squared error")
    by_step.legend(loc="center right", fontsize=9)
    by_rate.semilogy(found.rates, found.last_losses, color=BLUE)
    by_rate.axvline(1, color="black", linestyle="--", linewidth=1)
    by_rate.set(xlabel="learning rate, as a share of 2 / $\\lambda_{max}$", ylabel=f"loss after {STEPS} steps")
    return figure
