"""The chain rule: along one path it is a product, and over all paths from a weight to the loss it is a sum.

A weight of the hidden layer moves its unit, the unit moves all three outputs, and each output has its share of the
loss, L = L_0 + L_1 + L_2. So three paths lead from the weight to L. Each gives the product of the derivatives along
it, and dL/dw is their sum.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import fnn
from experiments.lecture.lesson import Picture
from fnn.plot.style import BLUE, GREEN, GREY, VERMILION, figure_of, styled

TITLE = "The chain rule"
EQUATION = "dL/dw = sum over k of dL_k/dy_k * dy_k/da * da/dz * dz/dw,   L = L_0 + L_1 + L_2"

# Numbers for a reckoning by hand: both hidden z are 0, so that a = 1/2 and sigmoid'(z) = 1/4.
PARAMS = {
    "dense_0": {"w": jnp.array([[0.5, -1.0], [-0.25, 0.5]]), "b": jnp.zeros(2)},
    "dense_1": {"w": jnp.array([[2.0, -1.0, 3.0], [1.0, 1.0, -1.0]]), "b": jnp.zeros(3)},
}
X, TARGET = jnp.array([[1.0, 2.0]]), jnp.array([[1.0, -1.0, 0.0]])
WEIGHT = (1, 0)  # from input x_1 to hidden unit 0
COLOURS = (BLUE, VERMILION, GREEN)
NET = fnn.nn.mlp([2, 3], "sigmoid")


# --8<-- [start:code]
def loss(outputs: jax.Array, target: jax.Array) -> jax.Array:
    """L = L_0 + L_1 + L_2 of each example, with L_k = (y_k - target_k)^2."""
    return jnp.sum((outputs - target) ** 2, axis=-1)


def paths(params: Any, x: jax.Array, target: jax.Array, i: int, j: int) -> jax.Array:
    """The four derivatives along each path from the hidden layer's w_ij to L: a row for each output k."""
    trace = fnn.inspect.backprop(NET, loss, params, {}, (x, target))
    z, y = trace["dense_0"].z[0, j], trace["dense_1"].z[0]
    error = 2 * (y - target[0])  # dL_k/dy_k
    weight = params["dense_1"]["w"][j]  # dy_k/da_j
    slope = fnn.activations.derivative("sigmoid")(z)  # da_j/dz_j
    return jnp.stack([error, weight, jnp.full(3, slope), jnp.full(3, x[0, i])], axis=1)  # the last is dz_j/dw_ij


def gradients(params: Any, x: jax.Array, target: jax.Array) -> dict[str, jax.Array]:
    """dL/dW of the hidden layer, from three sides."""
    by_jax = jax.grad(lambda p: loss(NET.apply(p, {}, x)[0], target).mean())(params)
    return {
        "jax.grad": by_jax["dense_0"]["w"],
        "fnn.inspect.backprop": fnn.inspect.backprop(NET, loss, params, {}, (x, target))["dense_0"].dw,
        "fnn.inspect.chain_rule": fnn.inspect.chain_rule(params, x, target, loss, "sigmoid")["dense_0"].dw,
    }


# --8<-- [end:code]


class Found(NamedTuple):
    """What the lesson computes, for the weight `WEIGHT`."""

    factors: np.ndarray  # (3 paths, 4 derivatives along it)
    terms: np.ndarray  # their product, one for each path
    by_others: dict[str, float]  # dL/dw from three sides


def work() -> Found:
    """The three paths, their terms, and the same derivative as a library gives it."""
    i, j = WEIGHT
    factors = np.asarray(jax.jit(paths, static_argnums=(3, 4))(PARAMS, X, TARGET, i, j), np.float64)
    by_others = {name: float(dw[i, j]) for name, dw in jax.jit(gradients)(PARAMS, X, TARGET).items()}
    return Found(factors, factors.prod(axis=1), by_others)


def product(factors: np.ndarray) -> str:
    """A product in writing, negative factors in brackets."""
    return " · ".join(f"{factor:g}" if factor >= 0 else f"({factor:g})" for factor in factors)


def signed(terms: np.ndarray) -> str:
    """A sum in writing."""
    first, *others = terms
    return f"{first:g}" + "".join(f" {'+' if term >= 0 else '-'} {abs(term):g}" for term in others)


def findings(found: Found) -> list[str]:
    """Each term, their sum, and what the others say."""
    each = [f"dL_{k}/dw = {product(row)} = {term:g}" for k, (row, term) in enumerate(zip(*found[:2], strict=True))]
    others = ", ".join(f"{name} {value:g}" for name, value in found.by_others.items())
    return [
        f"Along the three paths: {'; '.join(each)}.",
        f"The sum is the gradient: dL/dw = {signed(found.terms)} = {found.terms.sum():g}.",
        f"The library finds the same: {others}.",
    ]


@styled
def pictures(found: Found) -> dict[str, Picture]:
    """The network, a colour for each path, and the path's term at its end."""
    figure = figure_of(1, width=9.2, height=4.4, lines=False)
    (axes,) = figure.axes
    axes.set_axis_off()
    axes.set(xlim=(-0.4, 10.2), ylim=(-1.0, 3.7))
    _draw_network(axes)
    _draw_factors(axes, found.factors)
    for k, (row, term) in enumerate(zip(found.factors, found.terms, strict=True)):
        _draw_path(axes, k, row, term)
    axes.text(7.3, -0.8, f"dL/dw = {signed(found.terms)} = {found.terms.sum():g}", weight="bold", fontsize=13)
    caption = (
        f"Three paths lead from the weight w to the loss. Along a path derivatives multiply; over the paths they add:"
        f" {signed(found.terms)} = {found.terms.sum():g}."
    )
    return {"paths": Picture(figure, caption)}


INPUTS, HIDDEN = ((0.0, 2.4), (0.0, 0.4)), ((2.6, 2.4), (2.6, 0.4))
OUTPUTS, LOSSES = (((5.2, 3.0), (5.2, 1.5), (5.2, 0.0)), ((6.9, 3.0), (6.9, 1.5), (6.9, 0.0)))


def _draw_network(axes: Any) -> None:
    """Units, and the edges that no path takes."""
    for begin, end in [*((a, b) for a in INPUTS for b in HIDDEN), *((HIDDEN[1], y) for y in OUTPUTS)]:
        _edge(axes, begin, end, "#CFCFCF", 1.2)
    _edge(axes, INPUTS[WEIGHT[0]], HIDDEN[WEIGHT[1]], "black", 3.5)
    for places, name in ((INPUTS, "x"), (HIDDEN, "a"), (OUTPUTS, "y"), (LOSSES, "L")):
        for number, (x, y) in enumerate(places):
            _unit(axes, x, y, f"${name}_{number}$", square=name == "L")
    axes.text(0.75, 1.1, "w", weight="bold", fontsize=13, ha="right")


def _draw_path(axes: Any, k: int, factors: np.ndarray, term: float) -> None:
    """One path in its colour, the derivatives where they arise, their product at its end."""
    error, weight, _, _ = factors
    colour, (x_output, y_output), (x_unit, y_unit) = COLOURS[k], OUTPUTS[k], HIDDEN[WEIGHT[1]]
    _edge(axes, HIDDEN[WEIGHT[1]], OUTPUTS[k], colour, 2.5)
    _edge(axes, OUTPUTS[k], LOSSES[k], colour, 2.5)
    _label(axes, 0.38 * x_unit + 0.62 * x_output, 0.38 * y_unit + 0.62 * y_output, f"{weight:g}", colour)
    _label(axes, 6.05, y_output, f"{error:g}", colour)
    axes.text(7.3, y_output, f"{product(factors)} = {term:g}", color=colour, fontsize=12, va="center")


def _draw_factors(axes: Any, factors: np.ndarray) -> None:
    """What all paths share, and which derivative stands where."""
    *_, slope, x = factors[0]
    _label(axes, 1.3, 1.4, f"{x:g}", "black")
    x_unit, y_unit = HIDDEN[WEIGHT[1]]
    _label(axes, x_unit, y_unit + 0.38, f"{slope:g}", "black")
    names = {1.3: "$dz/dw$", 2.6: "$da/dz$", 4.2: "$dy_k/da$", 6.05: "$dL_k/dy_k$", 7.3: "product, from $L_k$ back"}
    for place, name in names.items():
        axes.text(place, 3.65, name, color=GREY, fontsize=12, ha="left" if place > 7 else "center", va="center")


def _edge(axes: Any, begin: tuple[float, float], end: tuple[float, float], colour: str, width: float) -> None:
    axes.plot(*zip(begin, end, strict=True), color=colour, linewidth=width, zorder=1)


def _unit(axes: Any, x: float, y: float, name: str, square: bool) -> None:
    axes.plot(x, y, "s" if square else "o", markersize=27, color="white", markeredgecolor=GREY, zorder=2)
    axes.text(x, y, name, ha="center", va="center", fontsize=12, zorder=3)


def _label(axes: Any, x: float, y: float, text: str, colour: str) -> None:
    """A number on an edge, on white."""
    around = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none"}
    axes.text(x, y, text, color=colour, ha="center", va="center", weight="bold", bbox=around, zorder=2)
