"""The matrix products of a perceptron's training step alone: what the cores can do at most."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

KINDS = 8  # batches, which come again and again


def matrix_products(widths: Sequence[int], batch: int, steps: int, dtype: Any = jnp.float32) -> Callable[[], float]:
    """A turn of so many steps, each of another batch; columns are examples, the fastest layout seen on a CPU."""
    draw = np.random.default_rng(0)
    fixed = [jnp.asarray(draw.normal(0, a**-0.5, (a, b)), dtype) for a, b in itertools.pairwise(widths)]
    data = jnp.asarray(draw.random((KINDS, batch, widths[0]), np.float32), dtype)

    @jax.jit
    def program(fixed: list[jax.Array], data: jax.Array, number: jax.Array) -> list[jax.Array]:
        turned = [w.T for w in fixed]

        def one(_: Any, number: jax.Array) -> tuple[list[jax.Array], None]:
            seen = [data[number % KINDS].T]
            for w in turned:
                seen.append(w @ seen[-1])
            delta, grads = seen.pop(), []
            for w, x in zip(reversed(fixed), reversed(seen), strict=True):
                grads.append(delta @ x.T)
                delta = w @ delta  # the last one is used by nobody, and so not computed
            return grads, None

        return jax.lax.scan(one, [jnp.zeros_like(w) for w in reversed(turned)], number)[0]

    numbers = jnp.arange(steps)

    def turn() -> float:
        jax.block_until_ready(program(fixed, data, numbers))
        return 0.0

    return turn
