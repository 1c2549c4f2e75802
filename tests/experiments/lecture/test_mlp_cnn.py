"""Equal parameters, and what each network loses when the digits are moved."""

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lecture import mlp_cnn
from tests.plot.drawing import drawn, said


@pytest.fixture(scope="module")
def found() -> mlp_cnn.Found:
    return mlp_cnn.work()


def test_parameters_are_equal_to_a_percent_and_those_on_paper(found: mlp_cnn.Found) -> None:
    mlp, cnn = (found.summaries[name].parameters for name in ("MLP", "CNN"))
    assert mlp == (64 + 1) * 25 + (25 + 1) * 10
    assert cnn == (9 + 1) * 8 + (9 * 8 + 1) * 16 + (2 * 2 * 16 + 1) * 10
    assert abs(mlp - cnn) < 0.01 * cnn


def test_a_convolution_takes_more_operations(found: mlp_cnn.Found) -> None:
    assert found.summaries["CNN"].flops > 10 * found.summaries["MLP"].flops


def test_shifts_move_images_and_lose_what_goes_out() -> None:
    x = jnp.zeros((1, 8, 8, 1)).at[0, 3, 7, 0].set(1.0)
    assert np.argwhere(np.asarray(mlp_cnn.shifted(x, jnp.array([2, -1])))).tolist() == [[0, 5, 6, 0]]
    assert not mlp_cnn.shifted(x, jnp.array([0, 1])).any()
    np.testing.assert_array_equal(mlp_cnn.shifted(x, jnp.array([0, 0])), x)


def test_both_read_digits_that_are_not_moved(found: mlp_cnn.Found) -> None:
    for accuracy in found.accuracy.values():
        assert (mlp_cnn.by_distance(accuracy)[:, 0] > 0.95).all()


def test_the_cnn_loses_less_when_digits_are_moved_whatever_the_seeds(found: mlp_cnn.Found) -> None:
    mlp, cnn = (mlp_cnn.by_distance(found.accuracy[name]) for name in ("MLP", "CNN"))
    assert ((cnn[:, :1] - cnn[:, 1:]).max(axis=0) < (mlp[:, :1] - mlp[:, 1:]).min(axis=0)).all()


def test_but_it_loses_too(found: mlp_cnn.Found) -> None:
    assert (mlp_cnn.by_distance(found.accuracy["CNN"])[:, 1] < 0.8).all()


def test_pictures_and_findings(found: mlp_cnn.Found) -> None:
    (picture,) = mlp_cnn.pictures(found).values()
    figure = drawn(picture.figure)
    assert [axes.get_title() for axes in figure.axes] == ["MLP, 1,885 parameters", "CNN, 1,898 parameters"]
    assert {"moved to the right [pixels]", "moved down [pixels]"} <= set(said(figure))
    assert picture.caption.endswith(".")
    sentences = mlp_cnn.findings(found)
    assert len(sentences) == len(mlp_cnn.NETS)
    assert all("moved by a pixel" in sentence for sentence in sentences)
