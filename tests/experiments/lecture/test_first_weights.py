"""What ten layers do to the mean square of the activations, against theory."""

import numpy as np
import pytest

from experiments.lecture import first_weights
from experiments.lecture.first_weights import DRAWS, LAYERS, SPREAD, WEIGHTS, WIDTH, Found, Through
from tests.plot.drawing import drawn, said

KEPT = [("tanh", "normalized Xavier"), ("relu", "He")]
KINDS = [(activation, weights) for activation in first_weights.ACTIVATIONS for weights in WEIGHTS]


@pytest.fixture(scope="module")
def found() -> Found:
    return first_weights.work()


@pytest.mark.parametrize(("activation", "weights"), KINDS)
def test_theory_holds_at_every_layer(found: Found, activation: str, weights: str) -> None:
    """Within four standard errors of the mean over draws, and 1 % for what is left of width 128."""
    kind = found[activation, weights]
    error = kind.each.std(axis=0, ddof=1) / DRAWS**0.5
    assert (np.abs(kind.squares - kind.theory) < 4 * error + 0.01 * kind.theory).all()


@pytest.mark.parametrize(("activation", "weights"), KEPT)
def test_the_right_weights_keep_it(found: Found, activation: str, weights: str) -> None:
    assert 0.75 < found[activation, weights].squares[-1] / SPREAD**2 < 1.25


@pytest.mark.parametrize(("activation", "weights"), [kind for kind in KINDS if kind not in KEPT])
def test_the_others_do_not(found: Found, activation: str, weights: str) -> None:
    left = found[activation, weights].squares[-1] / SPREAD**2
    assert left > 20 if (activation, weights) == ("tanh", "He") else left < 2e-3


@pytest.mark.parametrize("weights", ["Gaussian, 0.01", "Xavier", "normalized Xavier", "He"])
def test_relu_s_theory_is_a_power(found: Found, weights: str) -> None:
    """ReLU of a normal number has half its variance: each layer multiplies by d_in Var(w) / 2."""
    factor = WIDTH * WEIGHTS[weights][1] / 2
    expected = SPREAD**2 * factor ** np.arange(1, LAYERS + 1)
    np.testing.assert_allclose(found["relu", weights].theory, expected, rtol=1e-4)


def test_tanh_with_xavier_leaves_a_third_a_layer(found: Found) -> None:
    kind = found["tanh", "Xavier"]
    np.testing.assert_allclose(kind.theory[1:] / kind.theory[:-1], 1 / 3, rtol=0.01)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_the_weights_have_the_variance_that_theory_takes(found: Found, weights: str) -> None:
    """In the first layer z is the normal inputs' sum, and theory holds with its variance alone."""
    kind: Through = found["tanh", weights]
    assert kind.squares[0] == pytest.approx(kind.theory[0], rel=0.02)


def test_pictures_and_findings(found: Found) -> None:
    pictures = first_weights.pictures(found)
    assert list(pictures) == ["spread", "squares"]
    spread, squares = (drawn(picture.figure) for picture in pictures.values())
    assert [axes.get_title() for axes in spread.axes] == [f"{f}, {name}" for f in ("tanh", "ReLU") for name in WEIGHTS]
    assert set(WEIGHTS) <= set(said(squares))
    assert {axes.get_ylabel() for axes in squares.axes} == {"mean of a²"}
    assert "collapse" in pictures["spread"].caption
    assert "level" in pictures["squares"].caption.lower()
    tanh, relu, theory = first_weights.findings(found)
    assert "normalized Xavier: 0.8" in tanh
    assert "normalized Xavier: 0.001" in relu
    assert "%" in theory
