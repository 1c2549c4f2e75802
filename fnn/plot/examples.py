"""Examples and what a network says of them."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fnn.errors import check_count, check_labels, check_values, message
from fnn.plot.images import as_images, draw_image, numbers
from fnn.plot.style import GREEN, VERMILION, class_names, figure_of, grid, percent, shortened, styled

_MOST = 10.0  # inches of panels beside each other


class _Classified(NamedTuple):
    images: np.ndarray
    chances: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray
    names: list[str]


@styled
def worst_examples(
    x: ArrayLike,
    y: ArrayLike,
    probabilities: ArrayLike,
    *,
    shape: tuple[int, ...],
    labels: Sequence[str] | None = None,
    count: int = 24,
    columns: int | None = None,
) -> Any:
    """The images that are classified most wrongly: the least probability of the true class first.

    Args:
        x: images, (n, ...), each of as many numbers as `shape` has; bytes count as shares of 255.
        y: true classes, integers (n,).
        probabilities: of the classes, (n, classes).
        shape: (height, width) or (height, width, channels) of an image.
        labels: the classes' names; their numbers by default.
        count: how many at most.
        columns: how many beside each other; by default as many as 10 inches hold.

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
    if columns is not None:
        check_count("columns", columns)
    images, chances, truth, predicted, names = _classified(x, y, probabilities, shape, labels)
    own = chances[np.arange(len(truth)), truth]
    worst = [i for i in np.argsort(own, kind="stable") if predicted[i] != truth[i]][:count]
    width = max(1.55, 0.065 * (len("predicted  (100 %)") + max(map(len, names))))
    most = columns or int(_MOST / width)
    figure = figure_of(max(len(worst), 1), width=width, height=2.0, most=most, lines=False)
    if not worst:
        _nothing(figure.axes[0], "No example is\nclassified wrongly.")
    for axes, i in zip(figure.axes, worst, strict=False):
        draw_image(axes, numbers(images[i]), cmap="gray_r")
        top = percent(chances[i, predicted[i]])
        title = f"true {names[truth[i]]} ({percent(own[i])})\npredicted {names[predicted[i]]} ({top})"
        axes.set_title(title, fontsize=8)
    return figure


@styled
def predictions(
    x: ArrayLike,
    y: ArrayLike,
    probabilities: ArrayLike,
    *,
    shape: tuple[int, ...],
    labels: Sequence[str] | None = None,
    count: int = 24,
) -> Any:
    """A sheet of images that are classified rightly, and beside them of some that are classified wrongly.

    Above each stands the predicted class and its probability, in the wrong half the true class too. The right
    ones are drawn at random, always the same; the wrong ones are those of which the network is most certain.

    Args:
        x: images, (n, ...), each of as many numbers as `shape` has; bytes count as shares of 255.
        y: true classes, integers (n,).
        probabilities: of the classes, (n, classes).
        shape: (height, width) or (height, width, channels) of an image.
        labels: the classes' names; their numbers by default.
        count: how many at most, half of them right.

    Raises:
        ValueError: shapes that do not fit, labels out of range, or what is no probability.
        TypeError: labels that are not integers.

    Example:
        >>> x, chances = np.zeros((2, 4)), np.array([[0.9, 0.1], [0.8, 0.2]])
        >>> figure = predictions(x, np.array([0, 1]), chances, shape=(2, 2), labels=["cat", "dog"])
        >>> [axes.get_title().splitlines() for axes in figure.axes]
        [[' ', 'cat: 90 %'], ['cat: 80 %', 'it is dog']]
    """
    from matplotlib.figure import Figure

    check_count("count", count, minimum=2)
    seen = _classified(x, y, probabilities, shape, labels)
    right = np.flatnonzero(seen.predicted == seen.truth)
    wrong = np.flatnonzero(seen.predicted != seen.truth)
    shown = np.random.default_rng(0).permutation(right)[: count // 2]
    certain = seen.chances[wrong, seen.predicted[wrong]]
    worst = wrong[np.argsort(-certain, kind="stable")][: count // 2]
    width = max(1.2, 0.075 * (len(": 100 %") + max(map(len, seen.names))))
    columns = max(1, min(math.ceil(math.sqrt(count / 2)), int(_MOST / 2 / width)))
    rows = max(1, math.ceil(max(len(shown), len(worst)) / columns))
    height = width * min(max(shape[0] / shape[1], 0.5), 2.0)
    figure: Any = Figure(figsize=(max(2 * columns * width, 5.0), rows * (height + 0.2) + 0.7))
    left, beside = figure.subfigures(1, 2, wspace=0.04)
    _half(left, (rows, columns), seen, shown, len(right), GREEN, "right")
    _half(beside, (rows, columns), seen, worst, len(wrong), VERMILION, "wrong")
    return figure


def _classified(
    x: ArrayLike, y: ArrayLike, probabilities: ArrayLike, shape: tuple[int, ...], labels: Sequence[str] | None
) -> _Classified:
    chances, truth = np.asarray(probabilities, np.float64), np.asarray(y)
    images = as_images("x", np.asarray(x), shape)
    if chances.ndim != 2 or len(images) != len(chances):
        got = f"shape {chances.shape} for {len(images)} images"
        raise ValueError(message("probabilities", got, f"shape ({len(images)}, classes)"))
    remedy = "Of logits take fnn.activations.softmax."
    check_values("probabilities", chances, lambda p: (p >= 0) & (p <= 1 + 1e-3), "numbers in [0, 1]", remedy)
    check_labels("y", truth, chances.shape[1], (len(images),))
    names = shortened(class_names(labels, chances.shape[1]))
    return _Classified(images, chances, truth, chances.argmax(axis=1), names)


def _half(
    part: Any, size: tuple[int, int], seen: _Classified, shown: np.ndarray, of: int, colour: str, word: str
) -> None:
    """One half of the sheet: its heading, and each image in a frame of its colour."""
    order = "the most certain first" if word == "wrong" else "drawn at random"
    heading = f"{len(shown):,} of {of:,} {word},\n{order}" if of else f"none {word}"
    part.suptitle(heading, color=colour, fontweight="bold", fontsize=10)
    # The places that stay empty keep both halves alike.
    places = grid(part, size[0] * size[1], *size)
    for axes in places[len(shown) :]:
        axes.remove() if axes is not places[0] else _nothing(axes, f"No example is\nclassified {word}ly.")
    for axes, i in zip(places, shown, strict=False):
        draw_image(axes, numbers(seen.images[i]), cmap="gray_r")
        guess = seen.predicted[i]
        title = f"{seen.names[guess]}: {percent(seen.chances[i, guess])}"
        # Both halves have two lines, so that their rows are level.
        title = f"{title}\nit is {seen.names[seen.truth[i]]}" if guess != seen.truth[i] else f" \n{title}"
        axes.set_title(title, fontsize=8)
        axes.spines[:].set(visible=True, color=colour, linewidth=2)


def _nothing(axes: Any, text: str) -> None:
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", transform=axes.transAxes)
