"""The lecture's menu: one neuron and a small classifier name all four drinks."""

import pytest

from experiments.coffee import CoffeeOptions, classifier, main, neuron
from fnn.data import COFFEE_DRINKS


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_both_name_all_drinks(seed: int) -> None:
    options = CoffeeOptions(seed=seed)
    assert neuron(options) == classifier(options) == list(COFFEE_DRINKS)


def test_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    main(CoffeeOptions())
    out = capsys.readouterr().out
    assert "The neuron gets 4 of 4 drinks right." in out
    assert "The classifier gets 4 of 4 drinks right." in out


def test_without_training_they_are_wrong() -> None:
    """So that the tests above can fail."""
    untrained = CoffeeOptions(learning_rate=0.0, epochs=1)
    assert neuron(untrained) != list(COFFEE_DRINKS)
    assert classifier(untrained) != list(COFFEE_DRINKS)
