"""Gradient descent on a bowl does what its Hessian's eigenvalues say."""

import numpy as np
import pytest

from experiments.lecture import descent
from tests.plot.drawing import drawn, said


@pytest.fixture(scope="module")
def found() -> descent.Found:
    return descent.work()


def test_the_hessian_is_that_of_the_docstring(found: descent.Found) -> None:
    x = np.asarray(descent.x)
    np.testing.assert_allclose(found.hessian, 2 * np.array([[(x**2).mean(), x.mean()], [x.mean(), 1]]), rtol=1e-5)


@pytest.mark.parametrize("which", range(3), ids=list(descent.SHARES))
def test_each_step_multiplies_the_distance_along_an_eigenvector(found: descent.Found, which: int) -> None:
    """After t steps it is (1 - lr lambda)^t times what it was: for every learning rate, also beyond the limit."""
    eigenvalues, vectors = np.linalg.eigh(found.hessian.astype(np.float64))
    share = list(descent.SHARES.values())[which]
    distances = (found.paths[which] - found.bottom) @ vectors
    factors = 1 - 2 * share / eigenvalues[-1] * eigenvalues
    theory = distances[0] * factors ** np.arange(descent.STEPS + 1)[:, None]
    np.testing.assert_allclose(distances, theory, atol=1e-4)


def test_it_diverges_just_above_two_over_the_largest_eigenvalue(found: descent.Found) -> None:
    _, vectors = np.linalg.eigh(found.hessian.astype(np.float64))
    first, last = (np.abs((points - found.bottom) @ vectors[:, -1]) for points in (found.paths[0, 0], found.ends))
    clear = np.abs(found.rates - 1) > 1e-3
    np.testing.assert_array_equal((last > first)[clear], (found.rates > 1)[clear])


def test_right_arrives_and_the_others_do_not(found: descent.Found) -> None:
    (began, *_), (small, right, large) = (np.linalg.norm(found.paths[:, t] - found.bottom, axis=1) for t in (0, -1))
    assert right < 0.001 * began
    assert small > 0.1 * began
    assert large > began


def test_pictures_and_findings(found: descent.Found) -> None:
    paths, rates = descent.pictures(found).values()
    assert [axes.get_title().split(":")[0] for axes in drawn(paths.figure).axes] == list(descent.SHARES)
    assert {"step", "loss: mean squared error", "loss after 40 steps", "too large"} <= set(said(drawn(rates.figure)))
    assert paths.caption.endswith(".")
    assert rates.caption.endswith(".")
    told = descent.findings(found)
    assert len(told) == 2
    assert all(any(c.isdigit() for c in sentence) for sentence in told)
