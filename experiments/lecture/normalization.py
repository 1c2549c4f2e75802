"""Batch normalization: what it computes, that training and evaluation differ, and what trains only with it.

In training each unit is brought to mean 0 and variance 1 over the batch, then scaled by gamma and shifted by beta,
which are learned. Evaluation shall not depend on which examples come together, so it takes running statistics.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import fnn
from experiments.lecture.lesson import Picture
from fnn.plot.style import BLUE, GREY, VERMILION, figure_of, styled

TITLE = "Normalization"
EQUATION = "y = gamma (x - mean) / sqrt(var + eps) + beta;   running <- m running + (1 - m) batch"

SMALL = jnp.array([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0])  # mean 5, variance 4
MEAN, SPREAD, BATCHES, BATCH = 5.0, 2.0, 60, 16
SEEDS, STEPS = 3, 150
NORMS = {"without": None, "batch norm": fnn.nn.batch_norm}
STDDEVS, SCALES = jnp.logspace(-3, 1, 5), jnp.logspace(-2, 2, 5)
HE, AS_THEY_ARE = (2 / 32) ** 0.5, 1.0


# --8<-- [start:code]
def normalized(x: jax.Array, gamma: float = 1.0, beta: float = 0.0) -> jax.Array:
    """A batch of training, each unit (column) over the examples (rows)."""
    layer = fnn.nn.batch_norm()
    params, state = layer.init(jax.random.key(0), x)
    params = {"gamma": gamma * params["gamma"], "beta": beta + params["beta"]}
    return layer.apply(params, state, x, train=True)[0]


def running(batches: jax.Array) -> Any:
    """The running statistics after each of many batches (t, n, units)."""
    layer = fnn.nn.batch_norm(momentum=0.9)
    params, state = layer.init(jax.random.key(0), batches[0])

    def one(state: fnn.typing.State, x: jax.Array) -> Any:
        _, state = layer.apply(params, state, x, train=True)
        return state, state

    return jax.lax.scan(one, state, batches)[1]


def accuracy(norm: Any, stddev: jax.Array, scale: jax.Array, key: jax.Array) -> jax.Array:
    """Of a network with three hidden layers after training, by its first weights and by the scale of its inputs."""
    x, y = fnn.data.digits().train
    data = fnn.data.Dataset(scale * x[:256], y[:256])
    net, tx = fnn.nn.mlp([32, 32, 32, 10], norm=norm, w_init=fnn.initializers.gaussian(stddev)), fnn.optim.sgd(0.1)
    step = fnn.train.make_step(fnn.train.supervised(net, fnn.losses.softmax_cross_entropy), tx)
    state = fnn.train.init_state(key, net, tx, data.x)
    state, _ = jax.lax.scan(lambda state, _: step(state, data), state, length=STEPS)
    return fnn.train.make_eval(net, {"accuracy": fnn.metrics.accuracy})(state, data)["accuracy"]


# --8<-- [end:code]


class Found(NamedTuple):
    """The small batch normalized; batches and running statistics; accuracies (settings, seeds) by norm."""

    small: np.ndarray
    batches: np.ndarray
    running: dict[str, np.ndarray]
    by_stddev: dict[str, np.ndarray]
    by_scale: dict[str, np.ndarray]


def work() -> Found:
    """The layer by itself; and each kind of network, all settings at once."""
    small = jax.jit(normalized)(jnp.stack([SMALL, 100 * SMALL], axis=1))
    batches = MEAN + SPREAD * jax.random.normal(jax.random.key(1), (BATCHES, BATCH, 1))
    stddevs = jnp.concatenate([STDDEVS, jnp.full(len(SCALES), HE)])
    scales = jnp.concatenate([jnp.full(len(STDDEVS), AS_THEY_ARE), SCALES])
    keys, by_stddev, by_scale = jax.random.split(jax.random.key(0), SEEDS), {}, {}
    for name, norm in NORMS.items():
        # Seeds one after another: drawing first weights for many keys at once takes long to compile.
        def over_seeds(stddev: jax.Array, scale: jax.Array, norm: Any = norm) -> jax.Array:
            return jax.lax.map(lambda key: accuracy(norm, stddev, scale, key), keys)

        reached = np.asarray(jax.jit(jax.vmap(over_seeds))(stddevs, scales))
        by_stddev[name], by_scale[name] = reached[: len(STDDEVS)], reached[len(STDDEVS) :]
    statistics = jax.tree.map(np.asarray, jax.jit(running)(batches))
    return Found(np.asarray(small), np.asarray(batches), statistics, by_stddev, by_scale)


def findings(found: Found) -> list[str]:
    """What the figures say."""
    plain, normal = (
        np.concatenate([found.by_stddev[name].mean(axis=1), found.by_scale[name].mean(axis=1)]) for name in NORMS
    )
    scatter, last = found.batches.mean(axis=(1, 2)).std(), found.running["mean"][-20:, 0]
    became = ", ".join(f"{value:g}" for value in found.small[:, 0].round(3) + 0.0)
    return [
        f"2, 4, 4, 4, 5, 5, 7, 9 become {became}.",
        f"Means of batches scatter by {scatter:.2f}; the running mean ends at {last[-1]:.2f} and moves by"
        f" {last.std():.2f}.",
        f"Of {len(plain)} settings {int((plain > 0.9).sum())} reach 90 % of the training digits without,"
        f" {int((normal > 0.9).sum())} with batch normalization.",
    ]


@styled
def pictures(found: Found) -> dict[str, Picture]:
    """What trains; and the statistics that evaluation takes."""
    return {"training": _training(found), "running": _running(found)}


def _training(found: Found) -> Picture:
    figure = figure_of(2, width=3.6, height=2.8)
    panels = (found.by_stddev, STDDEVS, "standard deviation of first weights"), (found.by_scale, SCALES, "inputs times")
    for axes, (reached, settings, label) in zip(figure.axes, panels, strict=True):
        for (name, values), color, marker in zip(reached.items(), (VERMILION, BLUE), "so", strict=True):
            values = 100 * values
            axes.semilogx(settings, values.mean(axis=1), marker=marker, color=color, label=name)
            axes.fill_between(settings, values.min(axis=1), values.max(axis=1), color=color, alpha=0.2, linewidth=0)
        axes.axhline(10, color=GREY, linestyle=":")
        axes.set(xlabel=label, ylabel="training accuracy [%]", ylim=(0, 104))
    figure.axes[0].text(1e-3, 3, "by chance", color=GREY, fontsize=9)
    figure.axes[0].legend(loc=(0.0, 0.6), fontsize=9)
    caption = (
        f"After {STEPS} steps of gradient descent, mean and range of {SEEDS} seeds; on the right with He's weights."
        " Without it only some first weights and some scales of the inputs train; with it the inputs' scale does not"
        " matter."
    )
    return Picture(figure, caption)


def _running(found: Found) -> Picture:
    figure, steps = figure_of(2, width=3.6, height=2.6), np.arange(1, BATCHES + 1)
    batch = found.batches[..., 0]
    panels = (
        ("mean", batch.mean(axis=1), MEAN, (0, 7)),
        ("var", batch.var(axis=1, ddof=1), SPREAD**2, (0, 9.5)),
    )
    for axes, (name, each, true, limits) in zip(figure.axes, panels, strict=True):
        axes.plot(steps, each, "o", color=VERMILION, markersize=3, label="of the batch: training")
        axes.plot(steps, found.running[name][:, 0], color=BLUE, label="running: evaluation")
        axes.axhline(true, color=GREY, linestyle=":", label="of the data")
        axes.set(xlabel="batch", ylabel={"mean": "mean", "var": "variance"}[name], ylim=limits)
    figure.axes[0].legend(loc="lower right", fontsize=9)
    caption = (
        f"Batches of {BATCH} examples. Training divides by what scatters from batch to batch; evaluation takes the"
        " running statistics, which start at 0 and 1 and need some tens of batches."
    )
    return Picture(figure, caption)
