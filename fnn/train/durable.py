"""A fit, or a sweep, that outlives its process: saved now and then, gone on with where it was, down to the last bit."""

import contextlib
import hashlib
import signal
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import jax
import numpy as np

from fnn.checkpoint import CorruptCheckpoint, Saver, about, latest, restore, steps
from fnn.checkpoint.alone import alone
from fnn.checkpoint.together import several
from fnn.errors import message
from fnn.signals import handled
from fnn.train.chunk import Carry
from fnn.train.program import program_sum

T = TypeVar("T")
# Among the settings of a checkpoint those that may change when it is gone on with: a warning says so.
_HOW = "how"


class Unsaved(Saver):
    """Saves nothing: for who was given no folder.

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
    """What `checkpoint=...` asks for.

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
    step = last_saved(saver, "fit", "settings and data")
    return carry if step is None else read_back(saver, step, carry, "fit", "network and optimizer")


def last_saved(saver: Saver, kind: str, same: str) -> int | None:
    """The step of the newest checkpoint, if there is one.

    Args:
        saver: of the folder.
        kind: what is saved there, such as "fit".
        same: what its settings are called, where they are others.

    Raises:
        ValueError: it was saved with other settings; each one is named.
        CorruptCheckpoint: it is not what was saved.

    Example:
        >>> last_saved(Unsaved(), "fit", "settings") is None
        True
    """
    step = None if isinstance(saver, Unsaved) else latest(saver.directory)
    if step is None:
        return None
    there, here = about(saver.directory, step=step), saver.about or {}
    names = [name for name in {**here, **there} if name != _HOW]
    odd = [f"{name} {there.get(name)}, here {here.get(name)}" for name in names if there.get(name) != here.get(name)]
    if odd:
        got = f"{saver.directory}, which holds a {kind} with {'; '.join(odd)}"
        remedy = f"Give each {kind} a folder of its own, or delete this one to begin anew."
        raise ValueError(message("checkpoint", got, f"a {kind} with the same {same}", remedy))
    return step


def alone_in(saver: Saver, kind: str) -> contextlib.AbstractContextManager[None]:
    """Nobody else may train in the saver's folder meanwhile.

    Raises:
        ValueError: somebody does; the message says which process.

    Example:
        >>> with alone_in(Unsaved(), "fit"):
        ...     pass
    """
    return contextlib.nullcontext() if isinstance(saver, Unsaved) or several() else alone(saver.directory, kind)


def warn_of_another(saver: Saver, jaxpr: Any, parts: str, ended: bool, *, stacklevel: int = 5) -> None:
    """Warns where the newest checkpoint was trained in another way, and notes this one in those that are to come.

    What changes no structure is compared here, and may change: whoever resumes a fit that broke down wants to. The
    program itself is compared where JAX and the device are of the same kind, since others trace another one.

    Args:
        saver: of the folder, which knows the numbers that decide the way.
        jaxpr: the program as it is traced here.
        parts: what it was made of, in words.
        ended: whether there is nothing left to train.
        stacklevel: how far from here the caller is who is to read it.

    Warns:
        RuntimeWarning: it names each number that differs, or the parts.

    Example:
        >>> warn_of_another(Unsaved(), jax.make_jaxpr(jnp.sin)(0.0), "network", ended=False)
    """
    if isinstance(saver, Unsaved):
        return
    made_by = f"jax {jax.__version__} on {jax.default_backend()}"
    here = {**(saver.about or {}).get(_HOW, {}), "program": program_sum(jaxpr), "made by": made_by}
    step = latest(saver.directory)
    there = {} if step is None else about(saver.directory, step=step).get(_HOW, {})
    saver.about = {**(saver.about or {}), _HOW: here}
    odd = {name for name in here if name in there and there[name] != here[name]}
    named = [f"{name} {there[name]}, here {here[name]}" for name in here if name in odd - {"program", "made by"}]
    if not named and ("program" not in odd or "made by" in odd):
        return
    how = f"with {'; '.join(named)}" if named else f"as another program ({parts})"
    then = "it has ended, and its result comes back as it is" if ended else f"it goes on from step {step} all the same"
    text = f"checkpoint: what is in {saver.directory} was trained {how}; {then}"
    warnings.warn(f"{text}. If you do not mean it, use another folder.", RuntimeWarning, stacklevel=stacklevel)


def read_back(saver: Saver, step: int, like: T, kind: str, of: str) -> T:
    """The checkpoint of a step.

    Args:
        saver: of the folder.
        step: which one.
        like: as `fnn.checkpoint.restore` takes it.
        kind: what is saved there, such as "fit".
        of: what decides its structure, where that is another.

    Raises:
        ValueError: it has another structure; each path is named.
        CorruptCheckpoint: it is not what was saved.

    Example:
        >>> import tempfile
        >>> saver = Saver(tempfile.mkdtemp())
        >>> saver.save(3, {"w": np.ones(2)})
        >>> read_back(saver, 3, {"w": np.zeros(2)}, "fit", "network")
        {'w': array([1., 1.])}
    """
    try:
        return restore(saver.directory, like, step=step)
    except CorruptCheckpoint:
        raise
    except ValueError as error:
        got = f"{saver.directory}, which holds another {kind} ({error})"
        raise ValueError(message("checkpoint", got, f"a {kind} of the same {of}")) from error


def fingerprint(data: Iterable[Any] | None) -> str | None:
    """A checksum of arrays, such as those of a dataset, so that a run does not go on with others.

    Example:
        >>> len(fingerprint(fnn.data.Dataset(np.ones(3), np.ones(3))) or "")
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
    """SIGTERM ends training as Ctrl-C does, so that it is saved; in the main thread, which alone hears of signals.

    Example:
        >>> with stopped_by_signals(Unsaved()):
        ...     pass
    """

    def stop(number: int) -> None:
        del number
        raise KeyboardInterrupt

    with handled([] if isinstance(saver, Unsaved) else [signal.SIGTERM], stop):
        yield


def interrupted_at(saver: Saver, done: int, total: int, unit: str = "steps") -> str:
    """What is said by a fit that was interrupted after so many steps, or by a sweep after so many networks.

    Example:
        >>> interrupted_at(Unsaved(), 3, 10)
        'training: interrupted after 3 of 10 steps; error.result holds what there was.'
    """
    where = f"training: interrupted after {done} of {total} {unit}"
    if isinstance(saver, Unsaved):
        return f"{where}; error.result holds what there was."
    if done not in steps(saver.directory):
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
