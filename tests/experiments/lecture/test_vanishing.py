"""What theory says of delta through thirty layers."""

from typing import Any

import numpy as np
import pytest

from experiments.lecture import vanishing
from tests.plot.drawing import drawn, said


@pytest.fixture(scope="module")
def found() -> dict[Any, np.ndarray]:
    return vanishing.work()


@pytest.mark.parametrize("weights", vanishing.FIRST_WEIGHTS)
def test_sigmoid_passes_at_most_a_quarter_times_what_the_weights_do(found: Any, weights: str) -> None:
    """W of standard deviation s multiplies |delta| by about s sqrt(width); f' by at most 1/4."""
    scale = {"Gaussian, 0.05": 0.05, "Xavier": (3 * 64) ** -0.5, "normalized Xavier": 64**-0.5, "He": (2 / 64) ** 0.5}
    assert vanishing.factor(found["sigmoid", weights]) <= 0.25 * scale[weights] * 64**0.5 * 1.02


def test_sigmoid_s_slope_is_at_most_a_quarter_where_the_weights_keep_lengths(found: Any) -> None:
    assert 0.2 < vanishing.factor(found["sigmoid", "normalized Xavier"]) <= 0.25


def test_relu_with_he_is_flat_within_three(found: Any) -> None:
    norms = found["relu", "He"]
    assert len(norms) == 30
    assert norms.max() / norms.min() < 3


def test_relu_without_he_is_not_flat(found: Any) -> None:
    assert vanishing.factor(found["relu", "normalized Xavier"]) == pytest.approx(0.5**0.5, rel=0.1)


def test_pictures_and_findings(found: Any) -> None:
    (picture,) = vanishing.pictures(found).values()
    figure = drawn(picture.figure)
    assert [axes.get_title() for axes in figure.axes] == ["sigmoid", "tanh", "ReLU"]
    assert set(vanishing.FIRST_WEIGHTS) <= set(said(figure))
    assert len(vanishing.findings(found)) == 2
