"""Operations counted from equations against formulas."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest

from fnn.inspect.flops import flops_of

A, B = jnp.ones((4, 5)), jnp.ones((5, 6))
IMAGE, KERNEL = jnp.ones((2, 8, 8, 4)), jnp.ones((3, 3, 4, 6))
GROUPED = jnp.ones((3, 3, 2, 6))


def convolved(x: Any, kernel: Any, **options: Any) -> Any:
    return jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), **options
    )


CASES: dict[str, tuple[Any, tuple[Any, ...], int]] = {
    "product": (jnp.dot, (A, B), 2 * 4 * 5 * 6),
    "batched": (jnp.matmul, (jnp.ones((3, 4, 5)), jnp.ones((3, 5, 6))), 3 * 2 * 4 * 5 * 6),
    "convolution": (convolved, (IMAGE, KERNEL), 2 * (2 * 8 * 8 * 6) * (3 * 3 * 4)),
    "in groups": (lambda x, k: convolved(x, k, feature_group_count=2), (IMAGE, GROUPED), 2 * (2 * 64 * 6) * (9 * 2)),
    "elementwise": (lambda a: jnp.exp(a) + 1, (A,), 2 * 20),
    "a sum": (lambda a: jax.lax.reduce_sum_p.bind(a, axes=(0, 1), out_sharding=None), (A,), 20),
    "moving": (lambda a: a.T.reshape(-1)[::2], (A,), 0),
    "random bits and counters": (
        lambda a: jax.random.bits(jax.random.key(0), (100,))[jnp.cumsum(a.astype(int))],
        (A,),
        0,
    ),
    "in jit": (jax.jit(lambda a, b: a @ b), (A, B), 240),
    "in a scan": (lambda a: jax.lax.scan(lambda c, _: (jnp.sin(c), None), a, None, length=7)[0], (A,), 7 * 20),
    "of a choice the dearest": (
        lambda a: jax.lax.cond(a[0, 0] > 0, jnp.sin, lambda a: jnp.sin(jnp.cos(a)), a),
        (A,),
        2 * 20,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_counted(name: str) -> None:
    function, inputs, expected = CASES[name]
    counted = flops_of(jax.make_jaxpr(function)(*inputs).jaxpr).total()
    # A comparison is no arithmetic; the scalars of a choice's condition may be.
    assert expected <= counted <= expected + 2


def test_by_scope() -> None:
    def two(a: Any) -> Any:
        with jax.named_scope("first"):
            a = jnp.sin(a)
        with jax.named_scope("second"):
            return jnp.cos(jnp.sin(a))

    assert flops_of(jax.make_jaxpr(two)(A).jaxpr) == {"first": 20, "second": 40}
