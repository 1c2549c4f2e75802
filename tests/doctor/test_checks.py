"""Every self-check is right on this machine, and finds each number that is wrong."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fnn import jaxlibs
from fnn.doctor import CHECKS, Case, Check
from fnn.doctor.examine import differences
from fnn.doctor.functions import threefry

BY_NAME = {check.name: check for check in CHECKS}
FIRST = jax.local_devices()[:1]
# What these releases compute wrongly on a CPU, jax issue 39103 and the like.
KNOWN_WRONG = {
    "0.10.1": {"matvec_reduced_at_once"},
    "0.10.2": {"matvec_then_reduce", "matvec_reduced_at_once"},
}.get(jaxlibs.installed(), set())


def _found(check: Check, compiler: Callable[..., Any] = jax.jit) -> list[str]:
    with jax.default_matmul_precision("highest"):
        return [text for case in check.cases() for text in differences(case, FIRST, compiler)]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_this_machine_computes_right(check: Check) -> None:
    found = _found(check)
    assert bool(found) == (check.name in KNOWN_WRONG), found


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_names_and_statements(check: Check) -> None:
    assert check.statement.endswith(".")
    names = [case.name for case in check.cases()]
    assert names
    assert len(set(names)) == len(names)


def _with_one_wrong(tree: Any, which: int) -> Any:
    leaves, structure = jax.tree.flatten(tree)
    wrong = np.array(leaves[which], order="C")
    flat = wrong.reshape(-1)
    if wrong.dtype == bool:
        flat[-1] = not flat[-1]
    else:
        flat[-1] = flat[-1] + max(1, abs(flat[-1]) // 20) if np.isfinite(flat[-1]) else 0
    return structure.unflatten([*leaves[:which], wrong, *leaves[which + 1 :]])


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_one_wrong_number_anywhere_is_found(check: Check) -> None:
    for case in check.cases():
        for i in range(len(jax.tree.leaves(case.expected))):
            wrong = _with_one_wrong(case.expected, i)
            found = differences(case._replace(eager=False), FIRST, lambda *_, wrong=wrong, **__: lambda *_: wrong)
            assert len(found) == 1
            assert found[0].startswith(case.name)


def _beyond(limit: int) -> Callable[..., Any]:
    """A compiler with the fault of jaxlib 0.10.2: results beyond so many rows are those of other rows."""

    def compiler(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        def one(a: jax.Array) -> jax.Array:
            return a if a.ndim == 0 else jnp.where(jnp.arange(len(a)) < limit, a, jnp.roll(a, 128))

        return lambda *args: jax.tree.map(one, jax.jit(function, **options)(*args))

    return compiler


def test_the_fault_of_0_10_2_is_found() -> None:
    case = next(iter(BY_NAME["matvec_then_reduce"].cases()))
    [found] = differences(case._replace(eager=False), FIRST, _beyond(32768))
    assert found.endswith("compiled: 1065369600 in place of 1073741824 at 32768 (1 of 32,769 numbers)")
    assert len(_found(BY_NAME["matvec_reduced_at_once"], _beyond(32768))) >= 4


WRONG: list[tuple[str, Any, str, Callable[..., Any]]] = [
    ("matvec_then_reduce", jnp, "sum", lambda x: x[..., -1]),
    ("gradients_of_a_population", jax.nn, "relu", lambda x: jnp.maximum(x, 0) * 2),
    ("products_in_a_scan", jnp, "clip", lambda x, low, high: jnp.minimum(x, high)),
    ("nan_and_infinity", jnp, "isnan", lambda x: x != x + 1),
    ("casts", jax.lax, "optimization_barrier", lambda halves: jax.tree.map(lambda a: a * 2, halves)),
    ("elementary_functions", jnp, "tanh", lambda x: x / (1 + jnp.abs(x))),
    ("softmax", jax.nn, "softmax", lambda x: jnp.exp(x) / jnp.exp(x).sum(axis=-1, keepdims=True)),
    ("random_numbers", jax.random, "uniform", lambda key, shape, dtype: jax.random.normal(key, shape, dtype)),
    ("matrix_products", jax.lax, "dot_general", lambda a, b, *_, **__: a[:1] * b),
    ("sorting", jnp, "argsort", lambda x: jnp.argsort(x, stable=True, descending=True)[..., ::-1]),
    ("updates_in_loops", jax.lax, "dynamic_update_slice", lambda y, row, place: y),
    ("gathers_and_scatters", jax.ops, "segment_sum", lambda x, labels, n: jnp.zeros((n, x.shape[1])).at[labels].set(x)),
    ("reductions", jnp, "argmax", lambda x, axis: x.shape[axis] - 1 - jnp.flip(x, axis).argmax(axis)),
    ("convolutions", jax.lax, "conv_general_dilated", lambda x, w, *_, **__: 0 * x),
]


@pytest.mark.parametrize(("name", "module", "function", "wrong"), WRONG, ids=[row[0] for row in WRONG])
def test_a_wrong_function_is_found(
    name: str, module: Any, function: str, wrong: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [case._replace(eager=False) for case in BY_NAME[name].cases()]
    monkeypatch.setattr(module, function, wrong)
    jax.clear_caches()
    found = []
    for case in cases[:3]:
        try:
            found += differences(case, FIRST)
        except (TypeError, ValueError) as error:
            found.append(str(error))
    jax.clear_caches()
    assert found


def test_a_program_that_spoils_a_donated_argument_is_found() -> None:
    def compiler(function: Callable[..., Any], donate_argnums: tuple[int, ...]) -> Callable[..., Any]:
        assert donate_argnums == (0,)
        return lambda x: 2 * x[::-1] + (2 * x[::-1])  # as if x were overwritten before it is read again

    assert _found(BY_NAME["donation"], compiler)


def test_every_check_has_a_wrong_function() -> None:
    assert {row[0] for row in WRONG} | {"matvec_reduced_at_once", "donation"} == set(BY_NAME)


def test_threefry_is_that_of_random123() -> None:
    # kat_vectors of Random123: threefry2x32 with 20 rounds.
    pi = np.array([0x13198A2E, 0x03707344, 0x243F6A88, 0x85A308D3], np.uint32)
    ones = np.full(4, 0xFFFFFFFF, np.uint32)
    for (*words, high, low), known in [
        (ones, (0x1CB996FC, 0xBB002BE7)),
        (pi, (0xC4923A9C, 0x483DF7A0)),
    ]:
        a, b = threefry(np.array(words), np.array([high]), np.array([low]))
        assert (int(a[0]), int(b[0])) == known


def test_shapes_and_names_are_compared() -> None:
    case = Case("3 numbers", lambda x: {"y": x}, (np.ones(3, np.float32),), {"y": np.ones((3, 1))})
    assert differences(case, FIRST) == ["3 numbers, y, compiled: shape (3,) in place of (3, 1)"]
    assert differences(case._replace(expected={"z": np.ones(3)}), FIRST) == ["3 numbers, compiled: y in place of z"]


def test_every_device_is_asked() -> None:
    devices = jax.local_devices()
    case = Case("a number", lambda x: x + 0, (np.float32(1),), np.float32(1))
    assert not differences(case, devices)

    def compiler(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
        def run(*args: Any) -> Any:
            result = jax.jit(function, **options)(*args)
            return result.at[2].add(1) if jnp.ndim(result) else result

        return run

    assert differences(case, devices, compiler) == [f"a number, on {devices[2]}: 2 in place of 1"]
