"""A folder for one at a time: who writes there holds a lock, which the system frees when the process is gone."""

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fnn.errors import message

_LOCK = ".lock"
# A lock is of a process, not of a thread: what threads of this one hold is noted here.
_held: set[str] = set()
_noting = threading.Lock()


@contextlib.contextmanager
def alone(directory: Path, kind: str) -> Iterator[None]:
    """Holds the lock of a folder. A process that is killed holds it no more, and needs no cleaning up.

    Where a folder cannot be written to, or a file system or Windows knows no such locks, nothing is held.

    Args:
        directory: the folder; it is made.
        kind: what is done there, such as "fit".

    Raises:
        ValueError: somebody holds it; the message says which process.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     with alone(Path(folder), "fit"), alone(Path(folder), "fit"):
        ...         pass
        Traceback (most recent call last):
        ValueError: checkpoint: got ..., where process ... is at work, expected ... that nobody else ...
    """
    name = os.path.realpath(directory)
    with _noting:
        # Asked first: to close the file anew would free what another thread holds.
        if name in _held:
            raise _taken(directory, kind)
        file = _locked(directory, kind)
        _held.add(name)
    try:
        yield
    finally:
        with _noting:
            _held.discard(name)
            if file is not None:
                file.close()


def _locked(directory: Path, kind: str) -> Any:
    """The file that is locked, or None where there are no locks."""
    try:
        import fcntl

        directory.mkdir(parents=True, exist_ok=True)
        file = (directory / _LOCK).open("ab+", buffering=0)
    except (ImportError, OSError):
        return None
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.truncate(0)
        file.write(f"process {os.getpid()} of {socket.gethostname()}".encode())
    except (BlockingIOError, PermissionError):
        file.seek(0)
        with file:
            raise _taken(directory, kind, file.read().decode(errors="replace")) from None
    except OSError:
        pass  # no such locks here, or no room for the name
    return file


def _taken(directory: Path, kind: str, holder: str = "") -> ValueError:
    who = holder or f"process {os.getpid()} of {socket.gethostname()}"
    remedy = f"Wait for it or end it, or give this {kind} a folder of its own."
    got = f"{directory}, where {who} is at work"
    return ValueError(message("checkpoint", got, "a folder that nobody else uses", remedy))
