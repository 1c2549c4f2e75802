"""Regularization: dropout, l1, l2 and early stopping on a network that learns its mistakes by heart.

A hundred digits, every fifth of them under a wrong label: a network with enough weights learns all of them, the wrong
ones too, and its loss on other digits rises again. What holds the weights back, adds noise, or stops in time, leaves
it less of that.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

import fnn
from experiments.lecture.lesson import Picture
from fnn.plot.style import BLUE, GREY, VERMILION, figure_of, styled

TITLE = "Regularization"
EQUATION = "L = mean_i loss_i + l2 sum w^2 + l1 sum |w|;   dropout: a' = a m / (1 - rate), m ~ Bernoulli(1 - rate)"

KINDS = {"nothing": (0.0, 0.0, 0.0), "dropout": (0.5, 0.0, 0.0), "l2": (0.0, 5e-3, 0.0), "l1": (0.0, 0.0, 3e-3)}
STEPS, SEEDS, PATIENCE = 150, 5, 40
NEAR_ZERO = 1e-3


def digits() -> tuple[fnn.data.Dataset, fnn.data.Dataset]:
    """A hundred digits to train on, every fifth under the label of the next digit, and 500 to validate on."""
    x, y = fnn.data.digits().train
    wrong = (y + (jnp.arange(len(y)) % 5 == 0)) % 10
    return fnn.data.Dataset(x[:100], wrong[:100]), fnn.data.Dataset(x[100:600], y[100:600])


# --8<-- [start:code]
LOSS = fnn.losses.softmax_cross_entropy


def optimizer() -> optax.GradientTransformation:
    """Adam with steps that go to zero, so that weights which l1 holds at zero come to rest there."""
    return fnn.optim.adam(optax.cosine_decay_schedule(1e-2, STEPS))


def run_of(dropout: jax.Array, l2: jax.Array, l1: jax.Array, key: jax.Array) -> Any:
    """One run: its last weights, and after each step the losses on both sets, without penalty and dropout."""
    train, validation = digits()
    net, tx = fnn.nn.mlp([32, 10], dropout=dropout), optimizer()
    step = fnn.train.make_step(fnn.train.supervised(net, LOSS, l2=l2, l1=l1), tx)
    measure = fnn.train.make_eval(net, {"loss": LOSS})

    def measured(state: fnn.train.TrainState, _: Any) -> Any:
        state, _ = step(state, train)
        return state, (measure(state, train)["loss"], measure(state, validation)["loss"])

    state, losses = jax.lax.scan(measured, fnn.train.init_state(key, net, tx, train.x), length=STEPS)
    return state.params, losses


over_seeds = jax.vmap(run_of, in_axes=(None, None, None, 0))
over_kinds = jax.jit(jax.vmap(over_seeds, in_axes=(0, 0, 0, None)))
# --8<-- [end:code]


class Found(NamedTuple):
    """By kind and seed: the losses after each step, and the magnitudes of the first weights that have an input."""

    train: dict[str, np.ndarray]
    validation: dict[str, np.ndarray]
    weights: dict[str, np.ndarray]
    stopped: fnn.train.FitResult


def work() -> Found:
    """Every kind and every seed in one program; then the first run again, by `fnn.fit` with patience."""
    train, validation = digits()
    keys = jax.random.split(jax.random.key(0), SEEDS)
    params, losses = over_kinds(*jnp.array(list(KINDS.values())).T, keys)
    on_train, on_validation = np.asarray(losses)
    seen = np.asarray(train.x.std(axis=0) > 0)  # the others, white in all images, only the penalties move
    weights = np.abs(np.asarray(params["dense_0"]["w"]))[:, :, seen].reshape(len(KINDS), SEEDS, -1)
    stopped = fnn.fit(
        fnn.nn.mlp([32, 10]),
        LOSS,
        optimizer(),
        train,
        key=keys[0],
        epochs=STEPS,
        batch_size=len(train.x),
        validation=validation,
        patience=PATIENCE,
        progress=False,
    )
    by_kind = [dict(zip(KINDS, found, strict=True)) for found in (on_train, on_validation, weights)]
    return Found(by_kind[0], by_kind[1], by_kind[2], stopped)


def gaps(found: Found) -> dict[str, np.ndarray]:
    """Validation less training loss, a number for each seed: at the end, or where early stopping ends."""
    last = {kind: found.validation[kind][:, -1] - found.train[kind][:, -1] for kind in KINDS}
    best, seeds = found.validation["nothing"].argmin(axis=1), np.arange(SEEDS)
    early = found.validation["nothing"][seeds, best] - found.train["nothing"][seeds, best]
    return {**last, "early stopping": early}


def findings(found: Found) -> list[str]:
    """What the figures say."""
    told = ", ".join(f"{kind} {gap.mean():.2f} ± {gap.std():.2f}" for kind, gap in gaps(found).items())
    share = {kind: (weights < NEAR_ZERO).mean() for kind, weights in found.weights.items()}
    norm = {kind: np.sqrt(np.square(weights).sum(axis=1)).mean() for kind, weights in found.weights.items()}
    history = found.stopped.history["val_loss"]
    return [
        f"Validation less training loss, mean and spread of {SEEDS} seeds: {told}.",
        f"Weights below {NEAR_ZERO}: {100 * share['l1']:.0f} % with l1, {100 * share['l2']:.0f} % with l2,"
        f" {100 * share['nothing']:.0f} % with nothing.",
        f"Norm of the first layer's weights: {norm['l2']:.1f} with l2, {norm['nothing']:.1f} with nothing.",
        f"Early stopping: least validation loss {history.min():.2f} after {history.argmin() + 1} steps, patience ends"
        f" it after {len(history)}; at the end it would have been {found.validation['nothing'][0, -1]:.2f}.",
    ]


@styled
def pictures(found: Found) -> dict[str, Picture]:
    """Both losses of each kind; and how many weights are how small."""
    return {"losses": _losses(found), "weights": _weights(found)}


def _losses(found: Found) -> Picture:
    figure, steps = figure_of(len(KINDS), width=3.4, height=2.3, most=2), np.arange(1, STEPS + 1)
    for axes, kind in zip(figure.axes, KINDS, strict=True):
        for losses, color, name in ((found.train, BLUE, "training"), (found.validation, VERMILION, "validation")):
            axes.plot(steps, losses[kind].mean(axis=0), color=color, label=name)
            low, high = losses[kind].min(axis=0), losses[kind].max(axis=0)
            axes.fill_between(steps, low, high, color=color, alpha=0.2, linewidth=0)
        axes.set(title=kind, xlabel="step", ylabel="loss [nats]", ylim=(0, 2.5))
    first, best = figure.axes[0], 1 + found.validation["nothing"].mean(axis=0).argmin()
    first.axvline(best, color=GREY, linestyle=":")
    first.text(best + 4, 2.2, "stop here", color=GREY, fontsize=9)
    figure.axes[1].legend(loc="upper right", fontsize=9)
    caption = (
        f"Mean and range of {SEEDS} seeds. With nothing the validation loss turns up while the training loss goes to 0;"
        " dropout, l2 and l1 keep the two nearer to each other."
    )
    return Picture(figure, caption)


def _weights(found: Found) -> Picture:
    figure = figure_of(1, width=5.2, height=3.0)
    (axes,) = figure.axes
    for (kind, weights), dashes in zip(found.weights.items(), ("-", ":", "--", "-."), strict=True):
        ordered = np.sort(weights.ravel())
        axes.semilogx(np.maximum(ordered, 1e-8), np.linspace(0, 100, len(ordered)), dashes, label=kind)
    axes.set(xlabel="magnitude |w|, first layer", ylabel="weights that are smaller [%]", xlim=(1e-7, 3), ylim=(0, 101))
    axes.legend(loc="center left", fontsize=9)
    caption = (
        "l1 leaves most weights next to zero and the others large; l2 makes all of them smaller, few of them zero."
    )
    return Picture(figure, caption)
