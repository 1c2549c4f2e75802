"""What calculus says of the five losses, and what one far example does to their least."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from experiments.lecture import losses
from tests.plot.drawing import drawn, said

F = np.asarray(losses.OUTPUTS, np.float64)
GRADIENTS = {
    "squared": 2 * F,
    "absolute": np.sign(F),
    "cross-entropy, 2 classes": 1 / (1 + np.exp(-F)) - 1,
    "cross-entropy, 3 classes": np.exp(F) / (np.exp(F) + 2) - 1,
    "hinge": -(F < 1).astype(float),
}


@pytest.fixture(scope="module")
def found() -> losses.Found:
    return losses.work()


@pytest.mark.parametrize("name", losses.LOSSES)
def test_gradients_are_those_of_the_slide(found: losses.Found, name: str) -> None:
    """2 (f - y); the sign of f - y; p - y for both cross-entropies; -1 until the margin is 1."""
    away_from_kinks = (np.abs(F) > 1e-3) & (np.abs(F - 1) > 1e-3)
    values, gradients = found.curves[name]
    np.testing.assert_allclose(gradients[away_from_kinks], GRADIENTS[name][away_from_kinks], atol=1e-6)
    np.testing.assert_allclose(np.diff(values), GRADIENTS[name][:-1] * np.diff(F), atol=0.06)


def test_the_mean_and_the_median_are_where_nothing_pulls() -> None:
    y = jnp.array([1.0, 2.0, 3.0, 4.0, 40.0])
    for loss, least in ((fnn.losses.squared_error, jnp.mean(y)), (fnn.losses.absolute_error, jnp.median(y))):
        assert jax.grad(lambda c, loss=loss: loss(jnp.full(5, c), y).sum())(least) == 0


def test_squared_finds_the_mean_and_absolute_the_median(found: losses.Found) -> None:
    means = (10 + np.asarray(losses.OUTLIERS)) / 5
    np.testing.assert_allclose(found.values["squared"], means, atol=1e-4)
    np.testing.assert_allclose(found.values["absolute"], 3, atol=1e-4)


def test_squared_boundary_is_the_one_of_the_normal_equations(found: losses.Found) -> None:
    expected = []
    for far in np.asarray(losses.FAR, float):
        x, y = np.array([*losses.POINTS, far]), np.array([*losses.LABELS, 1.0])
        a = np.stack([x, np.ones(6)], axis=1)
        w, b = np.linalg.solve(a.T @ a / 6 + np.diag([0.05, 0]), a.T @ y / 6)
        expected.append(-b / w)
    np.testing.assert_allclose(found.boundaries["squared"], expected, atol=1e-4)
    assert found.boundaries["squared"][-1] > 2  # both examples at 1 and 2 are wrong


def test_hinge_boundary_stays_in_the_middle_of_the_nearest_examples(found: losses.Found) -> None:
    np.testing.assert_allclose(found.boundaries["hinge"], 0, atol=1e-3)


def test_pictures_and_findings(found: losses.Found) -> None:
    curves, outliers = losses.pictures(found).values()
    assert set(losses.LOSSES) <= set(said(drawn(curves.figure)))
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in curves.figure.axes + outliers.figure.axes)
    assert {"squared: the mean", "absolute: the median", "hinge"} <= set(said(drawn(outliers.figure)))
    assert all(picture.caption.endswith(".") for picture in (curves, outliers))
    first, second = losses.findings(found)
    assert "10.00, the mean" in first
    assert "3.00, the median" in first
    assert "2.83" in second
