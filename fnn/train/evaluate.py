"""Measures of a trained network on a whole data set."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fnn.contract import applied
from fnn.data import Dataset, check_dataset
from fnn.errors import check_array, message
from fnn.train.state import TrainState, check_network, check_state
from fnn.train.supervised import check_metrics, measured
from fnn.typing import Array, Metric, Metrics

_ROWS = 1024


def make_eval(net: Any, metrics: Mapping[str, Metric]) -> Callable[[TrainState, Dataset], Metrics]:
    """A pure function that measures a network on data of any length, exactly.

    The network runs in evaluation mode, 1,024 examples at a time; then each metric sees all outputs at
    once. One value per example is averaged over the examples; any other result (a confusion matrix, r2)
    is reported as it is.

    Args:
        net: a network with `init` and `apply`.
        metrics: functions (outputs, targets) by name, such as those of `fnn.metrics` and `fnn.losses`.

    Returns:
        evaluate(state, data) to a dict by name. It does not jit itself.

    Raises:
        TypeError: not a network, or metrics that are not a mapping from names to functions.
        ValueError: no metrics.

    Example:
        >>> net = fnn.nn.mlp([2])
        >>> state = fnn.train.init_state(jax.random.key(0), net, fnn.optim.sgd(0.1), jnp.zeros((1, 3)))
        >>> evaluate = make_eval(net, {"accuracy": fnn.metrics.accuracy})
        >>> data = fnn.data.Dataset(jnp.zeros((5, 3)), jnp.array([0, 0, 0, 1, 1]))
        >>> evaluate(state, data)
        {'accuracy': Array(0.6, dtype=float32)}
    """
    check_network(net)
    if not check_metrics(metrics, taken=()):
        remedy = 'Such as {"accuracy": fnn.metrics.accuracy}.'
        raise ValueError(message("metrics", "none", "at least one function by name", remedy))

    def evaluate(state: TrainState, data: Dataset) -> Metrics:
        check_state(state)
        data = check_dataset(data)
        outputs = _outputs(net, state, jnp.asarray(data.x))
        return {
            name: _reduced(name, measured(name, metric, outputs, data.y), len(data.x))
            for name, metric in metrics.items()
        }

    return evaluate


def _outputs(net: Any, state: TrainState, x: Array) -> Array:
    def forward(x: Array) -> Array:
        return applied(net, state.params, state.model_state, x)[0]

    examples, rows = len(x), min(_ROWS, len(x))
    blocks = -(-examples // rows)
    if blocks == 1:
        return forward(x)
    # The last block is filled up with the first examples, so that all blocks have one shape.
    place = np.arange(blocks * rows) % examples
    outputs = jax.lax.map(lambda rows_: forward(x[rows_]), place.reshape(blocks, rows))
    return outputs.reshape(blocks * rows, *outputs.shape[2:])[:examples]


def _reduced(name: str, values: Any, examples: int) -> Array:
    check_array(f"result of {name}", values)
    values = jnp.asarray(values)
    if values.shape != (examples,):
        return values
    return jnp.mean(values.astype(jnp.promote_types(values.dtype, jnp.float32)))
