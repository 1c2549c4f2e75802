"""Sight while a fit trains: every layer's signals, looked at now and then from the host."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from fnn.data import Dataset, epoch_order
from fnn.errors import check_count, message
from fnn.inspect import watched
from fnn.train.plan import Plan, on_batch, on_numbered
from fnn.train.state import TrainState
from fnn.train.step import Step
from fnn.typing import Array, Batch, Loss, Metrics

Look = Callable[[TrainState], Mapping[str, float]]
"""The statistics of each layer at a state, by name: "dense_0/delta_norm"."""


class Watch:
    """Looks at each layer at evenly spaced steps of a fit: `fnn.fit(..., watch=Watch())`.

    A look takes the statistics of `fnn.inspect.statistics` from the state as it is then, on the batch that comes
    next and with the update that follows from it; without augmentation, and of the loss without penalties. It is a
    program of its own between two calls of the fit's, and changes no bit of the training.

    Args:
        looks: how many, the first before the first step and the last after the last; fewer where there are
            fewer steps. A fit that ends early has its last look there.

    Attributes:
        history: what was seen, arrays with one entry a look: "step", and for each layer by its path and each field
            of `fnn.inspect.Statistics` such as "dense_0/update_ratio". It is there after a fit that failed, too.

    Raises:
        ValueError: fewer than two looks.

    Example:
        >>> watch, x = Watch(looks=3), jnp.linspace(-1.0, 1.0, 8)[:, None]
        >>> _ = fnn.fit(fnn.nn.mlp([4, 1]), fnn.losses.squared_error, fnn.optim.sgd(0.1),
        ...     fnn.data.Dataset(x, x), key=jax.random.key(0), epochs=5, batch_size=4, watch=watch)
        >>> watch.history["step"], watch.history["dense_0/gradient_norm"].shape
        (array([ 0,  5, 10]), (3,))
    """

    def __init__(self, looks: int = 100) -> None:
        check_count("looks", looks, minimum=2)
        self.looks = looks
        self._rows: list[Mapping[str, float]] = []
        self._steps: list[int] = []
        self._at: Look = lambda _: {}

    @property
    def history(self) -> dict[str, np.ndarray]:
        """What was seen, by name; empty before the first look."""
        return {name: np.array([row[name] for row in self._rows]) for name in (self._rows[0] if self._rows else ())}

    def begin(self, total: int, at: Look) -> None:
        """A fit of so many steps begins; what was seen of an earlier one is forgotten."""
        self._rows, self._at = [], at
        self._steps = sorted({round(i * total / (self.looks - 1)) for i in range(self.looks)})

    def due(self, step: int, otherwise: int) -> int:
        """The first step after this one that is looked at, unless the other comes before."""
        return min((due for due in self._steps if step < due < otherwise), default=otherwise)

    def look(self, state: TrainState, *, ended: bool = False) -> None:
        """Looks at a state whose turn it is, or which is the last one; at each step once."""
        step = int(state.step)
        if (ended or step in self._steps) and not (self._rows and self._rows[-1]["step"] == step):
            self._rows.append({"step": step, **self._at(state)})


class Blind(Watch):
    """Looks at nothing: the fit that nobody watches.

    Example:
        >>> Blind().due(3, 9)
        9
    """

    def begin(self, total: int, at: Look) -> None:
        """Does nothing."""

    def look(self, state: TrainState, *, ended: bool = False) -> None:
        """Does nothing."""


def watch_for(watch: Watch | None) -> Watch:
    """What `fit(watch=...)` asks for.

    Example:
        >>> type(watch_for(None)).__name__
        'Blind'
    """
    if watch is None:
        return Blind()
    if not isinstance(watch, Watch):
        raise TypeError(message("watch", watch, "a fnn.train.Watch or None", "Such as fnn.train.Watch(looks=100)."))
    return watch


def looking(step: Step, net: Any, loss: Loss, data: Dataset, plan: Plan) -> Look:
    """A function of a state that gives each layer's statistics on its next batch; compiled when first called.

    Args:
        step: the training step.
        net: its network.
        loss: its loss, without penalties.
        data: the training data.
        plan: how an epoch is cut.

    Example:
        >>> net, tx, data = fnn.nn.mlp([1]), fnn.optim.sgd(0.1), Dataset(jnp.ones((4, 1)), jnp.zeros((4, 1)))
        >>> step = fnn.train.make_step(fnn.train.supervised(net, fnn.losses.squared_error), tx)
        >>> look = looking(step, net, fnn.losses.squared_error, data, Plan(4, 2, 2, True))
        >>> list(look(fnn.train.init_state(jax.random.key(0), net, tx, data.x)))[:3]
        ['dense_0/z_mean', 'dense_0/z_std', 'dense_0/a_mean']
    """
    telling, targets = watched(step, net, loss), data.y
    names: list[str] = []

    def told(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        state, metrics = telling(state, batch)
        # From input to output, as the network is traced: a dict that leaves jit is sorted by its keys.
        names[:] = [name for name in metrics if "/" in name]
        return state, {name: metrics[name] for name in names}

    @jax.jit
    def sums(state: TrainState, data: Dataset) -> Metrics:
        order = epoch_order(state.key, state.step // plan.steps, plan.examples, plan.batch_size)

        def take(state: TrainState, indices: Array, weight: Array) -> tuple[TrainState, Metrics]:
            return on_batch(told, data, plan, state, indices, weight, targets)

        return on_numbered(take, plan, state, order, state.step % plan.steps)[1]

    def look(state: TrainState) -> Mapping[str, float]:
        found, size = jax.device_get(sums(state, data)), plan.size(int(state.step))
        return {name: float(found[name]) / size for name in names}

    return look
