"""The equations of the page hold in the numbers, and both ways to them agree."""

import jax
import numpy as np
import pytest

import fnn
from experiments.lecture import backprop
from tests.plot.drawing import drawn, said


@pytest.fixture(scope="module")
def found() -> backprop.Found:
    return backprop.work()


def test_by_hand_and_by_the_library_to_a_millionth(found: backprop.Found) -> None:
    assert jax.tree.structure(found.trace) == jax.tree.structure(found.by_hand)
    for ours, by_hand in zip(jax.tree.leaves(found.trace), jax.tree.leaves(found.by_hand), strict=True):
        np.testing.assert_allclose(ours, by_hand, rtol=0, atol=1e-6 * np.abs(by_hand).max())
    assert backprop.furthest_apart(found) < 1e-6


def test_the_last_delta_is_the_softmax_less_the_label(found: backprop.Found) -> None:
    last = found.trace["dense_2"]
    expected = (fnn.activations.softmax(last.z) - np.eye(10)) / 10
    np.testing.assert_allclose(last.delta, expected, atol=1e-7)
    assert np.array_equal(np.asarray(last.delta) < 0, np.eye(10, dtype=bool))


@pytest.mark.parametrize("layer", [0, 1])
def test_delta_flows_back_where_the_unit_is_on(found: backprop.Found, layer: int) -> None:
    here, after = found.trace[f"dense_{layer}"], found.trace[f"dense_{layer + 1}"]
    on = np.asarray(here.z) > 0
    expected = np.asarray(after.delta) @ np.asarray(found.params[f"dense_{layer + 1}"]["w"]).T * on
    np.testing.assert_allclose(here.delta, expected, atol=1e-7)
    assert not np.asarray(here.delta)[~on].any()


def test_a_gradient_is_what_came_in_times_delta(found: backprop.Found) -> None:
    came_in = [found.batch.x, found.trace["dense_0"].a, found.trace["dense_1"].a]
    for x, layer in zip(came_in, found.trace.values(), strict=True):
        np.testing.assert_allclose(layer.dw, np.asarray(x).T @ np.asarray(layer.delta), atol=1e-6)
    blank = ~np.asarray(found.batch.x).any(axis=0)
    assert blank.any()
    assert not np.asarray(found.trace["dense_0"].dw)[blank].any()


def test_the_batch_is_one_of_each_digit(found: backprop.Found) -> None:
    assert found.batch.y.tolist() == list(range(10))


def test_picture_and_findings(found: backprop.Found) -> None:
    (picture,) = backprop.pictures(found).values()
    figure = drawn(picture.figure)
    layers = {"dense_0: 64 inputs, 16 units", "dense_1: 16 inputs, 12 units", "dense_2: 12 inputs, 10 units"}
    assert layers | set(backprop.ROWS) <= set(said(figure))
    assert [axes.get_ylabel() for axes in figure.axes[:15:3]] == ["digit"] * 4 + ["input"]
    by_library, by_hand = (np.asarray(figure.axes[6 + row].images[0].get_array()) for row in (0, 3))
    np.testing.assert_allclose(by_library, by_hand, atol=1e-6)
    assert "diagonal" in picture.caption
    norms, asleep, blank, apart = backprop.findings(found)
    assert "0.30," in norms
    assert asleep.count("%") == 2
    assert blank.startswith("14 of the 64 pixels")
    assert "differ by at most" in apart
