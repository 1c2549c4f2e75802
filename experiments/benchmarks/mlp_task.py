"""What the contestants of `experiments.benchmarks.mlp` train, without JAX or PyTorch."""

import itertools
from typing import Any, NamedTuple

import numpy as np

RATE = 1e-3  # of Adam; 0.9, 0.999 and 1e-8 everywhere


class Shape(NamedTuple):
    """A network and its data.

    Attributes:
        widths: inputs, hidden widths, outputs.
        batch: examples of a step.
        examples: a whole number of batches, so that all take the same steps.
        turn: epochs of one turn.
        run: steps of a whole run, for the column total.
    """

    widths: tuple[int, ...]
    batch: int
    examples: int
    turn: int
    run: int


# A whole run: 200 epochs of the digits, 10 and 10 of MNIST's 60,000 images.
SHAPES = {
    "digits": Shape((64, 128, 64, 10), 64, 1408, 20, 4400),
    "mnist": Shape((784, 512, 512, 10), 128, 9984, 1, 4690),
    "mnist-wide": Shape((784, 2048, 2048, 10), 1024, 8192, 1, 590),
}


def products(widths: tuple[int, ...], batch: int) -> list[tuple[int, int, int]]:
    """The products (m, k) (k, n) of one step: forward, and the gradients of weights and of all inputs but the first."""
    pairs = list(itertools.pairwise(widths))
    forward = [(batch, a, b) for a, b in pairs]
    return [*forward, *((a, batch, b) for a, b in pairs), *((batch, b, a) for a, b in pairs[1:])]


def flops(widths: tuple[int, ...], batch: int) -> int:
    """Of one step's products: twice their multiply-adds."""
    return 2 * sum(m * k * n for m, k, n in products(widths, batch))


class Task(NamedTuple):
    """What a contestant is given.

    Attributes:
        name: of the shape.
        epochs: of one turn.
        cores: on which it runs.
    """

    name: str
    epochs: int
    cores: int

    @property
    def shape(self) -> Shape:
        """Network and data."""
        return SHAPES[self.name]

    @property
    def steps(self) -> int:
        """Of one turn."""
        return self.epochs * (self.shape.examples // self.shape.batch)

    def examples(self) -> tuple[np.ndarray, np.ndarray]:
        """All examples: float32 (n, d) in 0 to 1, and labels int32 (n,)."""
        n, d = self.shape.examples, self.shape.widths[0]
        if self.name == "digits":
            from sklearn.datasets import load_digits

            data: Any = load_digits()
            return (data.data[:n] / 16).astype(np.float32), data.target[:n].astype(np.int32)
        draw = np.random.default_rng(0)
        y = draw.integers(0, 10, n, dtype=np.int32)
        x = draw.random((10, d), np.float32)[y] + draw.random((n, d), np.float32)
        return x / np.float32(2), y
