"""Curves over the epochs of a run."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fnn.errors import kind, message
from fnn.plot.style import BLUE, GREY, VERMILION, figure_of, styled

_TITLES = {"grad_norm": "norm of the gradient", "loss": "mean loss"}


@styled
def learning_curves(history: Mapping[str, ArrayLike]) -> Any:
    """One panel for each quantity over the epochs, loss first; a quantity and its `val_` partner share one.

    A dotted line marks the epoch of least validation loss. A loss or norm that spans a factor of ten is
    drawn on a logarithmic scale.

    Args:
        history: arrays with one entry an epoch, by name, as `fnn.fit` returns them.

    Raises:
        TypeError: not a mapping, such as a whole `FitResult`.
        ValueError: an empty history, columns of different length, or of several runs.

    Example:
        >>> figure = learning_curves({"loss": [2.0, 1.0], "val_loss": [2.0, 1.5], "accuracy": [0.5, 0.8]})
        >>> [axes.get_ylabel() for axes in figure.axes]
        ['mean loss', 'accuracy']
    """
    if not isinstance(history, Mapping):
        remedy = "Give result.history." if hasattr(history, "history") else ""
        raise TypeError(message("history", kind(history), "arrays of one entry an epoch, by name", remedy))
    columns = {name: np.asarray(values, np.float64) for name, values in history.items()}
    shapes = {values.shape for values in columns.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1 or shapes == {(0,)}:
        got = ", ".join(f"{name} {values.shape}" for name, values in columns.items()) or "nothing"
        remedy = "Of a population, choose one run: {name: values[i] for name, values in history.items()}."
        raise ValueError(message("history", got, "arrays of one entry an epoch, at least one", remedy))
    names = [name for name in columns if not (name.startswith("val_") and name[4:] in columns)]
    names.sort(key=lambda name: (name not in ("loss", "val_loss"), name == "grad_norm", name))
    figure = figure_of(len(names), width=4.2, height=3.2)
    entries: dict[str, Any] = {}
    for axes, name in zip(figure.axes, names, strict=True):
        _curve(axes, name, columns)
        entries |= dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    if len(entries) > 1:
        figure.legend(
            entries.values(), entries.keys(), loc="outside upper center", ncols=min(len(names) + 1, 3), fontsize=9
        )
    return figure


def _curve(axes: Any, name: str, columns: Mapping[str, np.ndarray]) -> None:
    from matplotlib.ticker import LogLocator

    epochs = np.arange(1, len(columns[name]) + 1)
    pair = [(columns[name], "training", BLUE)]
    if f"val_{name}" in columns:
        pair.append((columns[f"val_{name}"], "validation", VERMILION))
    for values, label, colour in pair:
        axes.plot(epochs, values, color=colour, label=label, marker="o" if len(epochs) == 1 else None)
    known = np.concatenate([values[np.isfinite(values)] for values, *_ in pair])
    if name.endswith(("loss", "norm")) and known.size and known.min() > 0 and known.max() >= 10 * known.min():
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
    if "val_loss" in columns and np.isfinite(columns["val_loss"]).any():
        best = int(np.nanargmin(columns["val_loss"])) + 1
        axes.axvline(best, color=GREY, linestyle=":", linewidth=1.2, label=f"least validation loss: epoch {best}")
    axes.set_xticks(_ticks(len(epochs)))
    axes.set(xlabel="epoch", ylabel=_TITLES.get(name, name.replace("_", " ")))


def _ticks(last: int) -> list[int]:
    """The first epoch, the last, and round numbers between them, seven at most."""
    step = next(10**power * digit for power in range(18) for digit in (1, 2, 5) if 6 * 10**power * digit >= last)
    # One too near the last would run into it.
    return sorted({1, last, *range(step, last - step // 2, step)})
