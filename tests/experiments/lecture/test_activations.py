"""How steep the activations get, and where they are flat."""

import math

import numpy as np
import pytest

from experiments.lecture import activations
from experiments.lecture.activations import Curve, X
from tests.plot.drawing import drawn, said

_NORMAL = 0.5 * (1 + math.erf(1))  # of the square root of 2
_DENSITY = math.exp(-1) / math.sqrt(2 * math.pi)


@pytest.fixture(scope="module")
def found() -> dict[str, Curve]:
    return activations.work()


@pytest.mark.parametrize("name", activations.GALLERY)
def test_derivatives_by_jax_and_by_hand_agree(found: dict[str, Curve], name: str) -> None:
    np.testing.assert_allclose(found[name].f_prime, found[name].by_hand, atol=1e-6)


@pytest.mark.parametrize("name", activations.GALLERY)
def test_derivatives_add_up_to_the_function(found: dict[str, Curve], name: str) -> None:
    """From -10 to 10 the mean of f' times 20 is f(10) - f(-10); only the step jumps without one."""
    curve = found[name]
    rise = np.trapezoid(curve.f_prime.astype(np.float64), X)
    jump = 1 if name == "step" else 0
    assert rise == pytest.approx(float(curve.f[-1] - curve.f[0]) - jump, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "most", "at"),
    [
        ("sigmoid", 0.25, 0),
        ("tanh", 1, 0),
        ("GELU", _NORMAL + math.sqrt(2) * _DENSITY, math.sqrt(2)),  # where f'' = (2 - x^2) density(x) is 0
        ("SiLU", 1.0998, 2.3994),
    ],
)
def test_the_largest_derivative_and_its_place(found: dict[str, Curve], name: str, most: float, at: float) -> None:
    value, place = activations.steepest(found[name])
    assert value == pytest.approx(most, abs=5e-5)
    assert place == pytest.approx(at, abs=0.01)


@pytest.mark.parametrize("name", ["ReLU", "leaky ReLU, slope 0.1", "ELU"])
def test_rectifiers_have_derivative_one_at_most(found: dict[str, Curve], name: str) -> None:
    assert found[name].f_prime.max() == 1
    assert (found[name].f_prime[X > 0] == 1).all()


def test_softplus_comes_near_one_from_below(found: dict[str, Curve]) -> None:
    assert 0.9999 < found["softplus"].f_prime.max() < 1


def test_where_no_gradient_passes(found: dict[str, Curve]) -> None:
    assert not found["step"].f_prime.any()
    assert not found["ReLU"].f_prime[X <= 0].any()
    assert found["leaky ReLU, slope 0.1"].f_prime.min() == pytest.approx(0.1)


def test_pictures_and_findings(found: dict[str, Curve]) -> None:
    (picture,) = activations.pictures(found).values()
    figure = drawn(picture.figure)
    assert [axes.get_title() for axes in figure.axes] == list(activations.GALLERY)
    assert {"f(x)", "f'(x)", "f' ≤ 0.25", "x"} <= set(said(figure))
    assert picture.caption.endswith(".")
    told = activations.findings(found)
    assert len(told) == 3
    assert all(any(c.isdigit() for c in sentence) for sentence in told)
    assert "sigmoid 0.250 at 0, tanh 1.000 at 0, ReLU 1.000, the step 0." in told[0]
