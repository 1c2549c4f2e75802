"""The update rules race: on a ravine, on a saddle, in Rosenbrock's valley, and on the 8x8 digits.

Every rule runs with 25 learning rates at once, in one program, and shows its best: the one with the least mean value
along the way, so that speed counts and not only the end. The paths, the values and a table go to runs/optimizers/.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib as mpl
import numpy as np
import optax
from matplotlib.figure import Figure

import fnn
from experiments.common import LOSS, command, console, save_pictures, show

RULES: dict[str, Callable[[Any], optax.GradientTransformation]] = {
    "sgd": fnn.optim.sgd,
    "momentum": fnn.optim.momentum,
    "nesterov": lambda rate: fnn.optim.momentum(rate, nesterov=True),
    "rmsprop": fnn.optim.rmsprop,
    "adagrad": fnn.optim.adagrad,
    "adam": fnn.optim.adam,
}
# Okabe and Ito 2008, but for the yellow, which is too light for a line.
COLOURS = dict(zip(RULES, ("#000000", "#0072B2", "#56B4E9", "#D55E00", "#009E73", "#CC79A7"), strict=True))
RATES = jnp.logspace(-4, 1, 25)


@dataclass(frozen=True)
class Options:
    """What can be chosen."""

    steps: int = 200
    """Steps on each surface."""
    epochs: int = 10
    """Epochs on the digits, in batches of 64."""
    seed: int = 0
    """Seed of the digits' networks and order."""
    out: Path = Path("runs")
    """Folder for the picture."""


class Surface(NamedTuple):
    """A function of two numbers, where a path starts on it, and what a picture shows."""

    name: str
    value: Callable[[jax.Array], jax.Array]
    start: tuple[float, float]
    x: tuple[float, float]
    y: tuple[float, float]


SURFACES = (
    Surface("ravine: x² / 2 + 10 y²", lambda w: w[0] ** 2 / 2 + 10 * w[1] ** 2, (-4.0, 1.5), (-4.6, 2.6), (-2.2, 2.2)),
    Surface(
        "saddle: x² / 2 + (y² - 1)² / 4",
        lambda w: w[0] ** 2 / 2 + (w[1] ** 2 - 1) ** 2 / 4,
        (1.5, 0.01),
        (-1.4, 1.8),
        (-0.5, 1.7),
    ),
    Surface(
        "Rosenbrock: (1 - x)² + 100 (y - x²)²",
        lambda w: (1 - w[0]) ** 2 + 100 * (w[1] - w[0] ** 2) ** 2,
        (-1.2, 1.0),
        (-1.7, 1.7),
        (-0.6, 2.2),
    ),
)


class Best(NamedTuple):
    """A rule's best run: its learning rate, the values along it, and the positions or the test accuracies."""

    rate: float
    values: np.ndarray
    trace: np.ndarray


def descend(surface: Surface, rule: Callable[[Any], optax.GradientTransformation], steps: int) -> Best:
    """The best of a rule's runs down a surface, one for each rate."""

    def run(rate: jax.Array) -> tuple[jax.Array, jax.Array]:
        tx = rule(rate)
        start = jnp.array(surface.start)

        def step(carry: Any, _: None) -> tuple[Any, jax.Array]:
            w, state = carry
            updates, state = tx.update(jax.grad(surface.value)(w), state, w)
            return (optax.apply_updates(w, updates), state), w

        (last, _), path = jax.lax.scan(step, (start, tx.init(start)), None, length=steps)
        path = jnp.concatenate([path, last[None]])
        return jax.vmap(surface.value)(path), path

    return best(*jax.jit(jax.vmap(run))(RATES))


def learn(rule: Callable[[Any], optax.GradientTransformation], options: Options) -> Best:
    """The best of a rule's networks on the digits, one for each rate: training losses and test accuracies."""
    splits, net = fnn.data.digits(), fnn.nn.mlp([64, 10])
    evaluate = fnn.train.make_eval(net, {"accuracy": fnn.metrics.accuracy})

    def run(rate: jax.Array) -> tuple[jax.Array, jax.Array]:
        tx = rule(rate)
        step = fnn.train.make_step(fnn.train.supervised(net, LOSS), tx)
        one = fnn.train.run(step, splits.train, batch_size=64, epochs=1)

        def epoch(state: fnn.train.TrainState, _: None) -> tuple[fnn.train.TrainState, tuple[jax.Array, jax.Array]]:
            state, history = one(state)
            return state, (history["loss"][0], evaluate(state, splits.test)["accuracy"])

        state = fnn.train.init_state(jax.random.key(options.seed), net, tx, splits.train.x)
        return jax.lax.scan(epoch, state, None, length=options.epochs)[1]

    return best(*jax.jit(jax.vmap(run))(RATES))


def best(values: jax.Array, traces: jax.Array) -> Best:
    """Of the runs that stayed finite, the one with the least mean value."""
    mean = np.where(np.isfinite(values).all(axis=1), np.mean(values, axis=1), np.inf)
    i = int(np.argmin(mean))
    return Best(float(RATES[i]), np.asarray(values[i]), np.asarray(traces[i]))


def picture(down: dict[str, dict[str, Best]], digits: dict[str, Best]) -> Any:
    """Above, the paths over the surfaces' contours; below, the values; to the right the digits."""
    style: Any = {"axes.spines.right": False, "axes.spines.top": False, "figure.constrained_layout.use": True}
    with mpl.rc_context(style):
        figure = Figure(figsize=(17, 7.6))
        axes = figure.subplots(2, len(SURFACES) + 1)
        for column, surface in enumerate(SURFACES):
            contours(axes[0, column], surface, down[surface.name])
            curves(axes[1, column], {name: run.values for name, run in down[surface.name].items()}, "step")
            axes[1, column].set_ylabel("value")
        curves(axes[0, -1], {name: run.values for name, run in digits.items()}, "epoch", first=1)
        axes[0, -1].set(title="8x8 digits, MLP 64-64-10", ylabel="training loss")
        curves(axes[1, -1], {name: 1 - run.trace for name, run in digits.items()}, "epoch", first=1)
        axes[1, -1].set_ylabel("test error")
        figure.legend(*axes[1, -1].get_legend_handles_labels(), loc="outside upper center", ncols=6, frameon=False)
    return figure


def contours(axes: Any, surface: Surface, runs: dict[str, Best]) -> None:
    """The surface, and the path of each rule on it."""
    x, y = np.meshgrid(np.linspace(*surface.x, 200), np.linspace(*surface.y, 200))
    height = np.asarray(jax.vmap(jax.vmap(surface.value))(jnp.stack([x, y], axis=-1)))
    levels = np.quantile(height, np.linspace(0, 1, 16) ** 2)
    axes.contour(x, y, height, levels=np.unique(levels), colors="#BBBBBB", linewidths=0.8)
    for name, run in runs.items():
        axes.plot(*run.trace.T, color=COLOURS[name], linewidth=1.5, marker=".", markersize=3)
    axes.plot(*surface.start, "o", color="black", markersize=6)
    axes.set(title=surface.name, xlim=surface.x, ylim=surface.y, xlabel="x", ylabel="y")


def curves(axes: Any, values: dict[str, np.ndarray], over: str, first: int = 0) -> None:
    """One line for each rule, on a logarithmic scale that ends where float32 does."""
    for name, line in values.items():
        axes.plot(first + np.arange(len(line)), np.maximum(line, 1e-12), color=COLOURS[name], label=name)
    axes.set_yscale("log")
    axes.set_xlabel(over)
    axes.grid(alpha=0.25)


def main(options: Options) -> None:
    """Races, prints the table, writes the picture."""
    for name in ("steps", "epochs"):
        fnn.errors.check_count(name, getattr(options, name))
    fnn.errors.check_count("seed", options.seed, minimum=0)
    down = {s.name: {name: descend(s, rule, options.steps) for name, rule in RULES.items()} for s in SURFACES}
    digits = {name: learn(rule, options) for name, rule in RULES.items()}
    kinds = ["", *(s.name.partition(":")[0] for s in SURFACES), "digits"]
    runs = {name: [down[s.name][name] for s in SURFACES] for name in RULES}
    values = [
        [name, *(f"{run.values[-1]:.1e}" for run in runs[name]), f"{digits[name].trace[-1]:.1%}"] for name in RULES
    ]
    show(f"Value after {options.steps} steps, test accuracy after {options.epochs} epochs", kinds, values)
    rates = [[name, *(f"{run.rate:.2g}" for run in (*runs[name], digits[name]))] for name in RULES]
    show("At these learning rates, the best of 25", kinds, rates)
    save_pictures(options.out / "optimizers", race=picture(down, digits))
    console.print(f"The picture is {options.out / 'optimizers' / 'race.png'}")


if __name__ == "__main__":
    command(main, Options, prog="python -m experiments.optimizers", description=__doc__)
