"""A neuron and what it can learn: AND and OR, but not XOR, for which one hidden layer is enough.

The perceptron says 1 where x W + b >= 0, else 0. Its rule: at each example, add (y - y_hat) x to W and y - y_hat to b.
XOR asks for b < 0, w_1 + b >= 0, w_2 + b >= 0 and w_1 + w_2 + b < 0. The middle two add up to w_1 + w_2 + 2 b >= 0,
the outer two to w_1 + w_2 + 2 b < 0: no numbers do both.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import fnn
from experiments.lecture.lesson import Picture
from fnn.plot.style import BLUE, ORANGE, figure_of, styled

TITLE = "Neuron and perceptron"
EQUATION = "y_hat = step(x W + b),   W <- W + (y - y_hat) x,   b <- b + (y - y_hat)"

EPOCHS, DRAWS, SPAN, POINTS = 20, 64, (-0.5, 1.5), 201


class Found(NamedTuple):
    """What came out."""

    mistakes: np.ndarray  # (gates, epochs), of the perceptron
    chances: np.ndarray  # (draws, 4), the hidden layer's probabilities of 1
    planes: dict[str, np.ndarray]  # x W + b over the plane
    possible: set[tuple[int, ...]]  # what neurons say at the four points


# --8<-- [start:code]
X = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
GATES = {"AND": [0, 0, 0, 1], "OR": [0, 1, 1, 1], "XOR": [0, 1, 1, 0]}
neuron = fnn.nn.perceptron()  # step(x W + b)
HIDDEN = fnn.nn.mlp([2, 1], "tanh")


def correct(params: Any, example: tuple[jax.Array, jax.Array]) -> tuple[Any, jax.Array]:
    """Rosenblatt's rule at one example: nothing changes where the neuron is right."""
    x, y = example
    error = y - neuron.apply(params, {}, x[None])[0][0]
    change = {"dense_0": {"w": jnp.outer(x, error), "b": error}}
    return jax.tree.map(jnp.add, params, change), error[0]


def learn(y: jax.Array) -> tuple[Any, jax.Array]:
    """The parameters after twenty rounds from zero, and the mistakes in each round."""

    def epoch(params: Any, _: None) -> tuple[Any, jax.Array]:
        params, errors = jax.lax.scan(correct, params, (X, y))
        return params, jnp.abs(errors).sum()

    zero = {"dense_0": {"w": jnp.zeros((2, 1)), "b": jnp.zeros(1)}}
    return jax.lax.scan(epoch, zero, length=EPOCHS)


def learn_hidden(key: jax.Array) -> Any:
    """A hidden layer of two units, by gradient descent on XOR."""
    tx, data = fnn.optim.adam(0.1), fnn.data.Dataset(X, jnp.array(GATES["XOR"])[:, None])
    loss_fn = fnn.train.supervised(HIDDEN, fnn.losses.sigmoid_binary_cross_entropy)
    step = fnn.train.make_step(loss_fn, tx)
    start = fnn.train.init_state(key, HIDDEN, tx, X)
    return fnn.train.run(step, data, batch_size=4, epochs=200)(start)[0].params


# --8<-- [end:code]


def possible_gates() -> set[tuple[int, ...]]:
    """What neurons with weights on a fine grid say at the four points: every function of two bits that came up."""
    grid = jnp.linspace(-2, 2, 41)
    w_1, w_2, b = (part.ravel() for part in jnp.meshgrid(grid, grid, grid))
    params = {"dense_0": {"w": jnp.stack([w_1, w_2], axis=1)[:, :, None], "b": b[:, None]}}
    says = jax.jit(jax.vmap(lambda p: neuron.apply(p, {}, X)[0][:, 0]))(params)
    return {tuple(int(bit) for bit in row) for row in np.unique(np.asarray(says), axis=0)}


def work() -> Found:
    """Trains a perceptron on each gate and an MLP on XOR, and looks at z over the plane."""
    targets = jnp.array(list(GATES.values()), float)
    params, mistakes = jax.jit(jax.vmap(learn))(targets)
    many = jax.jit(jax.vmap(learn_hidden))(jax.random.split(jax.random.key(0), DRAWS))
    logits = jax.vmap(lambda p: HIDDEN.apply(p, {}, X)[0][:, 0])(many)
    chances = np.asarray(fnn.activations.sigmoid(logits))
    hidden = jax.tree.map(lambda p: p[np.flatnonzero(learned(chances))[0]], many)
    side = jnp.linspace(*SPAN, POINTS)
    plane = jnp.stack(jnp.meshgrid(side, side), axis=-1).reshape(-1, 2)
    z_of = fnn.nn.perceptron(1, "identity")  # the same neuron before its step
    planes = {
        gate: np.asarray(z_of.apply(jax.tree.map(lambda p, i=i: p[i], params), {}, plane)[0])
        for i, gate in enumerate(GATES)
    }
    planes["XOR, hidden layer"] = np.asarray(HIDDEN.apply(hidden, {}, plane)[0])
    square = {name: z.reshape(POINTS, POINTS) for name, z in planes.items()}
    return Found(np.asarray(mistakes), chances, square, possible_gates())


def learned(chances: np.ndarray) -> np.ndarray:
    """Which draws have XOR right at all four points, and surely so."""
    return np.abs(chances - np.array(GATES["XOR"])).max(axis=1) < 0.1


def findings(found: Found) -> list[str]:
    """What the numbers say."""
    last = [int(np.flatnonzero(row)[-1]) + 1 for row in found.mistakes[:2]]
    return [
        f"The perceptron makes its last mistake on AND in round {last[0]} and on OR in round {last[1]}; on XOR it still"
        f" makes {found.mistakes[2, -1]:.0f} mistakes a round after {EPOCHS}.",
        f"Of the 16 functions of two bits, neurons on a grid of 41^3 weights make {len(found.possible)}: all but XOR"
        " and its opposite.",
        f"Two hidden units learn XOR from {learned(found.chances).sum()} of {DRAWS} first weights; the others stay"
        " undecided at some points.",
    ]


@styled
def pictures(found: Found) -> dict[str, Picture]:
    """A panel for each gate: the four points, and the region where the neuron says 1."""
    figure = figure_of(4, width=3.1, height=3.0, most=2, lines=False)
    side = np.linspace(*SPAN, POINTS)
    names = ("AND: one neuron", "OR: one neuron", "XOR: one neuron", "XOR: two hidden units")
    for axes, (gate, z), name in zip(figure.axes, found.planes.items(), names, strict=True):
        axes.contourf(side, side, z, levels=[-np.inf, 0, np.inf], colors=["white", BLUE], alpha=0.25)
        axes.contour(side, side, z, levels=[0], colors=[BLUE], linewidths=1.8)
        for x, y in zip(np.asarray(X), GATES[gate.split(",")[0]], strict=True):
            colour = ORANGE if y else "white"
            axes.plot(*x, "o", markersize=17, markerfacecolor=colour, markeredgecolor="black", clip_on=False)
            axes.text(*x, f"{y:.0f}", ha="center", va="center", fontsize=10)
        axes.set(title=name, xlabel="$x_1$", ylabel="$x_2$", xticks=[0, 1], yticks=[0, 1], aspect="equal")
    caption = (
        "Each point's wanted output is written on it; in the blue region, its border included, the network says 1. A"
        " straight line parts AND and OR, none parts XOR; with a hidden layer the region need not be a half plane."
    )
    return {"regions": Picture(figure, caption)}
