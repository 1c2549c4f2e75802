"""The confusion matrix: its counts and shades, what can be read of many classes, and what it refuses."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fnn import plot
from tests.plot.drawing import drawn, matplotlib


def test_counts_stand_in_the_cells() -> None:
    counts = np.array([[30, 0], [10, 1234]])
    figure = drawn(plot.confusion_matrix(counts, ["cat", "dog"]))
    axes = figure.axes[0]
    cells = {(text.get_position()[1], text.get_position()[0]): text for text in axes.texts}
    assert {place: text.get_text() for place, text in cells.items()} == {
        (0, 0): "30",
        (0, 1): "0",
        (1, 0): "10",
        (1, 1): "1234",
    }
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    assert [label.get_text() for label in axes.get_yticklabels()] == ["cat", "dog"]
    assert axes.get_title() == "1,264 of 1,274 right"
    np.testing.assert_allclose(axes.images[0].get_array(), [[1, 0], [10 / 1244, 1234 / 1244]])


def test_every_number_is_readable_on_its_shade_and_zeros_are_dim() -> None:
    counts = np.array([[100 - i, i] for i in range(0, 101, 10)] + [[0, 0]] * 2).reshape(-1, 2)
    square = np.zeros((13, 13), int)
    square[:, :2] = counts
    axes = drawn(plot.confusion_matrix(square)).axes[0]
    image = axes.images[0]
    for text in axes.texts:
        column, row = text.get_position()
        shade = _luminance(image.cmap(image.norm(image.get_array()[row, column])))
        ink = _luminance(matplotlib.colors.to_rgba(text.get_color()))
        contrast = (max(shade, ink) + 0.05) / (min(shade, ink) + 0.05)
        if text.get_text() == "0":
            assert contrast < 2.5
        else:
            assert contrast > 4.5  # What WCAG 2.1 asks of text.


def _luminance(colour: Any) -> float:
    channel = np.asarray(colour[:3])
    linear = np.where(channel <= 0.04045, channel / 12.92, ((channel + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_a_class_without_examples_is_no_division_by_zero() -> None:
    image = drawn(plot.confusion_matrix([[0, 0], [1, 3]])).axes[0].images[0]
    np.testing.assert_allclose(image.get_array(), [[0, 0], [0.25, 0.75]])


@pytest.mark.parametrize(("classes", "texts"), [(10, 100), (40, 40), (300, 0)])
def test_many_classes_show_only_what_can_be_read(classes: int, texts: int) -> None:
    figure = plot.confusion_matrix(np.eye(classes, dtype=int) * 12)
    assert len(figure.axes[0].texts) == texts
    assert max(figure.get_size_inches()) < 15


BAD: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no square": (
        lambda: plot.confusion_matrix(np.ones((2, 3))),
        ValueError,
        r"matrix: got shape \(2, 3\), expected a sq",
    ),
    "a vector": (lambda: plot.confusion_matrix([1, 2]), ValueError, r"matrix: got shape \(2,\), expected a square"),
    "no classes": (lambda: plot.confusion_matrix(np.ones((0, 0))), ValueError, r"matrix: got shape \(0, 0\)"),
    "negative counts": (
        lambda: plot.confusion_matrix([[1, 0], [-2, 1]]),
        ValueError,
        r"matrix: got -2 at row 1, index \(1, 0\) \(1 bad row\), expected counts, whole numbers >= 0",
    ),
    "shares": (lambda: plot.confusion_matrix([[0.5, 0.5], [0, 1]]), ValueError, r"matrix: got 0\.5 at row 0"),
    "a missing name": (
        lambda: plot.confusion_matrix(np.eye(2), ["cat"]),
        ValueError,
        r"labels: got 1 names, expected one for each of the 2 classes",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_arguments_are_refused(case: str) -> None:
    call, error, match = BAD[case]
    with pytest.raises(error, match=match):
        call()
