"""Mixed precision: what is held in which dtype, and what is computed in which."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from fnn.errors import check_choice, message
from fnn.tree import cast, named_leaves
from fnn.typing import Array, Batch, DType, Key, LossFn, Metrics, Params, State


class Precision(NamedTuple):
    """Which dtype holds the parameters, which the network computes in, and which the loss comes out in.

    Attributes:
        params: of the parameters, and so of their gradients and the optimizer's state: small updates are not lost.
        compute: of parameters and inputs as the network sees them.
        output: of the loss and the metrics.

    Example:
        >>> Precision(compute=jnp.bfloat16).params.__name__
        'float32'
    """

    params: DType = jnp.float32
    compute: DType = jnp.float32
    output: DType = jnp.float32


def as_precision(precision: Precision | str) -> Precision:
    """The policy of that name, or the policy itself, checked.

    Example:
        >>> as_precision("bfloat16").compute.__name__
        'bfloat16'
    """
    if isinstance(precision, str):
        check_choice("precision", precision, ["bfloat16", "float32", *(["float16"] if precision == "float16" else [])])
        precision = Precision(compute=jnp.dtype(precision).type)
    if not isinstance(precision, Precision):
        remedy = 'Give "bfloat16", or fnn.train.Precision(compute=jnp.bfloat16).'
        raise TypeError(message("precision", f"a {type(precision).__name__}", "a Precision or its name", remedy))
    for name, dtype in precision._asdict().items():
        _check_dtype(name, dtype)
    return precision


def in_precision(loss_fn: LossFn, precision: Precision) -> LossFn:
    """The loss function with parameters and inputs cast before it, loss and metrics after it.

    Targets, weights and the network's state keep their dtypes, and gradients come back in the parameters'.

    Example:
        >>> def loss_fn(w, state, batch, key):
        ...     return jnp.sum(w * batch[0]), (state, {})
        >>> half = in_precision(loss_fn, Precision(compute=jnp.bfloat16))
        >>> half(jnp.array(1.001), {}, (jnp.ones(2), jnp.ones(2)), None)[0]
        Array(2., dtype=float32)
    """

    def cast_loss_fn(
        params: Params, state: State, batch: Batch, key: Key | None
    ) -> tuple[Array, tuple[State, Metrics]]:
        _check_params(params, precision.params)
        loss, (state, metrics) = loss_fn(cast(params, precision.compute), state, _cast_inputs(batch, precision), key)
        return cast(loss, precision.output), (state, cast(metrics, precision.output))

    return cast_loss_fn


def _cast_inputs(batch: Batch, precision: Precision) -> Batch:
    if not isinstance(batch, tuple) or not batch:
        return cast(batch, precision.compute)
    x, *rest = batch
    parts = (cast(x, precision.compute), *rest)
    return type(batch)(*parts) if hasattr(batch, "_fields") else parts


def _check_dtype(name: str, dtype: Any) -> None:
    if name == "compute" and jnp.dtype(dtype) == jnp.float16:
        remedy = 'Its gradients underflow below 6e-8 unless the loss is scaled; "bfloat16" reaches as far as float32.'
        raise ValueError(message("precision.compute", "float16", "bfloat16, float32 or float64", remedy))
    known = [jnp.bfloat16] if name == "compute" else []
    if jnp.dtype(dtype) not in map(jnp.dtype, [*known, jnp.float32, jnp.float64]):
        expected = "bfloat16, float32 or float64" if known else "float32 or float64"
        raise ValueError(
            message(f"precision.{name}", jnp.dtype(dtype), expected, "Sums and small steps get lost in less.")
        )


def _check_params(params: Params, dtype: DType) -> None:
    for name, leaf in named_leaves(params).items():
        if jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.dtype != jnp.dtype(dtype):
            remedy = f"Initialize with an x of {jnp.dtype(dtype)}: parameters take its dtype."
            got, expected = f"dtype {leaf.dtype}", f"{jnp.dtype(dtype)}, as precision.params is"
            raise TypeError(message(f"params leaf '{name}'", got, expected, remedy))
