"""A batch taken apart, and the mean over its examples."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from fnn.errors import check_array, check_shape, check_values, kind, message
from fnn.typing import Array, Batch


def batch_parts(batch: Batch) -> tuple[Array, Array, Array | None]:
    """Refuses what is not a batch of examples, and returns x, y and, of a weighted one, weight.

    Example:
        >>> batch_parts((jnp.ones((2, 3)), jnp.ones(2)))[2] is None
        True
    """
    if not isinstance(batch, tuple) or len(batch) not in (2, 3):
        raise TypeError(message("batch", kind(batch), "a Dataset (x, y)", "Make one: fnn.data.Dataset(x, y)."))
    for name, array in zip(("x", "y", "weight"), batch, strict=False):
        check_array(f"batch.{name}", array)
    sizes = {np.shape(array)[:1] for array in batch}
    if len(sizes) != 1 or sizes & {(), (0,)}:
        got = f"shapes {', '.join(str(np.shape(array)) for array in batch)}"
        raise ValueError(message("batch", got, "as many targets as examples, at least one"))
    x, y, weight = batch[0], batch[1], batch[2] if len(batch) == 3 else None
    if weight is not None:
        check_shape("batch.weight", weight, (len(x),), "One weight an example.")
        check_values("batch.weight", weight, lambda known: (known >= 0) & np.isfinite(known), "finite numbers >= 0")
    return x, y, weight


def weighted_mean(name: str, values: Any, weight: Array | None, examples: int) -> Array:
    """The mean of one value per example, in float32 or wider; of anything else it is an error.

    Example:
        >>> weighted_mean("loss", jnp.array([1.0, 3.0, 9.0]), jnp.array([1.0, 1.0, 0.0]), 3)
        Array(2., dtype=float32)
    """
    check_array(name, values)
    if np.shape(values) != (examples,):
        remedy = "Return one value per example; the mean is taken here. Whole-set measures go into make_eval."
        raise ValueError(message(f"result of {name}", f"shape {np.shape(values)}", f"shape ({examples},)", remedy))
    values = values.astype(jnp.promote_types(values.dtype, jnp.float32))
    if weight is None:
        return jnp.mean(values)
    # A micro-batch of fillers alone has weight 0, and mean 0.
    return jnp.sum(weight * values) / jnp.maximum(jnp.sum(weight), jnp.finfo(values.dtype).tiny)
