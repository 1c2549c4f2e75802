"""The coffee menu by hand, and by gradient descent."""

import numpy as np
import pytest

import fnn
from experiments.lecture import coffee
from tests.plot.drawing import drawn, said

MENU = np.c_[np.asarray(fnn.data.coffee().x), np.ones(4)]
NUMBERS = np.arange(4.0)


@pytest.fixture(scope="module")
def found() -> coffee.Found:
    return coffee.work()


def test_by_hand_is_exact_and_the_nearest_to_zero() -> None:
    np.testing.assert_allclose(MENU @ coffee.BY_HAND, NUMBERS, atol=1e-15)
    np.testing.assert_allclose(np.linalg.pinv(MENU) @ NUMBERS, coffee.BY_HAND, atol=1e-14)


def test_from_zero_gradient_descent_finds_what_was_found_by_hand(found: coffee.Found) -> None:
    np.testing.assert_allclose(found.from_zero, coffee.BY_HAND, atol=1e-5)


def test_from_elsewhere_it_solves_the_same_equations(found: coffee.Found) -> None:
    espresso, water, milk, ice, bias = found.last.T
    np.testing.assert_allclose(found.last @ MENU.T, np.tile(NUMBERS, (coffee.DRAWS, 1)), atol=1e-5)
    np.testing.assert_allclose(ice, -1, atol=1e-5)
    np.testing.assert_allclose(milk - water, 2, atol=1e-5)
    np.testing.assert_allclose(espresso + water + bias, 1, atol=1e-5)


def test_gradient_descent_leaves_alone_what_no_equation_asks_for(found: coffee.Found) -> None:
    """Two directions change no drink: espresso against the bias, and espresso against water and milk."""
    free = np.array([[1, 0, 0, 0, -1], [1, -1, -1, 0, 0]])
    assert not (MENU @ free.T).any()
    np.testing.assert_allclose(found.last @ free.T, found.first @ free.T, atol=1e-5)
    assert np.ptp(found.last[:, 0]) > 0.5


def test_the_classifier_names_every_drink(found: coffee.Found) -> None:
    np.testing.assert_allclose(found.chances.sum(axis=1), 1, atol=1e-6)
    assert np.diag(found.chances).min() > 0.95


def test_pictures_and_findings(found: coffee.Found) -> None:
    neuron, classifier = coffee.pictures(found).values()
    assert {"espresso", "water", "milk", "ice", "bias", "by hand", "weight, or bias"} <= set(said(drawn(neuron.figure)))
    table = said(drawn(classifier.figure))
    assert len([text for text in table if text.endswith(" %")]) == 16
    assert {"drink", "what the classifier says", "ice\nlatte"} <= set(table)
    assert neuron.caption.endswith(".")
    assert classifier.caption.endswith(".")
    told = coffee.findings(found)
    assert len(told) == 3
    assert all(any(c.isdigit() for c in sentence) for sentence in told)
    assert "espresso 0.800, water -0.600, milk 1.400, ice -1.000, bias 0.800" in told[0]
