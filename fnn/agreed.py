"""What all processes of a job must give alike: compared before it goes wrong without a word, or never ends."""

import hashlib
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from fnn.errors import message


def check_agreed(argument: str, value: Any, remedy: str = "") -> None:
    """Refuses, in all processes at once, what is not the same in each; every one of them must call it.

    Args:
        argument: what it is.
        value: of which `repr` shows all that counts.
        remedy: what to do.

    Raises:
        ValueError: names the processes in which it is not what it is in the first.

    Example:
        >>> check_agreed("step", jax.process_index())
    """
    if jax.process_count() == 1:
        return
    digest = np.frombuffer(hashlib.sha256(repr((argument, value)).encode()).digest()[:8], np.uint32)
    everywhere = np.asarray(multihost_utils.process_allgather(digest))
    others = np.flatnonzero((everywhere != everywhere[0]).any(axis=1)).tolist()
    if others:
        got = f"in process {', '.join(map(str, others))} another than in process 0"
        raise ValueError(message(argument, got, "the same in all processes", remedy))
