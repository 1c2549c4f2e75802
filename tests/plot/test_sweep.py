"""What the pictures of a sweep show: the means of its cells, the best combination, and axes that fit the values."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.patches import Rectangle

import fnn
from fnn.plot import heat_map, parallel_coordinates
from fnn.population import Results

RATES, WIDTHS = [0.001, 0.01, 0.1], [8, 16]
KEYS = jax.random.split(jax.random.key(0), 2)


def _results(hparams: Any, loss: Any) -> Results:
    values = jnp.stack([jnp.asarray(loss), jnp.asarray(loss) + 2], axis=1)
    return Results(hparams, KEYS, {"loss": values, "accuracy": values}, jnp.ones(values.shape, bool))


GRID = _results(fnn.population.grid(learning_rate=RATES, width=WIDTHS), [5.0, 4.0, 1.0, 2.0, jnp.nan, 3.0])


def test_heat_map_shows_the_mean_over_keys() -> None:
    axes = heat_map(GRID, "learning_rate", "width").axes[0]
    shown = np.ma.filled(axes.images[0].get_array(), np.nan)
    np.testing.assert_array_equal(shown, [[6.0, 2.0, np.nan], [5.0, 3.0, 4.0]])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.001", "0.01", "0.1"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["8", "16"]
    assert sorted(text.get_text() for text in axes.texts) == ["2", "3", "4", "5", "6"]


@pytest.mark.parametrize(("by", "place"), [("loss", (0.5, -0.5)), ("accuracy", (-0.5, -0.5))])
def test_heat_map_frames_the_best(by: str, place: tuple[float, float]) -> None:
    (frame,) = [p for p in heat_map(GRID, "learning_rate", "width", by).axes[0].patches if isinstance(p, Rectangle)]
    assert frame.get_xy() == place


def test_heat_map_averages_over_what_it_does_not_show() -> None:
    hparams = fnn.population.grid(a=[1, 2], b=[1, 2], c=[1, 2, 3])
    shown = heat_map(_results(hparams, jnp.arange(12.0)), "a", "b").axes[0].images[0].get_array()
    np.testing.assert_array_equal(shown, np.arange(12.0).reshape(2, 2, 3).mean(2).T + 1)


def test_many_values_are_put_into_bins() -> None:
    values = {"rate": jnp.logspace(-4, 0, 100), "other": jnp.linspace(0.0, 1.0, 100)}
    figure = heat_map(_results(values, jnp.arange(100.0)), "rate", "other")
    names = [float(label.get_text()) for label in figure.axes[0].get_xticklabels()]
    np.testing.assert_allclose(np.diff(np.log10(names)), 0.5, atol=0.05)
    others = [float(label.get_text()) for label in figure.axes[0].get_yticklabels()]
    np.testing.assert_allclose(np.diff(others), 0.125, atol=0.02)
    # All hundred are in the picture: each bin's mean is that of its twelfth or thirteenth of the numbers.
    shown = figure.axes[0].images[0].get_array().compressed()
    assert shown.min() < 10
    assert shown.max() > 90


def test_parallel_coordinates_draws_each_combination_and_the_best_on_top() -> None:
    axes = parallel_coordinates(GRID).axes[0]
    lines = [line for line in axes.lines if len(line.get_xdata()) == 2 and list(line.get_xdata()) == [0, 1]]
    assert len(lines) == 5  # the one without a finite loss is left out
    np.testing.assert_allclose(lines[-1].get_ydata(), [0.5, 0.0])  # rate 0.01 on a logarithmic axis, width 8
    assert lines[-1].get_linewidth() > lines[0].get_linewidth()
    assert axes.get_title() == "best of 6: learning rate 0.01, width 8"


def test_an_axis_is_plain_where_values_lie_evenly_on_it() -> None:
    axes = parallel_coordinates(_results({"dropout": jnp.linspace(0.01, 0.6, 50)}, jnp.arange(50.0))).axes[0]
    heights = sorted(float(line.get_ydata()[0]) for line in axes.lines if len(line.get_ydata()) == 1)
    np.testing.assert_allclose(heights, np.linspace(0, 1, 50), atol=1e-6)


def test_nothing_finite_is_drawn_empty() -> None:
    results = _results({"a": jnp.arange(2.0), "b": jnp.arange(2.0)}, jnp.full(2, jnp.nan))
    assert len(heat_map(results, "a", "b").axes[0].texts) == 0
    assert parallel_coordinates(results).axes[0].get_title() == ""


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: heat_map(GRID, "rate", "width"), "^x: got 'rate', expected one of learning_rate, width"),
        (lambda: heat_map(GRID, "width", "width"), "^y: got 'width', expected another hyperparameter than x"),
        (lambda: heat_map(GRID, "learning_rate", "width", "los"), "^by: got 'los', expected one of accuracy, loss"),
        (
            lambda: parallel_coordinates(_results({"pair": jnp.zeros((2, 2))}, jnp.zeros(2))),
            "^results: got no hyperparameter that is one number, expected at least one",
        ),
    ],
)
def test_refusals(call: Any, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()
