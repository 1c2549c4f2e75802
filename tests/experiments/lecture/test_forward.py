"""The numbers of the worked example, and its shapes."""

import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from experiments.lecture import forward
from tests.plot.drawing import drawn, said


@pytest.fixture(scope="module")
def found() -> forward.Found:
    return forward.work()


def test_the_numbers_on_paper(found: forward.Found) -> None:
    """Z_1 = 1 * 1 + 2 * 0.5 - 0.5, and so on."""
    np.testing.assert_array_equal(found.z, [[1 + 1 - 0.5, -2 + 1 + 0.5, 0.5 - 2 + 2]])
    np.testing.assert_array_equal(found.h, [[1.5, 0, 0.5]])
    np.testing.assert_array_equal(found.y, [[1.5 - 1 + 1, -1.5 + 2 - 1]])


def test_the_network_gives_the_same(found: forward.Found) -> None:
    np.testing.assert_array_equal(found.by_net, found.y)


def test_back_propagation_sees_the_same_numbers(found: forward.Found) -> None:
    batch = (forward.x, jnp.zeros((1, 2)))
    trace = fnn.inspect.backprop(forward.net, fnn.losses.squared_error, forward.params, {}, batch)
    np.testing.assert_array_equal(trace["dense_0"].z, found.z)
    np.testing.assert_array_equal(trace["dense_0"].a, found.h)
    np.testing.assert_array_equal(trace["dense_1"].z, found.y)


def test_rows_go_through_on_their_own(found: forward.Found) -> None:
    """Row i of many examples is what that example gives alone."""
    alone = [forward.by_hand(forward.x * 2.0**i)[2][0] for i in range(4)]
    np.testing.assert_array_equal(found.many, np.stack(alone))


def test_shapes() -> None:
    m, r = forward.w_1.shape
    assert forward.x.shape == (1, m)
    assert [part.shape for part in forward.by_hand(forward.x)] == [(1, r), (1, r), (1, 2)]


def test_pictures_and_findings(found: forward.Found) -> None:
    (picture,) = forward.pictures(found).values()
    texts = said(drawn(picture.figure))
    assert {"$X$", "$W^1$", "$Z$", "$H$", "$Y$", r"$1 \times m$", r"$m \times r$", r"$r \times 2$"} <= set(texts)
    assert texts.count("$H$") == 2
    assert picture.caption.endswith(".")
    told = forward.findings(found)
    assert len(told) == 2
    assert "Z = [1.5, -0.5, 0.5], H = ReLU(Z) = [1.5, 0, 0.5] and Y = [1.5, -0.5]" in told[0]
    assert "17 parameters" in told[1]
