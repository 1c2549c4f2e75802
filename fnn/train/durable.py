"""A fit that outlives its process: saved now and then, gone on with where it was, down to the last bit."""

import contextlib
import hashlib
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from fnn.checkpoint import CorruptCheckpoint, Saver, about, latest, restore, steps
from fnn.data import Dataset
from fnn.errors import message
from fnn.train.chunk import Carry


class Unsaved(Saver):
    """Saves nothing: the fit that was given no folder.

    Example:
        >>> Unsaved().offer(3, {})
    """

    def __init__(self, *, every: float = 30.0, keep: int | None = 3) -> None:
        super().__init__("", every=every, keep=keep)

    def offer(self, step: int, tree: Any, *, copy: bool = True) -> None:
        """Does nothing."""

    def save(self, step: int, tree: Any) -> None:
        """Does nothing."""


def saver_for(checkpoint: str | Path | None, every: float, keep: int | None, settings: Mapping[str, Any]) -> Saver:
    """What `fit(checkpoint=...)` asks for.

    Example:
        >>> type(saver_for(None, 30.0, 3, {})).__name__
        'Unsaved'
    """
    saver = Unsaved(every=every, keep=keep)
    if checkpoint is None:
        return saver
    if not isinstance(checkpoint, str | Path):
        got = f"a {type(checkpoint).__name__}"
        raise TypeError(message("checkpoint", got, "the path of a folder", "Such as 'runs/mine/checkpoints'."))
    return Saver(checkpoint, every=every, keep=keep, about=settings)


def resumed(saver: Saver, carry: Carry) -> Carry:
    """Where the fit stands: the newest checkpoint of its folder, or the carry given where there is none.

    Raises:
        ValueError: the folder holds a fit with other settings or data, or of another network or optimizer.
        CorruptCheckpoint: the newest one is not what was saved.

    Example:
        >>> state = fnn.train.TrainState(jnp.array(0), {}, {}, (), jax.random.key(0))
        >>> carry = fnn.train.chunk.first_carry(state, 2, [], [])
        >>> resumed(Unsaved(), carry) is carry
        True
    """
    if isinstance(saver, Unsaved) or latest(saver.directory) is None:
        return carry
    there, here = about(saver.directory), saver.about or {}
    odd = [f"{name} {there.get(name)}, here {here[name]}" for name in here if there.get(name) != here[name]]
    if odd:
        got = f"{saver.directory}, which holds a fit with {'; '.join(odd)}"
        remedy = "Give each fit a folder of its own, or delete this one to begin anew."
        raise ValueError(message("checkpoint", got, "a fit with the same settings and data", remedy))
    try:
        return restore(saver.directory, carry)
    except CorruptCheckpoint:
        raise
    except ValueError as error:
        got = f"{saver.directory}, which holds another fit ({error})"
        raise ValueError(message("checkpoint", got, "a fit of the same network and optimizer")) from error


def fingerprint(data: Dataset | None) -> str | None:
    """A checksum of examples, so that a run does not go on with others.

    Example:
        >>> len(fingerprint(Dataset(np.ones(3), np.ones(3))) or "")
        64
    """
    if data is None:
        return None
    digest = hashlib.sha256()
    for array in map(np.asarray, data):
        digest.update(f"{array.shape} {array.dtype}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


@contextlib.contextmanager
def stopped_by_signals(saver: Saver) -> Iterator[None]:
    """SIGTERM ends the fit as Ctrl-C does, so that it is saved; in the main thread, which alone hears of signals.

    Example:
        >>> with stopped_by_signals(Unsaved()):
        ...     pass
    """
    if isinstance(saver, Unsaved) or threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: Any) -> None:
        del number, frame
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        # None stands for a handler that is not Python's, which cannot be put back.
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)


def interrupted_at(saver: Saver, carry: Carry, total: int) -> str:
    """What an interrupted fit says.

    Example:
        >>> state = fnn.train.TrainState(jnp.array(3), {}, {}, (), jax.random.key(0))
        >>> interrupted_at(Unsaved(), fnn.train.chunk.first_carry(state, 2, [], []), 10)
        'training: interrupted after 3 of 10 steps; error.result holds what there was.'
    """
    where = f"training: interrupted after {int(carry.state.step)} of {total} steps"
    if isinstance(saver, Unsaved):
        return f"{where}; error.result holds what there was."
    if int(carry.state.step) not in steps(saver.directory):
        last = latest(saver.directory)
        there = "nothing is" if last is None else f"that of step {last} is"
        return f"{where}, and not saved: {there} in {saver.directory}; error.result holds what there was."
    return f"{where}, and saved in {saver.directory}: the same call goes on from there."


def key_numbers(key: jax.Array) -> list[int]:
    """A typed key as numbers that JSON can hold.

    Example:
        >>> key_numbers(jax.random.key(7))
        [0, 7]
    """
    return np.asarray(jax.random.key_data(key)).ravel().tolist()
