"""The loss of supervised learning: a network, a loss and penalties, as one function of the parameters."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from fnn import keys
from fnn.contract import applied
from fnn.data.batch import batch_parts, weighted_mean
from fnn.errors import check_callable, check_floating, check_key, check_scalar, is_zero, message
from fnn.train.state import check_network
from fnn.tree import cast, total, weight_mask
from fnn.typing import Array, Augmentation, Batch, Key, Loss, LossFn, Metric, Metrics, Params, Scalar, State

_TAKEN = ("loss", "grad_norm", "finite")


def supervised(
    net: Any,
    loss: Loss,
    *,
    metrics: Mapping[str, Metric] | None = None,
    l2: Scalar = 0.0,
    l1: Scalar = 0.0,
    augment: Augmentation | None = None,
) -> LossFn:
    """The training loss of a network on a batch, `L = mean_i loss(f(x_i), y_i) + l2 sum w^2 + l1 sum |w|`.

    Penalties touch weights only, not biases: see `fnn.tree.weight_mask`. Of a weighted batch the mean is
    the weighted one, `sum_i weight_i loss_i / sum_i weight_i`.

    Args:
        net: a network with `init` and `apply`, such as an `fnn.nn.Layer`.
        loss: (outputs, targets) to one value per example, such as those of `fnn.losses`.
        metrics: more such functions by name; their means are reported beside the loss.
        l2: weight of the sum of squares, >= 0; it may be traced.
        l1: weight of the sum of magnitudes, >= 0; it may be traced.
        augment: (key, batch) to the batch that the loss is taken on, such as those of `fnn.augment`. What it
            draws is a function of the run's key and the step. Metrics see its x, and y as it was before.

    Returns:
        A function (params, state, batch, key) to (L, (new state, metrics)), in training mode.

    Raises:
        ValueError: a negative penalty, a loss that does not give one value per example, or an augmentation
            that changes the number of examples or gets no key.
        TypeError: not a network, or not functions.

    Example:
        >>> net = fnn.nn.mlp([1])
        >>> loss_fn = supervised(net, fnn.losses.squared_error)
        >>> params = {"dense_0": {"w": jnp.array([[2.0]]), "b": jnp.array([0.0])}}
        >>> batch = fnn.data.Dataset(jnp.array([[1.0], [3.0]]), jnp.array([[0.0], [7.0]]))
        >>> loss_fn(params, {}, batch, None)[0]
        Array(2.5, dtype=float32)

    Source: Goodfellow et al. 2016, "Deep Learning", section 7.1.
    """
    check_network(net)
    check_callable("loss", loss, "a function (outputs, targets) -> one value per example")
    if augment is not None:
        check_callable("augment", augment, "a function (key, batch) -> batch", "Such as fnn.augment.flip().")
    check_scalar("l2", l2, 0)
    check_scalar("l1", l1, 0)
    named = check_metrics(metrics)

    def loss_fn(params: Params, state: State, batch: Batch, key: Key | None) -> tuple[Array, tuple[State, Metrics]]:
        given = batch_parts(batch)
        x, y, weight = given if augment is None else _augmented(augment, key, batch)
        outputs, state = applied(net, params, state, x, train=True, key=key)
        # Means over examples are float32 or wider, whatever the network computes in.
        outputs = cast(outputs, jnp.promote_types(outputs.dtype, jnp.float32))
        # The scope tells fnn.inspect.first_nonfinite where the network ends.
        with jax.named_scope("loss"):
            values = loss(outputs, y)
            check_floating("result of loss", values, "It needs a gradient; what has none goes into metrics.")
            mean = weighted_mean("loss", values, weight, len(x))
            objective = mean + _penalty(params, l2, jnp.square) + _penalty(params, l1, jnp.abs)
        measures = {
            name: weighted_mean(name, measured(name, f, outputs, given[1]), weight, len(x)) for name, f in named.items()
        }
        return objective, (state, measures)

    return takes_weights(loss_fn)


def takes_weights(function: Any) -> Any:
    """Marks a loss or step that heeds `WeightedBatch.weight`, so that a run may fill up its last batch.

    A function without this mark gets a smaller last batch instead, at the price of a second trace.

    Example:
        >>> heeds_weights(takes_weights(lambda state, batch: (state, {})))
        True
    """
    function.takes_weights = True
    return function


def heeds_weights(function: Any) -> bool:
    """Whether a loss or step is marked by `takes_weights`.

    Example:
        >>> heeds_weights(lambda state, batch: (state, {}))
        False
    """
    return getattr(function, "takes_weights", False)


def check_metrics(metrics: Mapping[str, Metric] | None, taken: Collection[str] = _TAKEN) -> Mapping[str, Metric]:
    """Refuses what is not a mapping from names, those `taken` excepted, to functions.

    Example:
        >>> sorted(check_metrics({"accuracy": fnn.metrics.accuracy}))
        ['accuracy']
    """
    if metrics is None:
        return {}
    if not isinstance(metrics, Mapping):
        remedy = 'Name each one: {"accuracy": fnn.metrics.accuracy}.'
        raise TypeError(message("metrics", f"a {type(metrics).__name__}", "a mapping from names to functions", remedy))
    for name, function in metrics.items():
        if not isinstance(name, str):
            raise TypeError(message("metrics", f"the name {name!r}", "names that are strings"))
        check_callable(f"metrics['{name}']", function, "a function (outputs, targets) -> one value per example")
        if taken and (name in taken or name.startswith("val_")):
            expected = f"a name other than {', '.join(taken)} and val_..."
            raise ValueError(message("metrics", f"the name '{name}'", expected, "The run reports those itself."))
    return metrics


def measured(name: str, metric: Metric, outputs: Array, targets: Array) -> Any:
    """What a metric gives; its refusal says that it is the metric's, not the loss's.

    Example:
        >>> measured("accuracy", fnn.metrics.accuracy, jnp.eye(2), jnp.array([0, 0]))
        Array([1., 0.], dtype=float32)
    """
    try:
        return metric(outputs, targets)
    except (TypeError, ValueError) as error:
        # Only these two themselves: their kin (of JAX, of Unicode) may take other arguments.
        if type(error) not in (TypeError, ValueError) or name == "loss":
            raise
        raise type(error)(f"metrics['{name}'], {error}") from error


def _augmented(augment: Augmentation, key: Key | None, batch: Batch) -> tuple[Array, Array, Array | None]:
    if key is None:
        remedy = "Without noise leave augment out; make_step gives a key."
        raise ValueError(message("key", None, "one typed key: augment draws with it", remedy))
    check_key("key", key)
    # Its own purpose: the network folds the names of its layers into the same key.
    new = augment(keys.for_layer(key, "augment"), batch)
    if not isinstance(new, tuple) or len(new) != len(batch):
        got = f"a tuple of {len(new)}" if isinstance(new, tuple) else f"a {type(new).__name__}"
        expected = f"a batch of {len(batch)} arrays, as the one that came"
        raise TypeError(message("result of augment", got, expected, "Such as batch._replace(x=x)."))
    parts = batch_parts(new)
    if len(parts[0]) != len(batch[0]):
        got = f"{len(parts[0])} examples"
        raise ValueError(message("result of augment", got, f"{len(batch[0])}, as many as came"))
    return parts


def _penalty(params: Params, strength: Scalar, measure: Callable[[Array], Array]) -> Any:
    # A strength known to be 0 leaves the parameters unread.
    if is_zero(strength):
        return 0.0
    # None is no leaf: what is no weight does not count.
    weights = jax.tree.map(lambda w, is_weight: measure(jnp.abs(w)) if is_weight else None, params, weight_mask(params))
    return strength * total(weights)
