"""Equal programs have equal checksums, in any process; whatever changes a result changes the checksum."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn.train.program import program_sum

ROOT = Path(__file__).parents[2]
X = jnp.ones((3, 4))


def of(function: Callable[..., Any], *args: Any) -> str:
    return program_sum(jax.make_jaxpr(function)(*(args or (X,))))


def scanned(x: Any, times: Any = 2.0) -> Any:
    return jax.lax.scan(lambda c, row: (c + times * row, jnp.tanh(c)), jnp.zeros(4), x)


def chosen(x: Any, shift: Any = 1.0) -> Any:
    return jax.lax.cond(x.sum() > 0, lambda a: jnp.where(a > 0, a, shift), lambda a: a, x)


@jax.custom_vjp
def clipped(x: Any) -> Any:
    return jnp.clip(x, 0, 1)


clipped.defvjp(lambda x: (clipped(x), None), lambda _, g: (g,))
TABLE, OTHER = np.arange(4.0), np.arange(4.0) + np.array([0, 0, 0, 1e-6])
KEY = jax.random.key(3)


def everything(x: Any) -> Any:
    """Every kind of thing that a program holds."""
    known = jax.pure_callback(lambda a: a, jax.ShapeDtypeStruct((3, 4), jnp.float32), x)
    noise = jax.random.normal(KEY, (3, 4))
    return scanned(jax.jit(chosen)(clipped(x)) + known), jax.nn.relu(x) @ jnp.asarray(TABLE, x.dtype), noise, chosen(x)


CHANGES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "a number": (lambda x: 0.1 * x, lambda x: 0.10000001 * x),
    "a number in a loop": (scanned, lambda x: scanned(x, 2.5)),
    "a number in a branch": (chosen, lambda x: chosen(x, 1.5)),
    "a closed-over array": (lambda x: x * TABLE, lambda x: x * OTHER),
    "a closed-over array in a jit": (
        lambda x: jax.jit(lambda a: a * TABLE)(x),
        lambda x: jax.jit(lambda a: a * OTHER)(x),
    ),
    "a closed-over key": (
        lambda x: x + jax.random.normal(KEY, (4,)),
        lambda x: x + jax.random.normal(jax.random.key(4), (4,)),
    ),
    "an operation": (jnp.sin, jnp.cos),
    "an operand": (lambda x: (x + 1) - x, lambda x: (x + 1) - (x + 1)),
    "a result": (lambda x: (x, x + 1), lambda x: (x + 1, x)),
    "an option": (lambda x: x.sum(0), lambda x: x.sum(1)[:1] + jnp.zeros(4)),
    "a precision": (lambda x: x @ x.T, lambda x: jnp.matmul(x, x.T, precision="highest")),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_changes_the_result_changes_it(what: str) -> None:
    one, other = CHANGES[what]
    assert of(one) == of(one)
    assert of(one) != of(other)


def test_shapes_and_dtypes_count() -> None:
    assert len({of(jnp.sin, x) for x in (X, X[:2], X.astype(jnp.bfloat16))}) == 3


def test_names_and_earlier_traces_do_not_count() -> None:
    def renamed(x: Any) -> Any:
        return jnp.sin(x)

    assert of(jax.jit(renamed)) == of(jax.jit(lambda x: jnp.sin(x)))
    before = of(everything)
    jax.clear_caches()
    assert of(everything) == before


def test_it_is_the_same_in_every_process() -> None:
    """Neither addresses nor the order of a set are in it."""
    program = "from tests.train.test_program import everything, of; print(of(everything))"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.split()[-1:] == [of(everything)], done.stderr
