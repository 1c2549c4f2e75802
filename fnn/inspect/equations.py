"""What the parts of this package share: how to read and run the equations of a jaxpr."""

import re
from collections.abc import Sequence
from typing import Any

# Operations that only call a program of their own, by the parameter that holds it.
CALLS = {
    **dict.fromkeys(["jit", "pjit", "checkpoint", "remat", "remat2"], "jaxpr"),
    **dict.fromkeys(["closed_call", "core_call"], "call_jaxpr"),
}
# What JAX adds to the names of scopes.
_NOT_LAYERS = {"", "rematted_computation", "checkpoint"}


def evaluated(eqn: Any, arrays: Sequence[Any]) -> Sequence[Any]:
    """The results of one equation, as `jax.core.eval_jaxpr` takes it.

    Example:
        >>> (eqn,) = jax.make_jaxpr(jnp.sin)(0.0).eqns
        >>> evaluated(eqn, [jnp.array(0.0)])
        [Array(0., dtype=float32, weak_type=True)]
    """
    bound: Any = eqn.primitive.get_bind_params(eqn.params)
    functions, bound = bound if isinstance(bound, tuple) else ((), bound)
    with eqn.ctx.manager:
        results = eqn.primitive.bind(*functions, *arrays, **bound)
    return results if eqn.primitive.multiple_results else [results]


def parts(closed: Any) -> tuple[Any, Sequence[Any]]:
    """A jaxpr and its constants.

    Example:
        >>> parts(jax.make_jaxpr(jnp.sin)(0.0))[1]
        []
    """
    return (closed.jaxpr, closed.consts) if hasattr(closed, "consts") else (closed, ())


def called(eqn: Any) -> Any:
    """The program that an equation only calls, or None.

    Example:
        >>> (eqn,) = jax.make_jaxpr(jax.jit(jnp.sin))(0.0).eqns
        >>> [inner.primitive.name for inner in parts(called(eqn))[0].eqns]
        ['sin']
    """
    return eqn.params.get(CALLS.get(eqn.primitive.name, ""))


def within(scope: str, eqn: Any) -> str:
    """The names of the scopes around an equation of a program that is called in this scope.

    Example:
        >>> (eqn,) = jax.make_jaxpr(jax.named_scope("dense_0")(jnp.sin))(0.0).eqns
        >>> within("residual_0", eqn)
        'residual_0/dense_0'
    """
    return "/".join(filter(None, (scope, str(eqn.source_info.name_stack))))


def layers_of(scope: str) -> list[str]:
    """The names of the layers in a scope, from the outermost one.

    Example:
        >>> layers_of("transpose(jvp(residual_0))/checkpoint/dense_0")
        ['residual_0', 'dense_0']
    """
    return [name for name in re.sub(r"\w+\(|\)", "", scope).split("/") if name not in _NOT_LAYERS]
