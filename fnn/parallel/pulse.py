"""A thread that sees whether steps go on: it tells a supervisor, and ends a process that is stuck."""

import collections
import contextlib
import faulthandler
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import jax

_EVERY = 0.05  # seconds between two looks
_STUCK = 75  # the exit status, EX_TEMPFAIL: worth another try
_LATER = 5.0  # seconds after which it is ended from outside of Python


class Pulse:
    """Looks every twentieth of a second whether another step is done; a context, within which it does.

    Args:
        file: where the newest step is written for a supervisor, who then judges; None: it is judged here.
        limit: seconds that a step may take.
        startup: seconds until the first is done.

    Example:
        >>> with Pulse(None, limit=60.0, startup=300.0) as pulse:
        ...     pulse.beat(1)
    """

    def __init__(self, file: Path | None, limit: float, startup: float) -> None:
        self._file, self._limit, self._startup = file, limit, startup
        self._parent = os.getppid()
        self._waiting: tuple[int, list[Any]] | None = None
        self._newest: collections.deque[tuple[int, list[Any]]] = collections.deque(maxlen=1)
        self._told = -1  # the newest step that `beat` was given, computed or not
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="fnn.pulse", daemon=True)

    def beat(self, step: int, after: Any = None) -> None:
        """A step is done once these arrays are computed."""
        arrays = [leaf for leaf in jax.tree.leaves(after) if isinstance(leaf, jax.Array)]
        self._newest.append((step, arrays))
        self._told = step

    def __enter__(self) -> "Pulse":
        if self._file is not None and hasattr(signal, "SIGUSR1"):
            faulthandler.register(signal.SIGUSR1, chain=False)  # the supervisor asks what it was doing
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Looks a last time, so that the last step is told, and ends the thread."""
        self._ended.set()
        self._thread.join()
        faulthandler.cancel_dump_traceback_later()

    def _watch(self) -> None:
        done, written, since, armed = -1, None, time.monotonic(), -1.0
        over = False
        while not over:
            over = self._ended.wait(_EVERY)
            now, step = time.monotonic(), self._finished()
            if step is not None and step != done:
                done, since = step, now
            if self._file is None:
                armed = self._judged(done, now - since, now, armed)
            elif os.getppid() != self._parent:
                self._end("the supervisor is gone")
            elif done >= 0 and written != (done, self._told):
                written = (done, self._told)
                self._write(*written)

    def _judged(self, done: int, seconds: float, now: float, armed: float) -> float:
        """Ends the process where it is stuck; else when it was last seen to that something outside of Python does."""
        allowed = self._startup if done < 0 else self._limit
        if seconds > allowed:
            which = "no step" if done < 0 else f"no step after {done}"
            self._end(f"{which} is done within {allowed:g} s")
        if now - armed <= 1.0:
            return armed
        # Where the interpreter is held, this thread does not run; then one outside of it ends the process.
        faulthandler.dump_traceback_later(allowed + _LATER, exit=True)
        return now

    def _finished(self) -> int | None:
        """The newest step whose arrays are there."""
        finished = None
        while self._waiting or self._newest:
            self._waiting = self._waiting or self._newest.pop()
            if not all(array.is_deleted() or array.is_ready() for array in self._waiting[1]):
                break
            finished, self._waiting = self._waiting[0], None
        return finished

    def _write(self, done: int, told: int) -> None:
        """Both steps, for the supervisor: a process that waits for others has come further than it has computed."""
        assert self._file is not None
        part = self._file.with_suffix(".part")
        with contextlib.suppress(OSError):  # the supervisor's folder goes when it ends
            part.write_text(f"{done} {told}")
            part.replace(self._file)

    def _end(self, why: str) -> None:
        print(f"process {os.getpid()} ends: {why}. It was doing:", file=sys.stderr, flush=True)
        faulthandler.dump_traceback(all_threads=True)
        os._exit(_STUCK)
