"""Aliases that name what the arguments of this library are.

Most of them are `Any` to a type checker, since a pytree can be anything; they are there for the reader.
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, runtime_checkable

import jax
from jax.typing import ArrayLike

Array: TypeAlias = jax.Array
Key: TypeAlias = jax.Array
"""A typed key, as `jax.random.key(seed)` makes it."""
Shape: TypeAlias = tuple[int, ...]
DType: TypeAlias = Any
Scalar: TypeAlias = ArrayLike
"""A number: a Python float, a NumPy scalar or an array of shape (), traced or not."""
Params: TypeAlias = Any
"""A pytree of floating-point arrays: nested dicts with readable names, `{"dense_0": {"w", "b"}}`."""
State: TypeAlias = Any
"""A pytree without gradient, such as running statistics; `{}` where there is none."""
OptState: TypeAlias = Any
Batch: TypeAlias = Any
"""Some examples: a `Dataset(x, y)`, a pair `(x, y)` or a `WeightedBatch(x, y, weight)`."""
Metrics: TypeAlias = dict[str, Array]
History: TypeAlias = dict[str, Array]
"""Arrays with one entry an epoch, keyed by the metric's name."""
Schedule: TypeAlias = Callable[[Any], Any]
"""Step number, from 0, to learning rate: Optax's schedules are such functions."""
LearningRate: TypeAlias = Scalar | Schedule
Activation: TypeAlias = Callable[[Array], Array]
Loss: TypeAlias = Callable[[Array, Array], Array]
"""(outputs, targets) to one value per example."""
Augmentation: TypeAlias = Callable[[Key, Batch], Batch]
"""(key, batch) to a batch of the same type and as many examples, drawn with the key."""
Metric: TypeAlias = Callable[[Array, Array], Array]
LossFn: TypeAlias = Callable[[Params, State, Batch, Key | None], tuple[Array, tuple[State, Metrics]]]
"""Training-mode loss: (params, state, batch, key) to (mean loss, (new state, metrics))."""


@runtime_checkable
class Initializer(Protocol):
    """Draws one parameter array."""

    def __call__(self, key: Key, shape: Shape, dtype: DType = ..., /) -> Array:
        """An array of this shape and dtype, drawn with this key."""
        ...


@runtime_checkable
class Apply(Protocol):
    """A layer's forward function."""

    def __call__(
        self, params: Params, state: State, x: Array, *, train: bool = False, key: Key | None = None
    ) -> tuple[Array, State]:
        """The output for a batch x, and the new state; noise is drawn from the key in training."""
        ...
