"""What several processes do for one checkpoint: the first one makes, seals and renames, the others wait for it."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

_NAME = ".partial-together-"


def several() -> bool:
    """Whether this process is one of several.

    Example:
        >>> several()
        False
    """
    return jax.process_count() > 1


@contextlib.contextmanager
def by_the_first() -> Iterator[bool]:
    """Whether this process is the first; all leave together, and raise if the first one failed.

    Example:
        >>> with by_the_first() as first:
        ...     first
        True
    """
    failed: Exception | None = None
    try:
        yield jax.process_index() == 0
    except Exception as error:
        failed = error
    if several() and not multihost_utils.broadcast_one_to_all(np.array(failed is None)):
        failed = failed or OSError("the first process could not write to it")
    if failed is not None:
        raise failed


def beside(directory: Path, step: int) -> Path:
    """Where all of them write what is not a checkpoint yet.

    Example:
        >>> beside(Path("runs"), 7).name
        '.partial-together-7'
    """
    return directory / f"{_NAME}{step}"


def clear(directory: Path) -> None:
    """Removes what a save has left in which one of them was killed: none of this job is writing now.

    Example:
        >>> clear(Path("no/such/folder"))
    """
    for left in directory.glob(f"{_NAME}*"):
        shutil.rmtree(left, ignore_errors=True)


def placed(array: Any, like: Any) -> Any:
    """A whole array, or a typed key, on the devices of another one; every process gives the same.

    Example:
        >>> placed(jnp.ones(2), jnp.zeros(2))
        Array([1., 1.], dtype=float32)
    """
    sharding = getattr(like, "sharding", None)
    if sharding is None or sharding.is_fully_addressable:
        return array if sharding is None else jax.device_put(array, sharding)
    return jax.jit(lambda a: a, out_shardings=sharding)(array)
