"""What a sweep found: the measure over two hyperparameters, and over all of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from fnn.errors import check_choice, message
from fnn.plot.style import VERMILION, figure_of, styled
from fnn.population import Results
from fnn.population.results import Order
from fnn.tree import named_leaves

# More values than these are put into as many bins.
_MOST_VALUES = 12
_BINS = 8


@styled
def heat_map(results: Results, x: str, y: str, by: str | None = None, order: Order | None = None) -> Any:
    """The mean of a measure over two hyperparameters; every cell is the mean of the networks that fall into it.

    Many different values, as of random samples, are put into bins, on a logarithmic scale where they lie more
    evenly on it. A frame marks the best cell; a cell without a finite number stays empty.

    Args:
        results: of `fnn.sweep`.
        x: the hyperparameter to the right, by its name, as `results.table()` shows it.
        y: the one upwards.
        by: the measure, as `results.best` takes it.
        order: which way is better, likewise.

    Raises:
        ValueError: no such hyperparameter, one that is no single number, or twice the same.

    Example:
        >>> hparams = fnn.population.grid(learning_rate=[0.1, 0.2, 0.4], width=[8, 16])
        >>> train = lambda hparams, key: hparams["learning_rate"] * hparams["width"]
        >>> results = fnn.sweep(train, hparams, jax.random.split(jax.random.key(0), 2))
        >>> [axes.get_xlabel() for axes in heat_map(results, "learning_rate", "width").axes][0]
        'learning rate'
    """
    if x == y:
        raise ValueError(message("y", repr(y), "another hyperparameter than x"))
    values = _numbers(results, (x, y))
    (columns, names_x), (rows, names_y) = (_cells(values[name]) for name in (x, y))
    means = _mean_of_cells(results.measure(by).mean(axis=1), rows, columns, (len(names_y), len(names_x)))
    least = results.order_of(by, order) == "min"
    figure = figure_of(1, width=max(3.6, 1.9 + 0.62 * len(names_x)), height=max(2.8, 1.2 + 0.5 * len(names_y)))
    (axes,) = figure.axes
    image = axes.imshow(means, origin="lower", aspect="auto", cmap="viridis_r" if least else "viridis")
    figure.colorbar(image, ax=axes, label=_words(results.measure_name(by)))
    for (row, column), mean in np.ndenumerate(means):
        if np.isfinite(mean):
            bright = (image.norm(mean) > 0.5) != least
            colour = "black" if bright else "white"
            axes.text(column, row, f"{mean:.3g}", ha="center", va="center", color=colour, fontsize=8)
    if np.isfinite(means).any():
        row, column = np.unravel_index((np.nanargmin if least else np.nanargmax)(means), means.shape)
        axes.add_patch(_frame(float(column), float(row)))
    axes.set_xticks(range(len(names_x)), names_x, rotation=90 if max(map(len, names_x)) > 5 else 0)
    axes.set_yticks(range(len(names_y)), names_y)
    axes.grid(False)
    axes.set(xlabel=_words(x), ylabel=_words(y))
    return figure


@styled
def parallel_coordinates(results: Results, by: str | None = None, order: Order | None = None) -> Any:
    """Every combination as a line over its hyperparameters, in the colour of its measure, the best ones on top.

    An axis is logarithmic where its values lie more evenly so. The thick line is the best
    combination; those without a finite mean are left out.

    Args:
        results: of `fnn.sweep`.
        by: the measure, as `results.best` takes it.
        order: which way is better, likewise.

    Raises:
        ValueError: no hyperparameter that is a single number.

    Example:
        >>> hparams = fnn.population.grid(learning_rate=[0.1, 0.2, 0.4], width=[8, 16])
        >>> train = lambda hparams, key: hparams["learning_rate"] * hparams["width"]
        >>> results = fnn.sweep(train, hparams, jax.random.split(jax.random.key(0), 2))
        >>> len(parallel_coordinates(results).axes[0].lines) >= 6
        True
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    values = _numbers(results, None)
    means, ranking = results.measure(by).mean(axis=1), results.ranking(by, order)
    ranking = ranking[np.isfinite(means[ranking])]
    least = results.order_of(by, order) == "min"
    # The worst ones would take all of the scale: what is worse than most has one colour.
    ends = np.sort(means[ranking[: max(1, int(0.8 * len(ranking)))]])[[0, -1]] if len(ranking) else np.zeros(2)
    norm, colours = Normalize(*ends, clip=True), colormaps["viridis_r" if least else "viridis"]
    figure = figure_of(1, width=max(5.0, 2.0 + 1.7 * len(values)), height=3.6, lines=False)
    (axes,) = figure.axes
    heights = np.stack([_scaled(v) for v in values.values()], axis=1)
    for place in ranking[::-1]:
        best = place == ranking[0]
        colour = VERMILION if best else colours(norm(means[place]))
        axes.plot(heights[place], color=colour, lw=2.6 if best else 1.0, alpha=1.0 if best else 0.7)
    _upright(axes, values)
    figure.colorbar(ScalarMappable(norm, colours), ax=axes, label=_words(results.measure_name(by)), pad=0.08)
    if len(ranking):
        best = ", ".join(f"{_words(name)} {v[ranking[0]]:.3g}" for name, v in values.items())
        axes.set_title(f"best of {len(means):,}: {best}", fontsize=9)
    return figure


def _numbers(results: Results, names: Sequence[str] | None) -> dict[str, np.ndarray]:
    """The hyperparameters that are one number each, by name."""
    arrays = {name or "hparams": np.asarray(leaf, np.float64) for name, leaf in named_leaves(results.hparams).items()}
    single = {name: values for name, values in arrays.items() if values.ndim == 1}
    for argument, name in zip("xy", names or (), strict=False):
        check_choice(argument, name, single)
    if not single:
        raise ValueError(message("results", "no hyperparameter that is one number", "at least one"))
    return single


def _cells(values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """Which cell each value falls into, and the names of the cells."""
    known = np.unique(values)
    if len(known) <= _MOST_VALUES:
        return np.searchsorted(known, values), [f"{value:.3g}" for value in known]
    scale, back = (np.log10, lambda v: 10.0**v) if _logarithmic(values) else (lambda v: v, lambda v: v)
    edges = np.linspace(scale(known[0]), scale(known[-1]), _BINS + 1)
    middles = back((edges[1:] + edges[:-1]) / 2)
    return np.clip(np.searchsorted(edges, scale(values), side="right") - 1, 0, _BINS - 1), [f"{m:.2g}" for m in middles]


def _logarithmic(values: np.ndarray) -> bool:
    """Whether the median lies nearer to the middle on a logarithmic scale than on a plain one."""
    if values.min() <= 0 or values.min() == values.max():
        return False
    low, median, high = np.quantile(values, [0, 0.5, 1])
    plain, logarithmic = (median - low) / (high - low), np.log(median / low) / np.log(high / low)
    return bool(abs(logarithmic - 0.5) < abs(plain - 0.5))


def _mean_of_cells(measures: np.ndarray, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    finite = np.isfinite(measures)
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (rows[finite], columns[finite]), measures[finite])
    np.add.at(counts, (rows[finite], columns[finite]), 1)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


def _frame(column: float, row: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=VERMILION, linewidth=2.5)


def _scaled(values: np.ndarray) -> np.ndarray:
    """Heights from 0 to 1 on an axis of its own."""
    heights = np.log10(values) if _logarithmic(values) else values
    span = heights.max() - heights.min()
    return (heights - heights.min()) / span if span else np.full(len(values), 0.5)


def _upright(axes: Any, values: dict[str, np.ndarray]) -> None:
    """An upright axis for each hyperparameter, with its least, middle and greatest value."""
    for place, numbers in enumerate(values.values()):
        axes.axvline(place, color="black", linewidth=0.8, zorder=0)
        known = np.unique(numbers)
        shown = known if len(known) <= 6 else np.quantile(known, [0, 0.25, 0.5, 0.75, 1], method="nearest")
        for number, height in zip(shown, _scaled(np.append(numbers, shown))[len(numbers) :], strict=True):
            box = {"boxstyle": "round,pad=0.15", "facecolor": "white", "edgecolor": "none", "alpha": 0.8}
            where = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
            axes.annotate(f"{number:.3g}", (place, height), fontsize=8, bbox=box, **where)
    axes.set_xticks(range(len(values)), [_words(name) for name in values])
    axes.set(xlim=(-0.15, len(values) - 0.6), yticks=[], ylim=(-0.04, 1.04))
    axes.spines[:].set_visible(False)


def _words(name: str) -> str:
    return name.replace("_", " ")
