"""The noise of a batch's gradient, where it holds the loss, and what a step costs, against theory."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.lecture import batches
from experiments.lecture.batches import DATA, DRAWN, EXAMPLES, RATE, SIZES, START, STEPS, Found
from tests.plot.drawing import drawn, said


@pytest.fixture(scope="module")
def found() -> Found:
    return batches.work()


def test_noise_falls_with_the_root_of_the_batch(found: Found) -> None:
    np.testing.assert_allclose(found.noise, found.in_theory, rtol=0.05)
    assert np.polyfit(np.log(DRAWN), np.log(found.noise), 1)[0] == pytest.approx(-0.5, abs=0.01)


def test_on_average_a_batch_s_gradient_is_that_of_all(found: Found) -> None:
    each = jax.jit(jax.vmap(batches.gradient))(jnp.arange(EXAMPLES)[:, None])
    everything = jax.jit(batches.gradient)(jnp.arange(EXAMPLES))
    np.testing.assert_allclose(each.mean(axis=0), everything, rtol=1e-5)
    assert found.noise[0] == pytest.approx(batches.spread(each), rel=0.05)


def test_all_of_the_data_goes_straight_down(found: Found) -> None:
    """The loss falls at each step, to the least-squares line."""
    path, above = found.paths["batch of all 256"], found.above["batch of all 256"]
    assert (np.diff(above[:60]) < 0).all()
    np.testing.assert_allclose(path[-1], found.lowest, atol=1e-5)
    start = [START["w"].item(), START["b"].item()]
    assert all(path[0].tolist() == start for path in found.paths.values())


@pytest.mark.parametrize("name", ["single example", "mini-batch of 16"])
def test_noise_holds_the_loss_where_theory_says(found: Found, name: str) -> None:
    """About the lowest point each step is u <- A u + c, A = 1 - 2 lr x x^T, so E(u u^T) = S settles where
    S = E(A S A) + E(c c^T); of B examples A and c are means."""
    x = np.stack([np.asarray(DATA.x, np.float64)[:, 0], np.ones(EXAMPLES)], axis=1)
    error = np.asarray(DATA.y, np.float64)[:, 0] - x @ found.lowest
    outer = x[:, :, None] * x[:, None, :]
    each, noise = np.eye(2) - 2 * RATE * outer, (2 * RATE * error[:, None]) * x
    twice = np.einsum("nij,nkl->ikjl", each, each).reshape(4, 4) / EXAMPLES
    mean, size = each.mean(axis=0), SIZES[name]
    keeps = twice / size + (1 - 1 / size) * np.kron(mean, mean)
    settled = np.linalg.solve(np.eye(4) - keeps, (noise.T @ noise / EXAMPLES / size).ravel()).reshape(2, 2)
    expected = np.trace(outer.mean(axis=0) @ settled)
    assert found.above[name][-STEPS // 2 :].mean() == pytest.approx(expected, rel=0.05)


def test_small_batches_get_down_for_less(found: Found) -> None:
    """Within 1 of the least loss for about as many steps, and so for 16 times as many examples from size to size."""
    steps = [int(np.argmax(found.above[name] < 1)) for name in SIZES]
    assert max(steps) <= 1.5 * min(steps)
    one, sixteen, every = (size * n for size, n in zip(SIZES.values(), steps, strict=True))
    assert 10 * one < sixteen
    assert 10 * sixteen < every


def test_pictures_and_findings(found: Found) -> None:
    pictures = batches.pictures(found)
    assert list(pictures) == ["paths", "costs"]
    paths, costs = (drawn(picture.figure) for picture in pictures.values())
    titles = [axes.get_title().splitlines() for axes in paths.axes]
    assert [first for first, _ in titles] == list(SIZES)
    assert [second for _, second in titles] == [f"40 steps, {40 * size:,} examples" for size in SIZES.values()]
    assert {"examples read", "batch size B, examples", "measured", *SIZES} <= set(said(costs))
    assert "strays" in pictures["paths"].caption
    assert "halve" in pictures["costs"].caption
    noise, cost, floors = batches.findings(found)
    assert "to the power -0.50" in noise
    assert cost.count("steps") == 3
    assert "times less" in floors
