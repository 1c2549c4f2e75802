"""Batch, mini-batch and single-example descent: the same way down, with more noise the fewer examples a step sees.

A batch's gradient is a mean over B examples drawn from the data, so on average it is the gradient of all, and its
standard deviation is that of a single example's over sqrt(B). A step costs B examples; its noise falls with the root.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import fnn
from experiments.lecture.lesson import Picture
from fnn.plot.style import BLUE, GREEN, GREY, VERMILION, figure_of, styled

TITLE = "Batch, mini-batch, single example"
EQUATION = "g_B = mean over B examples of dL_i/dw,   E(g_B) = dL/dw,   std(g_B) = std(g_1) / sqrt(B)"

EXAMPLES, NOISE = 256, 1.0
SIZES = {"single example": 1, "mini-batch of 16": 16, "batch of all 256": EXAMPLES}
COLOURS = (VERMILION, GREEN, BLUE)
RATE, STEPS, SHOWN, RUNS = 0.1, 200, 40, 100
START = {"w": jnp.array([[-1.0]]), "b": jnp.array([-1.5])}
DRAWN = 4 ** np.arange(5)  # batches of 1 to 256 examples, drawn with replacement


# --8<-- [start:code]
def line(key: jax.Array) -> fnn.data.Dataset:
    """Points about the line y = 2 x + 1, x of mean 0 and variance 1."""
    for_x, for_noise = jax.random.split(key)
    x = jax.random.uniform(for_x, (EXAMPLES, 1), minval=-(3**0.5), maxval=3**0.5)
    return fnn.data.Dataset(x, 2 * x + 1 + NOISE * jax.random.normal(for_noise, x.shape))


DATA, NET = line(jax.random.key(1)), fnn.nn.dense(1)
OBJECTIVE = fnn.train.supervised(NET, fnn.losses.squared_error)


def batch(key: jax.Array, size: int) -> fnn.data.Dataset:
    """All of the data, or so many examples drawn from it."""
    rows = jax.random.randint(key, (size,), 0, EXAMPLES)
    return DATA if size == EXAMPLES else jax.tree.map(lambda leaf: leaf[rows], DATA)


def descend(size: int, key: jax.Array) -> jax.Array:
    """(w, b) after each step, (STEPS, 2)."""
    tx = fnn.optim.sgd(RATE)
    step = fnn.train.make_step(OBJECTIVE, tx)
    state = fnn.train.init_state(key, NET, tx, DATA.x)._replace(params=START)

    def one(state: fnn.train.TrainState, key: jax.Array) -> tuple[fnn.train.TrainState, jax.Array]:
        state, _ = step(state, batch(key, size))
        return state, jnp.array([state.params["w"][0, 0], state.params["b"][0]])

    return jax.lax.scan(one, state, jax.random.split(key, STEPS))[1]


# --8<-- [end:code]


class Found(NamedTuple):
    """The paths by size, the losses along them above the least one, and the gradient's noise by batch size."""

    paths: dict[str, np.ndarray]  # (STEPS + 1, 2), of one run
    above: dict[str, np.ndarray]  # (STEPS + 1,), the mean over runs
    noise: np.ndarray  # (len(DRAWN),), standard deviation of a batch's gradient at the start
    in_theory: np.ndarray  # that of one example's gradient / sqrt(B)
    lowest: np.ndarray  # (w, b) of the least loss


def gradient(rows: jax.Array) -> jax.Array:
    """(dL/dw, dL/db) at the start, for a batch of these examples."""
    chosen = jax.tree.map(lambda leaf: leaf[rows], DATA)
    g = fnn.inspect.backprop(NET, fnn.losses.squared_error, START, {}, chosen).gradient
    return jnp.concatenate([g["w"][0], g["b"]])


def spread(gradients: jax.Array) -> float:
    """Their standard deviation, of both coordinates together."""
    return float(np.sqrt(np.asarray(gradients, np.float64).var(axis=0).sum()))


def heights(points: np.ndarray) -> np.ndarray:
    """The loss over all of the data at each (w, b), (..., 2)."""
    x, y = (np.asarray(leaf, np.float64)[:, 0] for leaf in DATA)
    return np.mean((points[..., :1] * x + points[..., 1:] - y) ** 2, axis=-1)


def work() -> Found:
    """Many runs of each size, and many batches of each size at the start."""
    keys, start = jax.random.split(jax.random.key(0), RUNS), np.array([START["w"][0, 0], START["b"][0]])
    x, y = (np.asarray(leaf, np.float64)[:, 0] for leaf in DATA)
    lowest, paths, above = np.polyfit(x, y, 1), {}, {}
    for name, size in SIZES.items():
        runs = np.asarray(jax.jit(jax.vmap(lambda key, size=size: descend(size, key)))(keys), np.float64)
        runs = np.insert(runs, 0, start, axis=1)
        paths[name], above[name] = runs[0], heights(runs).mean(axis=0) - heights(lowest)
    gradients = jax.jit(jax.vmap(gradient))
    rows = jax.random.randint(jax.random.key(2), (2000, EXAMPLES), 0, EXAMPLES)
    noise = np.array([spread(gradients(rows[:, :size])) for size in DRAWN])
    in_theory = spread(gradients(jnp.arange(EXAMPLES)[:, None])) / np.sqrt(DRAWN)
    return Found(paths, above, noise, in_theory, lowest)


def findings(found: Found) -> list[str]:
    """What the noise, the losses and the cost are."""
    slope = np.polyfit(np.log(DRAWN), np.log(found.noise), 1)[0]
    halfway = "; ".join(
        f"{name} {int(np.argmax(found.above[name] < 1))} steps, {size * int(np.argmax(found.above[name] < 1))} examples"
        for name, size in SIZES.items()
    )
    floors = [found.above[name][-STEPS // 2 :].mean() for name in SIZES]
    return [
        f"The gradient's noise falls as B to the power {slope:.3f}: {found.noise[0]:.3g} to {found.noise[-1]:.2g}.",
        f"To come within 1 of the least loss takes: {halfway}.",
        f"At a fixed learning rate a single example ends {floors[0]:.2g} above the least loss, a mini-batch"
        f" {floors[1]:.2g}, {floors[0] / floors[1]:.0f} times less; all of the data {floors[2]:.0e}.",
    ]


@styled
def pictures(found: Found) -> dict[str, Picture]:
    """The paths on the loss; then the noise by batch size, and the loss by what it cost."""
    paths = figure_of(len(SIZES), width=3.3, height=3.0, lines=False)
    w, b = np.meshgrid(np.linspace(-1.5, 3.5, 80), np.linspace(-2, 2.5, 80))
    loss = heights(np.stack([w, b], axis=-1))
    for axes, colour, (name, path) in zip(paths.axes, COLOURS, found.paths.items(), strict=True):
        axes.contour(w, b, loss, levels=(2, 4, 8, 12, 16, 24), colors="#CCCCCC", linewidths=0.8)
        axes.plot(*path[: SHOWN + 1].T, ".-", color=colour, linewidth=1.2, markersize=4)
        axes.plot(*found.lowest, "+", color="black", markersize=10, markeredgewidth=1.5)
        axes.set(title=f"{name}\n{SHOWN} steps, {SHOWN * SIZES[name]:,} examples", xlabel="w", ylabel="b")
    costs = figure_of(2, width=4.6, height=3.2)
    noise, fall = costs.axes
    noise.loglog(DRAWN, found.in_theory, color=GREY, label="std of one example / √B")
    noise.loglog(DRAWN, found.noise, "o", color=BLUE, label="measured")
    noise.set(title="noise of the gradient", xlabel="batch size B, examples", ylabel="standard deviation of dL/d(w, b)")
    for colour, (name, above) in zip(COLOURS, found.above.items(), strict=True):
        fall.loglog(SIZES[name] * np.arange(1, STEPS + 1), above[1:], color=colour, label=name)
    fall.set(title="loss by cost", xlabel="examples read", ylabel="loss above the least one", ylim=(1e-4, 40))
    for axes in costs.axes:
        axes.legend()
    return {"paths": Picture(paths, PATHS), "costs": Picture(costs, COSTS)}


PATHS = (
    "Equally many steps at the same learning rate, with the lowest point as a cross: the same way down, but the fewer"
    " examples a step sees, the more it strays, and the less it costs."
)
COSTS = (
    "Left: four times the examples halve the noise. Right: for the same number of examples read, small batches get down"
    " sooner; then they stay where noise and learning rate hold them, and larger batches go further."
)
