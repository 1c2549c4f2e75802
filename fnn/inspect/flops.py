"""How much a program computes, counted from its equations."""

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from fnn.inspect.equations import called, parts, within

# One operation a number of the result; sums and extremes one a number that they read.
_ELEMENTWISE = """
abs acos acosh add asin asinh atan atan2 atanh cbrt ceil clamp cos cosh div erf erf_inv erfc exp exp2 expm1 floor
integer_pow log log1p logistic max min mul neg pow rem round rsqrt select_n sign sin sinh sqrt square sub tan tanh
""".split()  # noqa: SIM905
_READING = """
argmax argmin cumlogsumexp cummax cummin cumprod cumsum reduce_max reduce_min reduce_prod reduce_sum
""".split()  # noqa: SIM905


def flops_of(jaxpr: Any, scope: str = "", times: int = 1) -> Counter[str]:
    """Floating-point operations by the scope of the equations that do them; a multiply-add is two.

    Products and convolutions count as on paper, 2 m k n, whatever algorithm the compiler takes; moving numbers
    counts nothing; a loop counts each of its turns if it says how many, and of a choice the dearest branch.

    Example:
        >>> program = jax.make_jaxpr(lambda x, w: jnp.maximum(x @ w, 0))(jnp.ones((2, 3)), jnp.ones((3, 4)))
        >>> flops_of(program.jaxpr)
        Counter({'': 56})
    """
    found: Counter[str] = Counter()
    for eqn in jaxpr.eqns:
        here, inner = within(scope, eqn), _inside(eqn)
        if eqn.primitive.name == "cond":
            branches = [flops_of(parts(branch)[0], here, times) for branch in eqn.params["branches"]]
            found += max(branches, key=lambda counted: counted.total())
        elif inner is not None:
            found += flops_of(parts(inner)[0], here, times * eqn.params.get("length", 1))
        else:
            found[here] += times * _of_one(eqn)
    return found


def _inside(eqn: Any) -> Any:
    """The program that an equation calls or repeats, or None."""
    names = {"scan": "jaxpr", "while": "body_jaxpr", "custom_jvp_call": "call_jaxpr", "custom_vjp_call": "call_jaxpr"}
    return called(eqn) or eqn.params.get(names.get(eqn.primitive.name, ""))


def _of_one(eqn: Any) -> int:
    name = eqn.primitive.name
    if name in _PRODUCTS:
        return _PRODUCTS[name](eqn)
    if name in _ELEMENTWISE:
        return _numbers(eqn.outvars[0])
    if name.startswith("reduce_window"):
        return math.prod(eqn.outvars[0].aval.shape) * math.prod(eqn.params["window_dimensions"])
    return _numbers(eqn.invars[0]) if name in _READING else 0


def _numbers(array: Any) -> int:
    """How many it holds; no counters or random bits."""
    return math.prod(array.aval.shape) if jnp.issubdtype(array.aval.dtype, jnp.inexact) else 0


def _of_product(eqn: Any) -> int:
    (contracted, _), _ = eqn.params["dimension_numbers"]
    left = eqn.invars[0].aval.shape
    return 2 * math.prod(eqn.outvars[0].aval.shape) * math.prod(left[axis] for axis in contracted)


def _of_convolution(eqn: Any) -> int:
    kernel = eqn.invars[1].aval.shape
    out_features = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
    return 2 * math.prod(eqn.outvars[0].aval.shape) * math.prod(kernel) // out_features


_PRODUCTS: dict[str, Callable[[Any], int]] = {"dot_general": _of_product, "conv_general_dilated": _of_convolution}
