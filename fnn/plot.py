"""Pictures of a run. Each function returns a matplotlib Figure; the caller saves it: `figure.savefig(path)`.

One style and one colour-blind-safe palette for all; matplotlib is imported when a picture is made, and no
display is needed.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any, ParamSpec

import numpy as np
from numpy.typing import ArrayLike

from fnn.errors import check_count, check_finite, check_labels, check_values, message

P = ParamSpec("P")

# Okabe and Ito 2008.
_BLUE, _VERMILION, _GREY = "#0072B2", "#D55E00", "#6B6B6B"
_STYLE: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": 10,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "figure.constrained_layout.h_pad": 0.08,
    "figure.constrained_layout.use": True,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.titlesize": 12,
    "font.size": 10,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}
# A longer label is shortened in a picture.
_LONGEST = 24
_TITLES = {"grad_norm": "norm of the gradient", "loss": "mean loss"}


def _styled(draw: Callable[P, Any]) -> Callable[P, Any]:
    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Any:
        try:
            import matplotlib as mpl
        except ImportError as error:
            raise ImportError("fnn.plot needs matplotlib: pip install 'fnn[experiments]'") from error
        with mpl.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return styled


@_styled
def learning_curves(history: Mapping[str, ArrayLike]) -> Any:
    """One panel for each quantity over the epochs, loss first; a quantity and its `val_` partner share one.

    A dotted line marks the epoch of least validation loss. A loss or norm that spans a factor of ten is
    drawn on a logarithmic scale.

    Args:
        history: arrays with one entry an epoch, by name, as `fnn.fit` returns them.

    Raises:
        ValueError: an empty history, columns of different length, or of several runs.

    Example:
        >>> figure = learning_curves({"loss": [2.0, 1.0], "val_loss": [2.0, 1.5], "accuracy": [0.5, 0.8]})
        >>> [axes.get_ylabel() for axes in figure.axes]
        ['mean loss', 'accuracy']
    """
    columns = {name: np.asarray(values, np.float64) for name, values in history.items()}
    shapes = {values.shape for values in columns.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1 or shapes == {(0,)}:
        got = ", ".join(f"{name} {values.shape}" for name, values in columns.items()) or "nothing"
        remedy = "Of a population, choose one run: {name: values[i] for name, values in history.items()}."
        raise ValueError(message("history", got, "arrays of one entry an epoch, at least one", remedy))
    names = [name for name in columns if not (name.startswith("val_") and name[4:] in columns)]
    names.sort(key=lambda name: (name not in ("loss", "val_loss"), name == "grad_norm", name))
    figure = _figure(len(names), width=4.2, height=3.2)
    entries: dict[str, Any] = {}
    for axes, name in zip(figure.axes, names, strict=True):
        _curve(axes, name, columns)
        entries |= dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    if len(entries) > 1:
        figure.legend(
            entries.values(), entries.keys(), loc="outside upper center", ncols=min(len(names) + 1, 3), fontsize=9
        )
    return figure


@_styled
def confusion_matrix(matrix: ArrayLike, labels: Sequence[str] | None = None) -> Any:
    """How often each class is taken for each other; shades are shares of the true class.

    Args:
        matrix: counts (classes, classes), row true, column predicted, as `fnn.metrics.confusion_matrix`.
        labels: the classes' names; their numbers by default.

    Raises:
        ValueError: not a square matrix, or not one name a class.

    Example:
        >>> confusion_matrix([[3, 1], [0, 4]], ["cat", "dog"]).axes[0].get_xlabel()
        'predicted class'
    """
    counts = np.asarray(matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or not counts.size:
        raise ValueError(message("matrix", f"shape {counts.shape}", "a square matrix (classes, classes)"))
    check_values("matrix", counts, lambda c: (c >= 0) & (c == np.floor(c)), "counts, whole numbers >= 0")
    names = _names(labels, len(counts))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # Many classes get smaller cells, in inches, and at last no numbers, in points.
    cell = min(0.52, 11 / len(counts))
    points = min(9, 100 * cell / len(f"{counts.max():.0f}"))
    side = max(2.2, cell * len(counts))
    beside = 1.4 + 0.09 * max(map(len, names))
    figure = _figure(1, width=side + beside + 0.9, height=side + beside)
    (axes,) = figure.axes
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8, fraction=min(0.15, 0.7 / side))
    for (true, predicted), count in np.ndenumerate(counts if points >= 5 else counts[:0]):
        if count or cell > 0.4:
            colour = "white" if shares[true, predicted] > 0.72 else "black" if count else "#B8B8B8"
            axes.text(predicted, true, f"{count:.0f}", ha="center", va="center", color=colour, fontsize=points)
    axes.set_xticks(range(len(names)), names, rotation=90 if max(map(len, names)) > 3 else 0)
    axes.set_yticks(range(len(names)), names)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.set_title(f"{int(np.trace(counts)):,} of {int(counts.sum()):,} right")
    return figure


@_styled
def worst_examples(
    x: ArrayLike,
    y: ArrayLike,
    probabilities: ArrayLike,
    *,
    shape: tuple[int, ...],
    labels: Sequence[str] | None = None,
    count: int = 24,
) -> Any:
    """The images that are classified most wrongly: the least probability of the true class first.

    Args:
        x: images, (n, ...), each of as many numbers as `shape` has.
        y: true classes, integers (n,).
        probabilities: of the classes, (n, classes).
        shape: (height, width) or (height, width, channels) of an image.
        labels: the classes' names; their numbers by default.
        count: how many at most.

    Raises:
        ValueError: shapes that do not fit, labels out of range, or what is no probability.
        TypeError: labels that are not integers.

    Example:
        >>> x, chances = np.zeros((2, 4)), np.array([[0.9, 0.1], [0.8, 0.2]])
        >>> figure = worst_examples(x, np.array([0, 1]), chances, shape=(2, 2))
        >>> [axes.get_title().splitlines() for axes in figure.axes]
        [['true 1 (20 %)', 'predicted 0 (80 %)']]
    """
    check_count("count", count)
    chances, truth = np.asarray(probabilities, np.float64), np.asarray(y)
    images = _images("x", np.asarray(x, np.float64), shape)
    if chances.ndim != 2 or len(images) != len(chances):
        got = f"shape {chances.shape} for {len(images)} images"
        raise ValueError(message("probabilities", got, f"shape ({len(images)}, classes)"))
    remedy = "Of logits take fnn.activations.softmax."
    check_values("probabilities", chances, lambda p: (p >= 0) & (p <= 1 + 1e-3), "numbers in [0, 1]", remedy)
    check_labels("y", truth, chances.shape[1], (len(images),))
    names = _names(labels, chances.shape[1])
    predicted, own = chances.argmax(axis=1), chances[np.arange(len(truth)), truth]
    worst = [i for i in np.argsort(own, kind="stable") if predicted[i] != truth[i]][:count]
    names = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in names]
    width = max(1.55, 0.065 * (len("predicted  (100 %)") + max(map(len, names))))
    figure = _figure(max(len(worst), 1), width=width, height=2.0, most=int(10 / width), grid=False)
    if not worst:
        figure.axes[0].set_axis_off()
        figure.axes[0].text(0.5, 0.5, "No example is\nclassified wrongly.", ha="center", va="center")
    for axes, i in zip(figure.axes, worst, strict=False):
        _image(axes, images[i], cmap="gray_r")
        top = chances[i, predicted[i]]
        axes.set_title(
            f"true {names[truth[i]]} ({own[i]:.0%})\npredicted {names[predicted[i]]} ({top:.0%})".replace("%", " %"),
            fontsize=8,
        )
    return figure


@_styled
def first_layer_weights(w: ArrayLike, *, shape: tuple[int, int], count: int = 64) -> Any:
    """What each unit of the first layer looks for: columns of w as images, the largest norms first.

    One scale for all, symmetric about 0: red draws a unit up, blue draws it down.

    Args:
        w: weights (d_in, units) of a dense layer on images.
        shape: (height, width) of an image; their product is d_in.
        count: how many units at most.

    Raises:
        ValueError: shapes that do not fit, or NaN or infinity among the weights.

    Example:
        >>> figure = first_layer_weights(np.ones((4, 3)), shape=(2, 2))
        >>> len(figure.axes)  # three units and the scale
        4
    """
    check_count("count", count)
    weights = np.asarray(w, np.float64)
    if weights.ndim != 2:
        raise ValueError(message("w", f"shape {weights.shape}", "weights (d_in, units)"))
    images = _images("columns of w", weights.T, shape)
    check_finite("w", weights)
    order = np.argsort(-np.linalg.norm(weights, axis=0), kind="stable")[:count]
    figure = _figure(len(order), width=1.0, height=1.0, most=math.ceil(math.sqrt(len(order))), grid=False, extra=0.9)
    limit = float(np.abs(weights[:, order]).max()) or 1.0
    panels = list(figure.axes)
    drawn = [
        _image(axes, images[unit], cmap="RdBu_r", vmin=-limit, vmax=limit)
        for axes, unit in zip(panels, order, strict=True)
    ]
    figure.colorbar(drawn[0], ax=panels, label="weight", shrink=0.8)
    figure.suptitle(f"{len(order)} of {weights.shape[1]} units, by norm")
    return figure


def _curve(axes: Any, name: str, columns: Mapping[str, np.ndarray]) -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator

    epochs = np.arange(1, len(columns[name]) + 1)
    pair = [(columns[name], "training", _BLUE)]
    if f"val_{name}" in columns:
        pair.append((columns[f"val_{name}"], "validation", _VERMILION))
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
        axes.axvline(best, color=_GREY, linestyle=":", linewidth=1.2, label=f"least validation loss: epoch {best}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(xlabel="epoch", ylabel=_TITLES.get(name, name.replace("_", " ")))


def _figure(panels: int, *, width: float, height: float, most: int = 3, grid: bool = True, extra: float = 0.0) -> Any:
    from matplotlib.figure import Figure

    columns = min(panels, most)
    rows = math.ceil(panels / columns)
    figure = Figure(figsize=(max(columns * width + extra, 2.4), max(rows * height, 1.6)))
    for position in range(panels):
        axes = figure.add_subplot(rows, columns, position + 1)
        axes.grid(grid)
    return figure


def _image(axes: Any, image: np.ndarray, **how: Any) -> Any:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    if image.ndim == 3:  # Colours are numbers from 0 to 1.
        image = (image - image.min()) / (np.ptp(image) or 1) if image.min() < 0 or image.max() > 1 else image
    return axes.imshow(image, interpolation="nearest", **how)


def _images(argument: str, flat: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if len(shape) not in (2, 3) or shape[2:] not in ((), (1,), (3,), (4,)):
        raise ValueError(message("shape", shape, "(height, width) or (height, width, channels), 1, 3 or 4 channels"))
    size = math.prod(shape)
    if flat.ndim < 2 or not len(flat) or flat[0].size != size:
        got = f"shape {flat.shape}"
        raise ValueError(message(argument, got, f"images of {size} numbers each, as shape={tuple(shape)} says"))
    return flat.reshape(len(flat), *(shape[:2] if shape[2:] == (1,) else shape))


def _names(labels: Sequence[str] | None, classes: int) -> list[str]:
    if labels is None:
        return [str(i) for i in range(classes)]
    if len(labels) != classes:
        raise ValueError(message("labels", f"{len(labels)} names", f"one for each of the {classes} classes"))
    return [str(label) for label in labels]
