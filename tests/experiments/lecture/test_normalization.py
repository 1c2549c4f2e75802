"""What batch normalization computes, what evaluation takes, and what trains only with it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from experiments.lecture import normalization
from experiments.lecture.normalization import BATCHES, MEAN, SPREAD
from tests.plot.drawing import drawn, said

EXACT = np.array([-1.5, -0.5, -0.5, -0.5, 0.0, 0.0, 1.0, 2.0])


@pytest.fixture(scope="module")
def found() -> normalization.Found:
    return normalization.work()


def test_a_small_batch_has_exactly_these_numbers(found: normalization.Found) -> None:
    """Mean 5 and variance 4: (x - 5) / 2; a unit a hundred times as large gives the same."""
    np.testing.assert_allclose(found.small[:, 0], EXACT, atol=1e-5)
    np.testing.assert_allclose(found.small[:, 1], EXACT, atol=1e-5)
    np.testing.assert_allclose(found.small.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(found.small.var(axis=0), 1, atol=1e-5)


def test_gamma_and_beta_are_the_new_spread_and_mean() -> None:
    y = normalization.normalized(normalization.SMALL[:, None], gamma=3.0, beta=10.0)
    np.testing.assert_allclose(np.asarray(y)[:, 0], 3 * EXACT + 10, atol=1e-4)


def test_running_statistics_are_weighted_means_of_those_of_batches(found: normalization.Found) -> None:
    """After t batches: 0.9^t times the first value, and 0.1 * 0.9^i times that of i batches ago."""
    batch = found.batches[..., 0].astype(np.float64)
    for name, each, first in (("mean", batch.mean(axis=1), 0.0), ("var", batch.var(axis=1, ddof=1), 1.0)):
        weights = 0.1 * 0.9 ** np.arange(BATCHES)[::-1]
        expected = 0.9**BATCHES * first + weights @ each
        assert found.running[name][-1, 0] == pytest.approx(expected, rel=1e-5)
    # Standard error of such a mean: the batch's, times the root of 0.1 / 1.9.
    error = SPREAD / normalization.BATCH**0.5 * (0.1 / 1.9) ** 0.5
    assert abs(found.running["mean"][-1, 0] - MEAN) < 3 * error


def test_an_example_comes_out_differently_in_other_company_only_in_training() -> None:
    layer = fnn.nn.batch_norm()
    params, state = layer.init(jax.random.key(0), jnp.ones((2, 1)))
    alike, apart = jnp.array([[1.0], [2.0]]), jnp.array([[1.0], [-9.0]])
    trained, evaluated = (
        [float(layer.apply(params, state, x, train=train)[0][0, 0]) for x in (alike, apart)] for train in (True, False)
    )
    np.testing.assert_allclose(trained, [-1, 1], atol=1e-4)
    assert evaluated[0] == evaluated[1]


def test_more_first_weights_train_with_it(found: normalization.Found) -> None:
    plain, normal = (found.by_stddev[name] for name in normalization.NORMS)
    assert (normal.min(axis=1) > plain.max(axis=1)).all()
    assert (plain[:2] < 0.2).all()  # too small: nothing comes through
    assert (plain[3:] < 0.2).all()  # too large
    assert (normal[:4].mean(axis=1) > 0.9).all()


def test_the_inputs_scale_matters_only_without_it(found: normalization.Found) -> None:
    plain, normal = (found.by_scale[name] for name in normalization.NORMS)
    assert (normal > 0.98).all()
    assert plain[2].min() > 0.9
    assert (plain[[0, -1]] < 0.35).all()


def test_pictures_and_findings(found: normalization.Found) -> None:
    training, running = normalization.pictures(found).values()
    assert {"without", "batch norm", "training accuracy [%]"} <= set(said(drawn(training.figure)))
    assert {"mean", "variance", "running: evaluation"} <= set(said(drawn(running.figure)))
    assert all(picture.caption.endswith(".") for picture in (training, running))
    first, *others = normalization.findings(found)
    assert "become -1.5, -0.5, -0.5, -0.5, 0, 0, 1, 2." in first
    assert len(others) == 2
