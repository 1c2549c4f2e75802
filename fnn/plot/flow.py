"""What becomes of each layer's signals through training."""

import re
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fnn.errors import check_choice, message
from fnn.plot.style import GREY, figure_of, styled

_WORDS = {
    "z_mean": "mean of the pre-activations z",
    "z_std": "standard deviation of the pre-activations z",
    "a_mean": "mean of the activations a",
    "a_std": "standard deviation of the activations a",
    "delta_norm": "norm of delta = dL/dz",
    "gradient_norm": "norm of the gradient",
    "weight_norm": "norm of the parameters",
    "update_norm": "norm of the update",
    "update_ratio": "|update| / |parameters|",
    "saturated": "share of saturated entries",
    "dead": "share of dead units",
}
# Beyond so many layers a legend is no help: their colour goes from the first to the last.
_MOST_NAMED = 7
_LEGEND, _TITLE = 54, 44  # characters beside each other


@styled
def gradient_flow(history: Mapping[str, ArrayLike], quantity: str = "gradient_norm") -> Any:
    """A heat map of one quantity, layer by step: the first layer is at the bottom, where back-propagation ends.

    A row that grows dark downwards is a gradient that vanishes. What spans a factor of ten is drawn on a
    logarithmic scale, shares from 0 to 1. Grey is what is 0 there, or not finite; layers where it is 0
    throughout, such as those without parameters, are left out.

    Args:
        history: "dense_0/gradient_norm" and so on, one entry a look, and "step": `fnn.train.Watch().history`;
            or the history of a run with a watched step, one entry an epoch.
        quantity: a field of `fnn.inspect.Statistics`.

    Raises:
        ValueError: a history without statistics of layers, of several runs, or no such quantity.

    Example:
        >>> history = {"step": [0, 5], "dense_0/gradient_norm": [0.1, 0.2], "dense_1/gradient_norm": [1.0, 2.0]}
        >>> axes, scale = gradient_flow(history).axes
        >>> axes.get_xlabel(), scale.get_ylabel()
        ('step', 'norm of the gradient')

    Source: Glorot and Bengio 2010, "Understanding the difficulty of training deep feedforward neural networks",
    section 4.2.
    """
    from matplotlib.colors import LogNorm, Normalize
    from matplotlib.ticker import LogLocator

    where, steps, rows = _rows(history, quantity)
    values = np.stack(list(rows.values()))
    shown = np.where(np.isfinite(values) & (values != 0), values, np.nan)
    known = shown[np.isfinite(shown)]
    low, high = (known.min(), known.max()) if known.size else (0.0, 1.0)
    norm: Any = LogNorm(low, high) if low > 0 and high >= 10 * low else Normalize(min(low, 0.0), high)
    if quantity in ("saturated", "dead"):
        shown, norm = values, Normalize(0, 1)
    width = 4.2 + 0.08 * max(0, max(map(len, rows)) - 8)
    figure = figure_of(1, width=width, height=max(3.2, 1.0 + 0.3 * len(rows)), lines=False)
    (axes,) = figure.axes
    axes.set_facecolor("#C8C8C8")
    image = axes.pcolormesh(_edges(steps), np.arange(len(rows) + 1), shown, cmap="viridis", norm=norm, rasterized=True)
    bar = figure.colorbar(image, ax=axes, label=_WORDS[quantity], aspect=24)
    if isinstance(norm, LogNorm):
        bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1e3 * low else (1,), numticks=9))
        bar.ax.yaxis.set_major_formatter("{x:g}")
        bar.ax.minorticks_off()
    axes.set_yticks(np.arange(len(rows)) + 0.5, list(rows))
    axes.tick_params(axis="y", length=0)
    axes.set(xlabel=where, ylabel="layer, from input to output")
    _title(figure, f"{_WORDS[quantity]}, by layer")
    return figure


@styled
def update_ratios(history: Mapping[str, ArrayLike]) -> Any:
    """How far a step moves each layer, in units of its parameters: one line a layer, on a logarithmic scale.

    The dotted line is 1e-3, about where training goes well while the learning rate is kept; one that falls
    takes the lines down with it. Far above it a layer is thrown about, far below it stands still; layers far
    apart ask for other first weights, or for an optimizer that scales each.

    Args:
        history: as `gradient_flow` takes it.

    Raises:
        ValueError: a history without statistics of layers, or of several runs.

    Example:
        >>> figure = update_ratios({"step": [0, 5], "dense_0/update_ratio": [0.01, 0.001]})
        >>> figure.axes[0].get_yscale()
        'log'

    Source: Karpathy, notes of the course CS231n, "Neural networks part 3: ratio of weights to updates".
    """
    from matplotlib import colormaps

    where, steps, rows = _rows(history, "update_ratio")
    known = np.stack([*rows.values()])
    known = np.append(known[np.isfinite(known) & (known > 0)], 1e-3)
    figure = figure_of(1, width=4.2, height=3.2)
    (axes,) = figure.axes
    axes.set(xlabel=where, ylabel=_WORDS["update_ratio"], yscale="log", ylim=(known.min() / 2, known.max() * 2))
    several = len(rows) > _MOST_NAMED
    for place, (layer, values) in enumerate(rows.items()):
        seen = np.where(values > 0, values, np.nan)
        colour = {"color": colormaps["viridis"](place / (len(rows) - 1))} if several else {}
        named = not several or layer in (next(iter(rows)), list(rows)[-1])
        axes.plot(steps, seen, label=layer if named else None, marker="o" if len(steps) == 1 else None, **colour)
    axes.axhline(1e-3, color=GREY, linestyle=":", linewidth=1.2)
    # Beside the axes, where no curve runs.
    axes.annotate("1e-3", (1.01, 1e-3), xycoords=("axes fraction", "data"), va="center", color=GREY)
    columns = min(max(_LEGEND // (5 + max(map(len, rows))), 1), 4)
    figure.legend(loc="outside lower center", ncols=columns, fontsize=9)
    _title(figure, "how far a step moves each layer")
    return figure


def _title(figure: Any, words: str) -> None:
    figure.suptitle(textwrap.fill(words[0].upper() + words[1:], _TITLE), fontsize=11)


def _rows(history: Mapping[str, ArrayLike], quantity: str) -> tuple[str, np.ndarray, dict[str, np.ndarray]]:
    """The name and the numbers of the axis to the right, and the quantity of each layer that has it."""
    check_choice("quantity", quantity, _WORDS)
    columns = {name: np.asarray(values, np.float64) for name, values in history.items()}
    ending = f"/{quantity}"
    found = {name.removesuffix(ending): values for name, values in columns.items() if name.endswith(ending)}
    shapes = {values.shape for values in found.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1 or shapes == {(0,)}:
        got = ", ".join(f"{name}{ending} {values.shape}" for name, values in found.items()) or "no layer's statistics"
        remedy = "Such as watch.history of fnn.fit(..., watch=fnn.train.Watch()); of a population choose one run."
        raise ValueError(message("history", got, f"a {quantity} of each layer, one entry a look", remedy))
    (looks,) = next(iter(shapes))
    numbers = columns["step"] if "step" in columns else np.arange(looks) + 1.0
    rows = {name: found[name] for name in _in_order(list(found)) if np.any(found[name] != 0)}
    return "step" if "step" in columns else "epoch", numbers, rows or found


def _in_order(layers: list[str]) -> list[str]:
    """As they come; where jit has sorted them as texts, "dense_10" before "dense_2", by their numbers."""
    if layers != sorted(layers):
        return layers
    return sorted(layers, key=lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)])


def _edges(steps: np.ndarray) -> np.ndarray:
    """The borders of the columns: each reaches half the way to its neighbours."""
    between = (steps[1:] + steps[:-1]) / 2
    first = steps[0] - (between[0] - steps[0] if len(steps) > 1 else 0.5)
    last = steps[-1] + (steps[-1] - between[-1] if len(steps) > 1 else 0.5)
    return np.concatenate([[first], between, [last]])
