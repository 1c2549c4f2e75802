"""An MLP against a CNN of as many parameters, on digits, and on digits that are moved by a pixel or two.

A dense layer has a weight of its own for each pixel. A convolution has the same few weights at every place, so that a
digit that is moved gives the same features, moved; and it uses each weight many times, which costs operations.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import fnn
from experiments.lecture.lesson import Picture
from fnn.plot.style import figure_of, styled

TITLE = "MLP against CNN"
EQUATION = "dense: z_j = sum_i x_i W_ij + b_j;   convolution: z_pq = sum_uv x_(p+u)(q+v) K_uv + b"

SEEDS, EPOCHS, FURTHEST = 4, 20, 2
PIXELS = np.arange(-FURTHEST, FURTHEST + 1)
SHIFTS = np.array([(down, right) for down in PIXELS for right in PIXELS])


# --8<-- [start:code]
NETS = {
    "MLP": fnn.nn.sequential(fnn.nn.flatten(), fnn.nn.dense(25), fnn.nn.activation("relu"), fnn.nn.dense(10)),
    "CNN": fnn.nn.cnn([8, 16], [], 10),
}


def images(digits: fnn.data.Dataset) -> fnn.data.Dataset:
    """Rows of 64 numbers as images of 8 x 8 pixels and one channel."""
    return fnn.data.Dataset(digits.x.reshape(-1, 8, 8, 1), digits.y)


def shifted(x: jax.Array, shift: jax.Array) -> jax.Array:
    """Images moved by some pixels down and to the right; what comes in is paper, what goes out is lost."""
    padded = jnp.pad(x, ((0, 0), (FURTHEST, FURTHEST), (FURTHEST, FURTHEST), (0, 0)))
    return jax.lax.dynamic_slice(padded, (0, FURTHEST - shift[0], FURTHEST - shift[1], 0), x.shape)


def accuracies(net: fnn.nn.Layer, key: jax.Array) -> jax.Array:
    """One network, trained on digits as they are, and its accuracy on test digits for each shift."""
    train, test = map(images, fnn.data.digits())
    tx = fnn.optim.adam(5e-3)
    step = fnn.train.make_step(fnn.train.supervised(net, fnn.losses.softmax_cross_entropy), tx)
    state = fnn.train.init_state(key, net, tx, train.x)
    state, _ = fnn.train.run(step, train, batch_size=64, epochs=EPOCHS)(state)
    evaluate = fnn.train.make_eval(net, {"accuracy": fnn.metrics.accuracy})
    return jax.lax.map(lambda shift: evaluate(state, test._replace(x=shifted(test.x, shift)))["accuracy"], SHIFTS)


# --8<-- [end:code]


class Found(NamedTuple):
    """By network: its summary, and its accuracy (seeds, down, right)."""

    summaries: dict[str, fnn.inspect.Summary]
    accuracy: dict[str, np.ndarray]


def work() -> Found:
    """All seeds of a network in one program."""
    keys = jax.random.split(jax.random.key(0), SEEDS)
    summaries, accuracy = {}, {}
    for name, net in NETS.items():
        summaries[name] = fnn.inspect.summary(net, jax.ShapeDtypeStruct((1, 8, 8, 1), jnp.float32))
        # One seed after another: a program for all at once takes longer to compile than it saves.
        reached = jax.jit(lambda keys, net=net: jax.lax.map(lambda key: accuracies(net, key), keys))(keys)
        accuracy[name] = np.asarray(reached).reshape(SEEDS, len(PIXELS), len(PIXELS))
    return Found(summaries, accuracy)


def by_distance(accuracy: np.ndarray) -> np.ndarray:
    """The accuracy of each seed (seeds, 3): not moved, and by one and by two pixels along one axis."""
    middle = FURTHEST
    rings = [accuracy[:, middle, middle]]
    for d in range(1, FURTHEST + 1):
        sides = [(middle - d, middle), (middle + d, middle), (middle, middle - d), (middle, middle + d)]
        rings.append(np.mean([accuracy[:, row, column] for row, column in sides], axis=0))
    return np.stack(rings, axis=1)


def findings(found: Found) -> list[str]:
    """What the figure says."""
    sentences = []
    for name, accuracy in found.accuracy.items():
        still, one, two = (f"{m:.1f} ± {s:.1f} %" for m, s in _mean_and_spread(100 * by_distance(accuracy)))
        summary = found.summaries[name]
        sentences.append(
            f"{name}, {summary.parameters:,} parameters, {summary.flops:,} operations an image: {still} of the test"
            f" digits, {one} moved by a pixel, {two} by two."
        )
    return sentences


def _mean_and_spread(values: np.ndarray) -> Any:
    return zip(values.mean(axis=0), values.std(axis=0), strict=True)


@styled
def pictures(found: Found) -> dict[str, Picture]:
    """A map of each network: accuracy by where the digits are moved to."""
    figure = figure_of(len(NETS), width=3.6, height=3.5, lines=False)
    for axes, (name, accuracy) in zip(figure.axes, found.accuracy.items(), strict=True):
        share = 100 * accuracy.mean(axis=0)
        axes.imshow(share, cmap="cividis", vmin=0, vmax=100, extent=(-2.5, 2.5, 2.5, -2.5))
        for (row, column), value in np.ndenumerate(share):
            color = "black" if value > 50 else "white"
            axes.text(PIXELS[column], PIXELS[row], f"{value:.0f}", ha="center", va="center", color=color)
        axes.set(title=f"{name}, {found.summaries[name].parameters:,} parameters", xticks=PIXELS, yticks=PIXELS)
        axes.set(xlabel="moved to the right [pixels]", ylabel="moved down [pixels]")
    caption = (
        f"Test accuracy in %, mean of {SEEDS} seeds; both were trained on digits as they are, the field in the middle."
        " Around it the CNN loses less."
    )
    return {"shifts": Picture(figure, caption)}
