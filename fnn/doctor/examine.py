"""Runs the self-checks on every device, and compares."""

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from fnn import errors
from fnn.doctor import arrays, convolutions, functions, populations
from fnn.doctor.case import Case, Check
from fnn.doctor.diagnosis import Diagnosis, Finding
from fnn.doctor.facts import facts
from fnn.tree import named_leaves

CHECKS: tuple[Check, ...] = (*functions.CHECKS, *populations.CHECKS, *arrays.CHECKS, *convolutions.CHECKS)
"""All self-checks, in the order in which they run."""

Compiler: TypeAlias = Callable[..., Callable[..., Any]]
"""(function, donate_argnums=...) to the compiled function, as `jax.jit`."""


def examine(checks: Iterable[Check] = CHECKS, *, compiler: Compiler = jax.jit) -> Diagnosis:
    """Tells what this machine computes with, and whether it computes right.

    Each program of each check is compiled and run on the first device, and on all of them at once where there are
    several; some are also run operation by operation. What comes out must be what NumPy gives. Matrix products
    are asked for in full precision, so that TF32 is no error. All checks take about 15 seconds on two cores.

    Args:
        checks: which to run; none tells the facts alone.
        compiler: how a function is compiled.

    Raises:
        TypeError: `checks` are not checks, or `compiler` cannot be called.

    Example:
        >>> diagnosis = examine(check for check in CHECKS if check.name == "donation")
        >>> diagnosis.findings[0].name, diagnosis.findings[0].differences
        ('donation', ())
        >>> print(diagnosis.findings[0].statement)
        A program that may overwrite its argument gives the same numbers.
    """
    checks = tuple(checks)
    for given in checks:
        if not isinstance(given, Check):
            remedy = "Such as fnn.doctor.CHECKS."
            raise TypeError(errors.message("checks", f"a {type(given).__name__}", "self-checks", remedy))
    errors.check_callable("compiler", compiler, "a function such as jax.jit")
    known = facts()
    devices = [] if known.backend_error else jax.local_devices()
    return Diagnosis(known, tuple(_finding(check, devices, compiler) for check in checks) if devices else ())


def _finding(check: Check, devices: Sequence[Any], compiler: Compiler) -> Finding:
    begun, cases, wrong = time.perf_counter(), 0, []
    with jax.default_matmul_precision("highest"), jax.default_device(devices[0]):
        for case in check.cases():
            cases += 1
            try:
                wrong += differences(case, devices, compiler)
            except Exception as error:  # whatever a backend raises is a finding
                wrong.append(f"{case.name}: {type(error).__name__}: {error}".splitlines()[0][:200])
    return Finding(check.name, check.statement, cases, tuple(wrong), time.perf_counter() - begun)


def differences(case: Case, devices: Sequence[Any], compiler: Compiler = jax.jit) -> list[str]:
    """What comes out wrong of one case, as text with the numbers; nothing where all is right.

    Example:
        >>> case = Case("3 numbers", jnp.sum, (np.ones(3, np.float32),), np.float32(3))
        >>> differences(case, jax.local_devices())
        []
        >>> differences(case._replace(expected=np.float32(4)), jax.local_devices()[:1])
        ['3 numbers, compiled: 3 in place of 4']
    """
    donated = (0,) if case.donate else ()
    wrong = _compare(case, "compiled", compiler(case.function, donate_argnums=donated)(*_placed(case)))
    if case.eager:
        wrong += _compare(case, "eager", case.function(*_placed(case)))
    return wrong if len(devices) < 2 or case.donate else wrong + _on_each(case, devices, compiler)


def _on_each(case: Case, devices: Sequence[Any], compiler: Compiler) -> list[str]:
    """As `differences`, of one program that all devices run at once."""
    mesh, same, each = Mesh(np.array(devices), ("device",)), PartitionSpec(), PartitionSpec("device")
    whole = partial(_with_axis, case.function)
    results = compiler(jax.shard_map(whole, mesh=mesh, in_specs=same, out_specs=each, check_vma=False))(*case.arguments)
    results = jax.device_get(results)
    found = [_compare(case, "on {}", jax.tree.map(lambda a, i=i: a[i], results)) for i in range(len(devices))]
    texts = []
    for text in dict.fromkeys(text for texts in found for text in texts):
        where = [str(device) for device, texts in zip(devices, found, strict=True) if text in texts]
        texts.append(text.replace("{}", ", ".join(where) if len(where) < len(devices) else "each device"))
    return texts


def _placed(case: Case) -> Any:
    return jax.tree.map(jnp.asarray, case.arguments)


def _with_axis(function: Callable[..., Any], *args: Any) -> Any:
    return jax.tree.map(lambda a: jnp.asarray(a)[None], function(*args))


def _compare(case: Case, way: str, got: Any) -> list[str]:
    leaves, wanted = named_leaves(got), named_leaves(case.expected)
    if leaves.keys() != wanted.keys():
        return [f"{case.name}, {way}: {', '.join(leaves)} in place of {', '.join(wanted)}"]
    named = ((name, _first_wrong(case, np.asarray(leaves[name]), np.asarray(wanted[name]))) for name in wanted)
    return [f"{', '.join(filter(None, (case.name, name, way)))}: {text}" for name, text in named if text]


def _first_wrong(case: Case, got: Any, wanted: Any) -> str:
    if got.shape != wanted.shape:
        return f"shape {got.shape} in place of {wanted.shape}"
    got, wanted = got.astype(float), wanted.astype(float)
    with np.errstate(invalid="ignore"):
        near = np.abs(got - wanted) <= case.tolerance * np.maximum(np.abs(wanted), case.floor)
    right = (near & np.isfinite(wanted)) | (got == wanted) | (np.isnan(got) & np.isnan(wanted))
    if right.all():
        return ""
    index = tuple(int(i) for i in np.argwhere(~right)[-1])
    place = f" at {index[0] if len(index) == 1 else index}" if index else ""
    several = f" ({int((~right).sum()):,} of {right.size:,} numbers)" if right.size > 1 else ""
    return f"{got[index]:.10g} in place of {wanted[index]:.10g}{place}{several}"
