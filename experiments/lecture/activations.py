"""A gallery of activations with their derivatives.

Back-propagation multiplies by f'(z) in every layer. So it matters how large f' gets (the sigmoid's at most 1/4), where
it is zero (ReLU's for z < 0, the step's everywhere), and where it dies away (sigmoid and tanh, far from zero).
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import fnn
from experiments.lecture.lesson import Picture
from fnn.plot.style import BLUE, GREY, VERMILION, figure_of, styled

TITLE = "Activations and their derivatives"
EQUATION = "a = f(z),   delta = (delta_next W_next^T) * f'(z)"

X = np.arange(-100_000, 100_001, dtype=np.float32) / 10_000
SHOWN = np.abs(X) <= 4


class Curve(NamedTuple):
    """One activation over X: f, f' by JAX, and f' by the formula."""

    f: Any
    f_prime: Any
    by_hand: Any


# --8<-- [start:code]
sigmoid, tanh = fnn.activations.sigmoid, fnn.activations.tanh
leaky = partial(fnn.activations.leaky_relu, slope=0.1)
normal, density = jax.scipy.stats.norm.cdf, jax.scipy.stats.norm.pdf

# Each with its derivative, worked out by hand.
GALLERY = {
    "step": (fnn.activations.step, lambda x: 0 * x),
    "sigmoid": (sigmoid, lambda x: sigmoid(x) * (1 - sigmoid(x))),
    "tanh": (tanh, lambda x: 1 - tanh(x) ** 2),
    "ReLU": (fnn.activations.relu, lambda x: jnp.where(x > 0, 1, 0)),
    "leaky ReLU, slope 0.1": (leaky, lambda x: jnp.where(x >= 0, 1, 0.1)),
    "ELU": (fnn.activations.elu, lambda x: jnp.where(x > 0, 1, jnp.exp(x))),
    "softplus": (fnn.activations.softplus, sigmoid),
    "SiLU": (fnn.activations.silu, lambda x: sigmoid(x) * (1 + x * (1 - sigmoid(x)))),
    "GELU": (fnn.activations.gelu, lambda x: normal(x) + x * density(x)),
}


def curves(x: jax.Array) -> dict[str, Curve]:
    """The value of each, its derivative as JAX computes it, and the one by hand."""
    prime = fnn.activations.derivative
    return {name: Curve(f(x), prime(f)(x), df(x)) for name, (f, df) in GALLERY.items()}


# --8<-- [end:code]


def work() -> dict[str, Curve]:
    """Each activation at 200,001 places from -10 to 10, zero among them."""
    found = jax.jit(curves)(X)  # which sorts by name
    return {name: Curve(*map(np.asarray, found[name])) for name in GALLERY}


def steepest(curve: Curve) -> tuple[float, float]:
    """The largest derivative, and where it is: the middle of where it rounds to that."""
    most = curve.f_prime.max()
    return float(most), round(float(X[curve.f_prime == most].mean(dtype=np.float64)), 3) + 0.0  # no -0


def findings(found: dict[str, Curve]) -> list[str]:
    """What the numbers say."""
    most = {name: steepest(curve) for name, curve in found.items()}
    above = [f"{name} {most[name][0]:.3f} at {most[name][1]:.2f}" for name in ("SiLU", "GELU")]
    unlike = max(float(np.abs(curve.f_prime - curve.by_hand).max()) for curve in found.values())
    return [
        f"The largest derivative: sigmoid {most['sigmoid'][0]:.3f} at {most['sigmoid'][1]:.0f}, tanh"
        f" {most['tanh'][0]:.3f} at {most['tanh'][1]:.0f}, ReLU {most['ReLU'][0]:.3f}, the step {most['step'][0]:.0f}.",
        f"Some pass 1: {' and '.join(above)}.",
        f"The derivatives by JAX and by hand differ by {unlike:.0e} at most.",
    ]


@styled
def pictures(found: dict[str, Curve]) -> dict[str, Picture]:
    """A panel for each, with f and f'."""
    figure = figure_of(len(found), width=2.3, height=1.9)
    for axes, (name, curve) in zip(figure.axes, found.items(), strict=True):
        most, _ = steepest(curve)
        axes.plot(X[SHOWN], curve.f[SHOWN], color=BLUE, label="f(x)")
        axes.plot(X[SHOWN], curve.f_prime[SHOWN], color=VERMILION, linestyle="--", label="f'(x)")
        axes.axhline(0, color=GREY, linewidth=0.6)
        axes.set(title=name, xlabel="x", ylim=(-1.2, 2.2), xticks=[-4, -2, 0, 2, 4], yticks=[-1, 0, 1, 2])
        axes.text(0.04, 0.93, f"f' ≤ {most:.3g}", transform=axes.transAxes, va="top", fontsize=9, color=VERMILION)
    figure.axes[0].legend(loc="lower right", fontsize=8, ncols=2, columnspacing=1, handlelength=1.5)
    caption = (
        "Each activation f (solid) and its derivative f' (dashed), with the largest value of f' between -10 and 10."
        " Where the dashed line is at 0 no gradient passes."
    )
    return {"gallery": Picture(figure, caption)}
