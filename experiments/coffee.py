"""The lecture's coffee menu: a single neuron, then a small classifier.

The neuron computes y = x W + b from the ingredients (espresso, water, milk, ice) and should say the drink's
number; gradient descent on (x W + b - y)^2 finds its five numbers. The classifier, with one hidden layer and a
softmax, says how likely each drink is.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import tyro

import fnn
from experiments.common import console, show
from fnn.data import COFFEE_DRINKS, COFFEE_INGREDIENTS, Dataset


@dataclass(frozen=True)
class CoffeeOptions:
    """What can be chosen."""

    learning_rate: float = 0.1
    """Step size of gradient descent."""
    epochs: int = 500
    """Steps, each on all four drinks."""
    hidden: int = 8
    """Width of the classifier's hidden layer."""
    seed: int = 0
    """Seed of the first weights."""


def train(
    net: fnn.nn.Layer, loss: fnn.typing.Loss, data: Dataset, options: CoffeeOptions
) -> tuple[fnn.train.TrainState, jax.Array]:
    """Plain gradient descent on the whole menu; the state and the outputs for each drink."""
    tx = fnn.optim.sgd(options.learning_rate)
    result = fnn.fit(
        net, loss, tx, data, key=jax.random.key(options.seed), epochs=options.epochs, batch_size=4, progress=False
    )
    return result.state, net.apply(result.state.params, result.state.model_state, data.x)[0]


def neuron(options: CoffeeOptions) -> list[str]:
    """Trains one linear neuron on the drinks' numbers, prints it, and returns the drinks that it names."""
    menu = fnn.data.coffee()
    numbers = Dataset(menu.x, menu.y.astype(jnp.float32)[:, None])
    state, y = train(fnn.nn.perceptron(1, "identity"), fnn.losses.squared_error, numbers, options)
    weights = state.params["dense_0"]
    terms = [f"{float(w):+.2f} {name}" for w, name in zip(weights["w"][:, 0], COFFEE_INGREDIENTS, strict=True)]
    console.print(f"One neuron: y = {' '.join(terms)} {float(weights['b'][0]):+.2f}")
    named = [COFFEE_DRINKS[min(max(round(float(value)), 0), 3)] for value in y[:, 0]]
    show("", ["drink", "number", "neuron says", "that is"], [
        [drink, str(int(number)), f"{float(value):.3f}", name]
        for drink, number, value, name in zip(COFFEE_DRINKS, menu.y, y[:, 0], named, strict=True)
    ])  # fmt: skip
    return named


def classifier(options: CoffeeOptions) -> list[str]:
    """Trains a small classifier, prints its probabilities, and returns the drinks that it names."""
    menu = fnn.data.coffee()
    net = fnn.nn.mlp([options.hidden, 4], "tanh")
    _, logits = train(net, fnn.losses.softmax_cross_entropy, menu, options)
    chances = fnn.activations.softmax(logits)
    named = [COFFEE_DRINKS[int(i)] for i in logits.argmax(axis=1)]
    show("A classifier's probabilities", ["drink", *COFFEE_DRINKS], [
        [drink, *(f"{float(p):.1%}" for p in row)] for drink, row in zip(COFFEE_DRINKS, chances, strict=True)
    ])  # fmt: skip
    return named


def main(options: CoffeeOptions) -> None:
    """Runs both and says how many drinks each gets right."""
    for name, part in (("neuron", neuron), ("classifier", classifier)):
        named = part(options)
        right = sum(a == b for a, b in zip(named, COFFEE_DRINKS, strict=True))
        console.print(f"The {name} gets {right} of {len(COFFEE_DRINKS)} drinks right.\n")


if __name__ == "__main__":
    main(tyro.cli(CoffeeOptions, prog="python -m experiments.coffee", description=__doc__))
