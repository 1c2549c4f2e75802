"""Paths and rates of the rules, against the formulas of each."""

import jax
import numpy as np
import pytest

import fnn
from experiments.lecture import optimizers
from experiments.lecture.optimizers import RULES, START, STEEP, STEPS, Run, rates
from tests.plot.drawing import drawn, said

CURVATURE = np.array([1.0, STEEP])
W0 = np.asarray(START, np.float64)


@pytest.fixture(scope="module")
def found() -> dict[str, Run]:
    return optimizers.work()


def test_plain_descent_is_a_power(found: dict[str, Run]) -> None:
    """w_t = (1 - lr h)^t w_0: across, 1 - 1.9 is negative, and each step changes sides."""
    lr, t = RULES["plain"][1], np.arange(STEPS + 1)[:, None]
    np.testing.assert_allclose(found["plain"].path, (1 - lr * CURVATURE) ** t * W0, atol=1e-5)
    assert optimizers.crossings(found["plain"]) == STEPS


def test_momentum_is_the_lecture_s_average(found: dict[str, Run]) -> None:
    lr, (w, v) = RULES["momentum"][1], (W0, np.zeros(2))
    for after in found["momentum"].path[1:]:
        v = 0.9 * v + 0.1 * CURVATURE * w
        w = w - lr * v
        np.testing.assert_allclose(after, w, atol=1e-5)


def test_momentum_crosses_where_plain_descent_oscillates(found: dict[str, Run]) -> None:
    """It turns a quarter as often, at a rate with which plain descent would leave the valley, and gets further."""
    assert optimizers.crossings(found["momentum"]) <= STEPS / 4
    assert found["momentum"].heights[-1] < found["plain"].heights[-1] / 500
    path, _ = jax.jit(lambda: optimizers.descend(fnn.optim.sgd(RULES["momentum"][1])))()
    assert np.abs(path[20, 1]) > 1e6


@pytest.mark.parametrize("name", ["plain", "AdaGrad", "RMSProp"])
def test_a_step_is_the_rate_times_the_gradient(found: dict[str, Run], name: str) -> None:
    path = found[name].path.astype(np.float64)
    expected = -rates(name, found[name]) * CURVATURE * path[:-1]
    np.testing.assert_allclose(np.diff(path, axis=0), expected, rtol=1e-4, atol=1e-6)


def test_adam_s_step_is_the_rate_times_the_average(found: dict[str, Run]) -> None:
    state, path = found["Adam"].states, found["Adam"].path.astype(np.float64)
    average = state.m / (1 - 0.9 ** state.count[:, None])
    np.testing.assert_allclose(np.diff(path, axis=0), -rates("Adam", found["Adam"]) * average, atol=1e-5)


@pytest.mark.parametrize("name", ["AdaGrad", "Adam"])
def test_the_first_step_is_lr_in_each_coordinate(found: dict[str, Run], name: str) -> None:
    first = found[name].path[1] - found[name].path[0]
    np.testing.assert_allclose(first, RULES[name][1] * np.array([1, -1]), rtol=1e-5)


def test_adagrad_s_rates_only_fall(found: dict[str, Run]) -> None:
    along, across = rates("AdaGrad", found["AdaGrad"]).T
    assert (np.diff(along) <= 0).all()
    assert (np.diff(across) <= 0).all()
    assert along[-1] < along[0] / 2


def test_rmsprop_s_rate_across_ends_at_the_limit(found: dict[str, Run]) -> None:
    """At 2 / h a step leads exactly to the other side: there its average of squares keeps its size."""
    across = rates("RMSProp", found["RMSProp"])[:, 1]
    assert across.max() > 3 * 2 / STEEP
    assert across[-5:].mean() == pytest.approx(2 / STEEP, rel=0.05)
    assert (np.diff(np.sign(found["RMSProp"].path[-20:, 1])) != 0).all()


@pytest.mark.parametrize("name", ["AdaGrad", "RMSProp", "Adam"])
def test_the_steep_coordinate_has_the_smaller_rate(found: dict[str, Run], name: str) -> None:
    along, across = rates(name, found[name]).T
    assert (across < along).all()


def test_pictures_and_findings(found: dict[str, Run]) -> None:
    pictures = optimizers.pictures(found)
    assert list(pictures) == ["paths", "rates"]
    paths, each = (drawn(picture.figure) for picture in pictures.values())
    assert [axes.get_title() for axes in paths.axes] == [*RULES, "how far they fall"]
    assert [axes.get_title() for axes in each.axes] == ["AdaGrad", "RMSProp", "Adam"]
    assert {"along the valley", "across", "learning rate"} <= set(said(each))
    assert "momentum swings" in pictures["paths"].caption
    assert "only" in pictures["rates"].caption
    heights, sides, adagrad, adam, rmsprop = optimizers.findings(found)
    assert all(f"{name} 0." in heights for name in RULES)
    assert "at 100 of 100 steps" in sides
    assert "0.12 to 0.047" in adagrad
    assert "0.2 along and 0.2 across" in adam
    assert "0.020" in rmsprop
