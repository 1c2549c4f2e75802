"""Momentum, RMSProp, AdaGrad and Adam on a long narrow valley: their paths, and the learning rate of each coordinate.

Plain descent must not step further than the steep side allows, so along the valley it creeps. Momentum goes by an
average of the gradients, in which the steep side's cancel out. The others give each coordinate a rate of its own, by
how large its gradients were: AdaGrad by their sum of squares, RMSProp and Adam by an average of them.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import fnn
from experiments.lecture.lesson import Picture
from fnn.plot.style import BLUE, GREEN, GREY, ORANGE, VERMILION, figure_of, styled

TITLE = "Optimizers"
EQUATION = "momentum: v <- beta v + (1 - beta) dW, W <- W - lr v;   the others: W <- W - lr dW / (sqrt(v) + eps)"

STEPS = 100
STEEP = 100.0  # how much steeper across than along
START = jnp.array([-4.0, 0.4])  # as high on either side
EPS = 1e-8  # the papers'
COLOURS = (GREY, BLUE, GREEN, ORANGE, VERMILION)


# --8<-- [start:code]
RULES = {  # each with its learning rate
    "plain": (fnn.optim.sgd, 0.019),
    "momentum": (fnn.optim.momentum, 0.05),  # v = 0.9 v + 0.1 dW, as the lecture has it
    "AdaGrad": (fnn.optim.adagrad, 0.5),
    "RMSProp": (fnn.optim.rmsprop, 0.1),
    "Adam": (fnn.optim.adam, 0.2),
}


def valley(w: jax.Array) -> jax.Array:
    """A hundred times as steep across as along."""
    return (w[0] ** 2 + STEEP * w[1] ** 2) / 2


def descend(tx: optax.GradientTransformation) -> tuple[jax.Array, Any]:
    """Where each step leads, and the optimizer's state after it."""

    def step(carry: Any, _: None) -> tuple[Any, Any]:
        w, state = carry
        updates, state = tx.update(jax.grad(valley)(w), state, w)
        w = optax.apply_updates(w, updates)
        return (w, state), (w, state)

    return jax.lax.scan(step, (START, tx.init(START)), None, length=STEPS)[1]


# --8<-- [end:code]


class Run(NamedTuple):
    """One rule: the path, its heights, and the optimizer's states."""

    path: np.ndarray  # (STEPS + 1, 2)
    heights: np.ndarray  # (STEPS + 1,)
    states: Any


def work() -> dict[str, Run]:
    """Every rule down the valley."""
    found = {}
    for name, (rule, rate) in RULES.items():
        path, states = jax.jit(descend, static_argnums=0)(rule(rate))
        path = jnp.concatenate([START[None], path])
        found[name] = Run(np.asarray(path), np.asarray(jax.vmap(valley)(path)), jax.tree.map(np.asarray, states))
    return found


def rates(name: str, run: Run) -> np.ndarray:
    """What each step multiplies the gradient (Adam: its average) by, in each coordinate, read from the state."""
    lr, state = RULES[name][1], run.states
    if name == "AdaGrad":
        return lr / (np.sqrt(state.G) + EPS)
    if name == "RMSProp":
        return lr / (np.sqrt(state.v) + EPS)
    if name == "Adam":
        return lr / (np.sqrt(state.v / (1 - 0.999 ** state.count[:, None])) + EPS)
    return np.full((STEPS, 2), lr)


def crossings(run: Run) -> int:
    """How many steps lead to the valley's other side."""
    side = np.sign(run.path[:, 1])
    return int(np.sum(side[1:] != side[:-1]))


def findings(found: dict[str, Run]) -> list[str]:
    """What the paths and the states say."""
    heights = ", ".join(f"{name} {run.heights[-1]:.1g}" for name, run in found.items())
    adagrad, rmsprop = rates("AdaGrad", found["AdaGrad"]), rates("RMSProp", found["RMSProp"])
    first = np.abs(found["Adam"].path[1] - found["Adam"].path[0])
    return [
        f"Of a height of {found['plain'].heights[0]:.0f}, {STEPS} steps leave {heights}.",
        f"Plain descent changes sides at {crossings(found['plain'])} of {STEPS} steps, momentum at"
        f" {crossings(found['momentum'])}, at a rate {RULES['momentum'][1] / RULES['plain'][1]:.1f} times as large.",
        f"AdaGrad's rates only fall: along from {adagrad[0, 0]:.2g} to {adagrad[-1, 0]:.2g}, across from"
        f" {adagrad[0, 1]:.2g} to {adagrad[-1, 1]:.2g}.",
        f"Adam's first step is {first[0]:.2g} along and {first[1]:.2g} across, whatever the gradient.",
        f"RMSProp does not settle: across, its rate ends near 2/{STEEP:.0f}, at {rmsprop[-1, 1]:.3f}, where each step"
        " leads to the other side.",
    ]


@styled
def pictures(found: dict[str, Run]) -> dict[str, Picture]:
    """The paths and how fast they fall; then each coordinate's rate."""
    paths = figure_of(6, width=3.0, height=2.25)
    for axes, colour, (name, run) in zip(paths.axes, COLOURS, found.items(), strict=False):
        _contours(axes)
        axes.plot(*run.path.T, ".-", color=colour, linewidth=1.2, markersize=3)
        axes.plot(*START, "o", color="black", markersize=5)
        axes.set(title=name, xlabel="along, w₀", ylabel="across, w₁", yticks=(-0.5, 0, 0.5), ylim=(-0.6, 0.6))
        paths.axes[-1].semilogy(run.heights, color=colour, label=name)
    paths.axes[-1].set(title="how far they fall", xlabel="step", ylabel="loss L", ylim=(1e-9, 30))
    paths.axes[-1].legend(fontsize=8, loc="lower left", ncols=2)
    each = figure_of(3, width=3.3, height=2.8)
    for axes, name in zip(each.axes, ("AdaGrad", "RMSProp", "Adam"), strict=True):
        along, across = rates(name, found[name]).T
        steps = np.arange(1, STEPS + 1)
        axes.semilogy(steps, along, color=BLUE, label="along the valley")
        axes.semilogy(steps, across, color=VERMILION, label="across")
        axes.axhline(2 / STEEP, color=GREY, linewidth=1, linestyle="--", label="plain descent's limit across")
        axes.set(title=name, xlabel="step", ylabel="learning rate", ylim=(4e-3, 5))
    each.axes[0].legend(fontsize=8)
    return {"paths": Picture(paths, PATHS), "rates": Picture(each, RATES)}


PATHS = (
    "Plain descent jumps from side to side and creeps along; momentum swings through in fewer turns. AdaGrad"
    " and RMSProp make for the floor at once; Adam, which averages too, swings. RMSProp, whose rates grow as gradients"
    " shrink, does not settle."
)
RATES = (
    "Each coordinate's rate, read from the optimizer's state: smaller across, where gradients are large. AdaGrad's only"
    " fall. RMSProp forgets, so its rates grow until, across, they pass the limit; there they come to rest."
)


def _contours(axes: Any) -> None:
    x, y = np.meshgrid(np.linspace(-4.5, 1.5, 100), np.linspace(-0.6, 0.6, 100))
    axes.contour(x, y, np.asarray(valley(jnp.stack([x, y]))), levels=(0.2, 1, 4, 16), colors="#CCCCCC", linewidths=0.8)
    axes.grid(False)
