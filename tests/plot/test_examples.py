"""Sheets of examples: which ones are shown, in which order, with which words, and what they refuse."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fnn import plot
from fnn.plot.style import GREEN, VERMILION
from tests.plot.drawing import CHANCES, IMAGES, RNG, TRUTH, drawn, matplotlib, said

WRONG_ONES = int((CHANCES.argmax(axis=1) != TRUTH).sum())

# The worst examples.


def test_the_worst_come_first_with_their_labels_and_probabilities() -> None:
    chances = np.array([[0.3, 0.7], [0.9, 0.1], [0.6, 0.4], [0.999, 0.001]])
    truth = np.array([0, 0, 1, 1])
    x = np.arange(16.0).reshape(4, 4)
    figure = drawn(plot.worst_examples(x, truth, chances, shape=(2, 2), labels=["cat", "dog"]))
    assert [axes.get_title() for axes in figure.axes] == [
        "true dog (0 %)\npredicted cat (100 %)",
        "true cat (30 %)\npredicted dog (70 %)",
        "true dog (40 %)\npredicted cat (60 %)",
    ]
    for axes, row in zip(figure.axes, [3, 0, 2], strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), x[row].reshape(2, 2))


@pytest.mark.parametrize("count", [1, 5, 24])
def test_there_are_as_many_panels_as_errors_at_most(count: int) -> None:
    figure = plot.worst_examples(IMAGES, TRUTH, CHANCES, shape=(4, 5), count=count)
    assert 5 < WRONG_ONES < 24
    assert len(figure.axes) == min(count, WRONG_ONES)
    assert all(axes.images for axes in figure.axes)


def test_without_errors_the_picture_says_so() -> None:
    figure = drawn(plot.worst_examples(IMAGES, TRUTH, np.eye(3)[TRUTH], shape=(4, 5)))
    assert said(figure) == ["No example is\nclassified wrongly."]
    assert not figure.axes[0].images


@pytest.mark.parametrize(
    ("x", "shape", "size"),
    [
        (np.ones((1, 12)), (3, 4), (3, 4)),
        (np.ones((1, 3, 4, 1)), (3, 4), (3, 4)),
        (np.ones((1, 3, 4, 1)), (3, 4, 1), (3, 4)),
        (np.ones((1, 3, 4, 3)), (3, 4, 3), (3, 4, 3)),
        (RNG.normal(size=(1, 3, 4, 3)), (3, 4, 3), (3, 4, 3)),
    ],
)
def test_grey_and_colour_images_are_drawn(
    x: np.ndarray, shape: tuple[int, ...], size: tuple[int, ...], caplog: pytest.LogCaptureFixture
) -> None:
    figure = drawn(plot.worst_examples(x, np.array([0]), np.array([[0.2, 0.8]]), shape=shape))
    assert figure.axes[0].images[0].get_array().shape == size
    assert not caplog.records  # matplotlib logs what it clips.


def test_bytes_are_shares_of_255() -> None:
    x = np.array([[[[0, 51, 102]]]], np.uint8)
    [axes] = plot.worst_examples(x, np.array([0]), np.array([[0.2, 0.8]]), shape=(1, 1, 3)).axes
    np.testing.assert_allclose(axes.images[0].get_array(), [[[0, 0.2, 0.4]]])


# Right and wrong ones.


def _halves(figure: Any) -> tuple[list[Any], list[Any]]:
    """The panels with images, by the colour of their frames."""
    panels = [axes for axes in figure.axes if axes.images]
    colours = [matplotlib.colors.to_hex(axes.spines["left"].get_edgecolor()) for axes in panels]
    assert set(colours) <= {GREEN.lower(), VERMILION.lower()}
    right = [axes for axes, colour in zip(panels, colours, strict=True) if colour == GREEN.lower()]
    return right, [axes for axes in panels if axes not in right]


def _rows(panels: list[Any]) -> list[int]:
    """Which of IMAGES each panel shows."""
    shown = [np.asarray(axes.images[0].get_array()).ravel() for axes in panels]
    return [int(np.flatnonzero((one == IMAGES).all(axis=1))[0]) for one in shown]


def test_each_half_has_its_images_and_words() -> None:
    names = ["ant", "bee", "fly"]
    figure = drawn(plot.predictions(IMAGES, TRUTH, CHANCES, shape=(4, 5), labels=names, count=20))
    right, wrong = map(_rows, _halves(figure))
    guesses = CHANCES.argmax(axis=1)
    assert len(right) == len(wrong) == 10
    assert all(guesses[i] == TRUTH[i] for i in right)
    assert wrong == [i for i in np.argsort(-CHANCES.max(axis=1), kind="stable") if guesses[i] != TRUTH[i]][:10]
    for panel, i in zip([*_halves(figure)[0], *_halves(figure)[1]], right + wrong, strict=True):
        words = f"{names[guesses[i]]}: {CHANCES[i].max():.0%}".replace("%", " %")
        truth = f"it is {names[TRUTH[i]]}"
        assert [line for line in panel.get_title().splitlines() if line.strip()] == [words, truth][: 1 + (i in wrong)]
    assert f"10 of {30 - WRONG_ONES} right,\ndrawn at random" in said(figure)
    assert f"10 of {WRONG_ONES} wrong,\nthe most certain first" in said(figure)


def test_right_ones_are_drawn_at_random_but_always_the_same() -> None:
    x, truth, chances = np.arange(100.0)[:, None], np.zeros(100, int), np.tile([0.9, 0.1], (100, 1))
    panels = [plot.predictions(x, truth, chances, shape=(1, 1)).axes for _ in range(2)]
    shown = [[float(axes.images[0].get_array()[0, 0]) for axes in some if axes.images] for some in panels]
    assert shown[0] == shown[1] != sorted(shown[0])
    assert len(set(shown[0])) == 12


def test_the_right_half_lies_left_and_rows_are_level() -> None:
    right, wrong = _halves(drawn(plot.predictions(IMAGES, TRUTH, CHANCES, shape=(4, 5), count=20)))
    boxes = [[axes.get_window_extent() for axes in half] for half in (right, wrong)]
    assert max(box.x1 for box in boxes[0]) < min(box.x0 for box in boxes[1])
    np.testing.assert_allclose([box.y0 for box in boxes[0]], [box.y0 for box in boxes[1]], atol=1)
    np.testing.assert_allclose([box.width for box in boxes[0]], [box.width for box in boxes[1]], atol=1)


@pytest.mark.parametrize(("turn", "word"), [(0, "wrong"), (1, "right")])
def test_an_empty_half_says_so(turn: int, word: str) -> None:
    figure = drawn(plot.predictions(IMAGES, TRUTH, np.roll(np.eye(3)[TRUTH], turn, axis=1), shape=(4, 5)))
    assert {f"none {word}", f"No example is\nclassified {word}ly."} <= set(said(figure))
    assert sorted(map(len, _halves(figure))) == [0, 12]


# Refusals.

GOOD = {"x": IMAGES, "y": TRUTH, "probabilities": CHANCES, "shape": (4, 5)}


def _worst(**changed: Any) -> Callable[[], Any]:
    arguments: dict[str, Any] = GOOD | changed
    return lambda: plot.worst_examples(**arguments)


def _sheet(**changed: Any) -> Callable[[], Any]:
    arguments: dict[str, Any] = GOOD | changed
    return lambda: plot.predictions(**arguments)


BAD: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "probabilities of others": (
        _worst(probabilities=CHANCES[:5]),
        ValueError,
        r"probabilities: got shape \(5, 3\) for 30 images, expected shape \(30, classes\)",
    ),
    "flat probabilities": (_worst(probabilities=CHANCES[:, 0]), ValueError, r"probabilities: got shape \(30,\)"),
    "logits": (
        _worst(probabilities=CHANCES * 9 - 4),
        ValueError,
        r"probabilities: got .* expected numbers in \[0, 1\]\. Of logits take fnn\.activations\.softmax",
    ),
    "nan": (_worst(probabilities=CHANCES * np.nan), ValueError, r"probabilities: got nan at row 0.*\(30 bad rows\)"),
    "labels below": (
        _worst(y=TRUTH - 1),
        ValueError,
        r"y: got -1 at row 0 \(10 bad rows\), expected integer labels in \[0, 3",
    ),
    "labels above": (_worst(y=TRUTH + 1), ValueError, r"y: got 3 at row 2"),
    "labels of floats": (_worst(y=TRUTH * 1.0), TypeError, r"y: got dtype float64, expected integer labels"),
    "fewer labels": (_worst(y=TRUTH[:4]), ValueError, r"y: got shape \(4,\), expected shape \(30,\)"),
    "names": (_worst(labels=["a", "b"]), ValueError, r"labels: got 2 names, expected one for each of the 3 classes"),
    "another shape": (
        _worst(shape=(5, 5)),
        ValueError,
        r"x: got shape \(30, 20\), expected images of 25 numbers each, as shape=\(5, 5\) says",
    ),
    "two channels": (_worst(shape=(2, 5, 2)), ValueError, r"shape: got \(2, 5, 2\), expected \(height, width\) or"),
    "one axis": (_worst(shape=(20,)), ValueError, r"shape: got \(20,\), expected \(height, width\) or"),
    "no images": (_worst(x=IMAGES[:0]), ValueError, r"x: got shape \(0, 20\), expected images"),
    "columns": (_worst(columns=0), ValueError, r"columns: got 0, expected an integer >= 1"),
    "count": (_worst(count=0), ValueError, r"count: got 0, expected an integer >= 1"),
    "one for two halves": (_sheet(count=1), ValueError, r"count: got 1, expected an integer >= 2"),
    "a sheet of others": (_sheet(y=TRUTH[:4]), ValueError, r"y: got shape \(4,\), expected shape \(30,\)"),
    "a sheet of logits": (_sheet(probabilities=CHANCES * 9), ValueError, r"expected numbers in \[0, 1\]\. Of logits"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_arguments_are_refused(case: str) -> None:
    call, error, match = BAD[case]
    with pytest.raises(error, match=match):
        call()
