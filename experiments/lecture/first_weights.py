"""First weights: how activations spread or die through ten layers, by the variance that the weights are drawn with.

A sum of d_in products has d_in Var(w) times the mean square of its inputs as its variance. Near 0 tanh passes it on,
so weights of variance 1 / d_in keep it: normalized Xavier's. ReLU cuts half of it off, so He draws with 2 / d_in.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import fnn
from experiments.lecture.lesson import Picture
from fnn.plot.style import BLUE, figure_of, styled
from fnn.typing import Initializer

TITLE = "First weights"
EQUATION = "Var(z^l) = d_in Var(w) E((a^(l-1))^2),   tanh near 0: E(a^2) ~ Var(z),   ReLU: E(a^2) = Var(z) / 2"

LAYERS, WIDTH, EXAMPLES, DRAWS = 10, 128, 64, 32
SPREAD = 0.1  # root mean square of the inputs: near 0, where tanh is a line
# The way of drawing, and the variance of a weight between layers of WIDTH units.
WEIGHTS: dict[str, tuple[Initializer, float]] = {
    "Gaussian, 0.01": (fnn.initializers.gaussian(0.01), 0.01**2),
    "Xavier": (fnn.initializers.xavier(), 1 / (3 * WIDTH)),
    "normalized Xavier": (fnn.initializers.normalized_xavier(), 1 / WIDTH),
    "He": (fnn.initializers.he(), 2 / WIDTH),
}
ACTIVATIONS = ("tanh", "relu")
NAMES = {"tanh": "tanh", "relu": "ReLU"}


class Through(NamedTuple):
    """Ten layers of one kind: a of one draw, and by layer the mean of a^2, of each draw and in theory."""

    a: np.ndarray  # (LAYERS, EXAMPLES, WIDTH)
    each: np.ndarray  # (DRAWS, LAYERS)
    theory: np.ndarray  # (LAYERS,)

    @property
    def squares(self) -> np.ndarray:
        """The mean of a^2 by layer, over all draws."""
        return self.each.mean(axis=0)


Found = dict[tuple[str, str], Through]


# --8<-- [start:code]
def first_weights(w_init: Initializer, key: jax.Array) -> jax.Array:
    """W of ten layers, each drawn with a key of its own."""
    return jax.vmap(lambda key: w_init(key, (WIDTH, WIDTH)))(jax.random.split(key, LAYERS))


def through_layers(activation: str, weights: jax.Array, x: jax.Array) -> jax.Array:
    """The activations of every layer of a network with these weights."""

    def layer(a: jax.Array, w: jax.Array) -> tuple[jax.Array, jax.Array]:
        a = fnn.activations.get(activation)(a @ w)
        return a, a

    return jax.lax.scan(layer, x, weights)[1]


def in_theory(activation: str, variance: float) -> np.ndarray:
    """E(a^2) of every layer, for a normal z: the mean of f(z)^2, where Var(z) = d_in Var(w) E(a^2) before."""
    f, square, squares = fnn.activations.get(activation), SPREAD**2, []
    g, weight = np.polynomial.hermite_e.hermegauss(100)  # a mean over g ~ N(0, 1) is a sum over these points
    for _ in range(LAYERS):
        a = np.asarray(f(np.sqrt(WIDTH * variance * square) * g))
        square = float(weight @ a**2 / weight.sum())
        squares.append(square)
    return np.array(squares)


# --8<-- [end:code]


def work() -> Found:
    """Both activations with each kind of first weights; all kinds and draws in one program."""
    for_x, key = jax.random.split(jax.random.key(0))
    x, keys = jax.random.normal(for_x, (EXAMPLES, WIDTH)), jax.random.split(key, DRAWS)
    x = x * SPREAD / jnp.sqrt(jnp.mean(jnp.square(x)))
    weights = jnp.stack([jax.vmap(lambda key, w=w: first_weights(w, key))(keys) for w, _ in WEIGHTS.values()])

    def draw(activation: str, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
        a = through_layers(activation, weights, x)
        return a, jnp.mean(jnp.square(a), axis=(1, 2))

    found = {}
    for activation in ACTIVATIONS:
        a, squares = jax.jit(jax.vmap(jax.vmap(partial(draw, activation))))(weights)
        for i, (name, (_, variance)) in enumerate(WEIGHTS.items()):
            each = np.asarray(squares[i], np.float64)
            found[activation, name] = Through(np.asarray(a[i, 0]), each, in_theory(activation, variance))
    return found


def findings(found: Found) -> list[str]:
    """What ten layers leave of the mean of a^2."""

    def left(activation: str, weights: str) -> str:
        return f"{found[activation, weights].squares[-1] / SPREAD**2:.2g}"

    away = max(float(np.abs(np.log(kind.squares / kind.theory)).max()) for kind in found.values())
    tanh, relu = ("; ".join(f"{name}: {left(f, name)}" for name in WEIGHTS) for f in ACTIVATIONS)
    return [
        f"Ten layers of tanh leave of the inputs' mean square, as a factor, {tanh}.",
        f"Ten of ReLU, {relu}.",
        f"The means over {DRAWS} draws are at most {np.expm1(away):.0%} from theory at any layer.",
    ]


@styled
def pictures(found: Found) -> dict[str, Picture]:
    """The histograms layer by layer, and the mean squares with what theory says."""
    spread = figure_of(len(found), width=2.45, height=2.5, most=len(WEIGHTS), lines=False)
    for axes, ((activation, weights), kind) in zip(spread.axes, found.items(), strict=True):
        _ridges(axes, kind.a, 1.0 if activation == "tanh" else 0.4)
        axes.set(title=f"{NAMES[activation]}, {weights}", xlabel="activation a" if activation == "relu" else None)
    for axes in spread.axes[:: len(WEIGHTS)]:
        axes.set_ylabel("layer, from the input")
    squares = figure_of(len(ACTIVATIONS), width=4.4, height=3.3)
    for axes, activation in zip(squares.axes, ACTIVATIONS, strict=True):
        for name, marker in zip(WEIGHTS, "osD^", strict=True):
            kind, layers = found[activation, name], np.arange(1, LAYERS + 1)
            (line,) = axes.semilogy(layers, kind.squares, marker, label=name, markersize=5)
            axes.semilogy(layers, kind.theory, color=line.get_color(), linewidth=1)
        axes.set(title=NAMES[activation], xlabel="layer, from the input", ylabel="mean of a²", ylim=(1e-24, 10))
    squares.axes[0].legend(loc="lower left")
    return {"spread": Picture(spread, SPREAD_CAPTION), "squares": Picture(squares, SQUARES_CAPTION)}


SPREAD_CAPTION = (
    "Activations after 1, 4, 7 and 10 layers, histograms scaled to one height, the zeros of ReLU left out. They"
    " keep their spread with tanh and normalized Xavier, and with ReLU and He; else they collapse onto 0, or grow until"
    " tanh saturates."
)
SQUARES_CAPTION = "Marks are measured, lines are theory. Level is what a deep network needs to learn at all its layers."


def _ridges(axes: Any, a: np.ndarray, limit: float) -> None:
    """A histogram for each third layer, one above the other, the first layer on top."""
    edges = np.linspace(-limit if a.min() < 0 else 0, limit, 81)
    for layer in range(0, LAYERS, 3):
        counts, _ = np.histogram(a[layer][a[layer] != 0], edges)
        base, heights = -(layer + 1), 2.5 * counts / counts.max()
        axes.fill_between(edges[:-1], base, base + heights, step="post", color=BLUE, alpha=0.8, linewidth=0)
    shown = np.arange(1, LAYERS + 1, 3)
    axes.set_yticks(-shown, [str(layer) for layer in shown])
    axes.set(xlim=(edges[0], edges[-1]), xticks=np.linspace(edges[0], edges[-1], 3), ylim=(-LAYERS - 0.2, 1.8))
