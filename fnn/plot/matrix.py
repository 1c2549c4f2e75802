"""The confusion matrix."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fnn.errors import check_values, message
from fnn.plot.style import class_names, figure_of, styled


@styled
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
    names = class_names(labels, len(counts))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    # Many classes get smaller cells, in inches, and at last no numbers, in points.
    cell = min(0.52, 11 / len(counts))
    points = min(9, 100 * cell / len(f"{counts.max():.0f}"))
    side = max(2.2, cell * len(counts))
    beside = 1.4 + 0.09 * max(map(len, names))
    figure = figure_of(1, width=side + beside + 0.9, height=side + beside)
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
