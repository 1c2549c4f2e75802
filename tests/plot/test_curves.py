"""Learning curves: what they show, on which scale, and what they refuse."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from fnn import plot
from fnn.train import FitResult
from tests.plot.drawing import HISTORY, drawn, said

EPOCHS = len(HISTORY["loss"])


def test_pairs_share_a_panel_and_the_loss_is_first() -> None:
    figure = drawn(plot.learning_curves(HISTORY))
    assert [axes.get_ylabel() for axes in figure.axes] == ["mean loss", "accuracy", "norm of the gradient"]
    assert {axes.get_xlabel() for axes in figure.axes} == {"epoch"}
    # Training, validation, and the line of the best epoch.
    assert [len(axes.get_lines()) for axes in figure.axes] == [3, 3, 2]
    loss = figure.axes[0].get_lines()
    np.testing.assert_allclose(loss[0].get_ydata(), HISTORY["loss"])
    np.testing.assert_allclose(loss[1].get_ydata(), HISTORY["val_loss"])
    np.testing.assert_array_equal(loss[0].get_xdata(), np.arange(1, EPOCHS + 1))
    assert {"training", "validation"} <= set(said(figure))
    assert loss[0].get_color() != loss[1].get_color()


def test_the_epoch_of_least_validation_loss_is_marked() -> None:
    best = int(np.argmin(HISTORY["val_loss"])) + 1
    figure = drawn(plot.learning_curves(HISTORY))
    assert said(figure).count(f"least validation loss: epoch {best}") == 1
    for axes in figure.axes:
        assert list(axes.get_lines()[-1].get_xdata()) == [best, best]
    assert not any("least" in text for text in said(plot.learning_curves({"loss": [2.0, 1.0]})))


@pytest.mark.parametrize(
    ("name", "values", "scale"),
    [
        ("loss", [2.0, 0.2], "log"),
        ("loss", [2.0, 0.3], "linear"),
        ("loss", [2.0, 0.0], "linear"),
        ("loss", [2.0, -1.0], "linear"),
        ("loss", [2.0, 0.1, np.nan], "log"),
        ("loss", [np.nan, np.nan], "linear"),
        ("grad_norm", [10.0, 0.1], "log"),
        ("accuracy", [0.01, 0.9], "linear"),
        ("val_loss", [2.0, 0.1], "log"),
    ],
)
def test_a_wide_positive_loss_has_a_logarithmic_scale(name: str, values: list[float], scale: str) -> None:
    [axes] = drawn(plot.learning_curves({name: values})).axes
    assert axes.get_yscale() == scale


def test_epochs_are_whole_numbers_and_logarithms_read_as_numbers() -> None:
    figure = drawn(plot.learning_curves({"loss": [2.0, 1.0, 0.1]}))
    [axes] = figure.axes
    assert all(float(tick).is_integer() for tick in axes.get_xticks())
    labels = [label.get_text() for label in axes.get_yticklabels(which="both") if label.get_text()]
    assert {"0.1", "0.2", "0.5", "1", "2"} <= set(labels)
    assert not [label for label in labels if "10^" in label]


@pytest.mark.parametrize(
    ("last", "ticks"),
    [
        (1, [1]),
        (2, [1, 2]),
        (12, [1, 2, 4, 6, 8, 10, 12]),
        (13, [1, 5, 10, 13]),
        (44, [1, 10, 20, 30, 44]),
        (50, [1, 10, 20, 30, 40, 50]),
        (1000, [1, 200, 400, 600, 800, 1000]),
    ],
)
def test_the_axis_shows_the_first_epoch_and_the_last(last: int, ticks: list[int]) -> None:
    [axes] = drawn(plot.learning_curves({"loss": np.ones(last)})).axes
    assert list(axes.get_xticks()) == ticks


def test_arrays_of_jax_are_drawn() -> None:
    [axes] = plot.learning_curves({"loss": jnp.array([2.0, 1.0])}).axes
    np.testing.assert_array_equal(axes.get_lines()[0].get_ydata(), [2.0, 1.0])


BAD: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "no history": (lambda: plot.learning_curves({}), ValueError, r"history: got nothing, expected arrays of one entry"),
    "no epochs": (lambda: plot.learning_curves({"loss": []}), ValueError, r"history: got loss \(0,\), expected arrays"),
    "lengths": (
        lambda: plot.learning_curves({"loss": [1.0, 2.0], "accuracy": [1.0]}),
        ValueError,
        r"history: got loss \(2,\), accuracy \(1,\), expected arrays of one entry an epoch",
    ),
    "a population": (
        lambda: plot.learning_curves({"loss": np.ones((3, 5))}),
        ValueError,
        r"history: got loss \(3, 5\), .* Of a population, choose one run",
    ),
    "numbers": (lambda: plot.learning_curves({"loss": 1.0}), ValueError, r"history: got loss \(\), expected arrays"),
}


@pytest.mark.parametrize("case", BAD)
def test_wrong_arguments_are_refused(case: str) -> None:
    call, error, match = BAD[case]
    with pytest.raises(error, match=match):
        call()


def test_a_whole_result_is_no_history() -> None:
    state: Any = None
    result: Any = FitResult(state, state, {"loss": jnp.ones(2)})
    with pytest.raises(TypeError, match=r"^history: got a FitResult, .* by name\. Give result\.history\.$"):
        plot.learning_curves(result)
    with pytest.raises(TypeError, match=r"^history: got a list, expected arrays of one entry an epoch, by name\.$"):
        plot.learning_curves([1.0])  # pyright: ignore[reportArgumentType]
