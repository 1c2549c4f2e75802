"""What workers print: whole lines, each with the number of its process, in the supervisor's own output."""

import os
import selectors
import sys
import threading
import time
from collections.abc import Sequence
from typing import IO, Any

_LONGEST = 1 << 16  # a longer line is broken, so that a worker that prints no newline fills no memory
_CHUNK = 1 << 16
_QUIET, _LAST = 0.3, 10.0  # seconds without a word, and seconds in all, for the last words of workers that are gone
_lock = threading.Lock()


class Output:
    """Reads the pipes of workers from a thread, and writes their lines.

    One thread reads all, as they come, so no pipe stays full and no line is torn. What cannot be written, since
    nobody reads the supervisor's output any more, is dropped: the workers go on.

    Args:
        pipes: numbers of processes, "stdout" or "stderr", and the file to read, which is closed at its end.

    Example:
        >>> import os
        >>> ours, theirs = os.pipe()
        >>> output = Output([(3, "stdout", os.fdopen(ours, "rb"))])
        >>> _ = os.write(theirs, b"hello")
        >>> os.close(theirs), output.close()
        [3] hello
        (None, None)
    """

    def __init__(self, pipes: Sequence[tuple[int, str, IO[bytes]]]) -> None:
        self._selector = selectors.DefaultSelector()
        self._open = [number for number, _, _ in pipes]
        self._pending: dict[IO[bytes], bytes] = {}
        self._closed: float | None = None
        streams: dict[str, Any] = {"stdout": sys.stdout, "stderr": sys.stderr}
        for number, name, pipe in pipes:
            self._pending[pipe] = b""
            self._selector.register(pipe, selectors.EVENT_READ, (number, streams[name]))
        self._thread = threading.Thread(target=self._pass_on, name="fnn.parallel.output", daemon=True)
        self._thread.start()

    def drain(self, number: int, seconds: float) -> None:
        """Waits until all that a worker printed is written, for so long at most: its last words come first."""
        until = time.monotonic() + seconds
        while number in self._open and time.monotonic() < until:
            time.sleep(0.005)

    def close(self) -> None:
        """Writes what is left and ends the thread; a pipe that somebody still holds is closed where nothing comes."""
        self._closed = time.monotonic()
        self._thread.join(_LAST + 1)

    def _pass_on(self) -> None:
        while self._open and (self._closed is None or time.monotonic() < self._closed + _LAST):
            ready = self._selector.select(timeout=_QUIET)
            for key, _ in ready:
                self._read(key.fileobj, *key.data)
            if self._closed is not None and not ready:
                break
        for key in list(self._selector.get_map().values()):
            self._end(key.fileobj, *key.data)
        self._selector.close()

    def _read(self, pipe: Any, number: int, stream: Any) -> None:
        chunk = os.read(pipe.fileno(), _CHUNK)
        if not chunk:
            self._end(pipe, number, stream)
            return
        *lines, rest = (self._pending[pipe] + chunk).split(b"\n")
        if len(rest) > _LONGEST:
            lines, rest = [*lines, rest], b""
        self._pending[pipe] = rest
        if lines:
            write(stream, b"".join(b"[%d] %s\n" % (number, line) for line in lines))

    def _end(self, pipe: Any, number: int, stream: Any) -> None:
        self._selector.unregister(pipe)
        pipe.close()
        if rest := self._pending.pop(pipe):
            write(stream, b"[%d] %s\n" % (number, rest))
        self._open.remove(number)


def say(text: str) -> None:
    """Prints a line of the supervisor to its standard error, never within a line of a worker."""
    write(sys.stderr, f"launch: {text}\n".encode())


def write(stream: Any, data: bytes) -> None:
    """Writes bytes at once, as they are where the stream takes bytes; what it does not take is dropped."""
    # Where somebody has stopped reading, the other thread waits with the lock; the supervisor cannot wait for ever.
    held = _lock.acquire(timeout=1.0)
    try:
        if hasattr(stream, "buffer"):
            stream.flush()
            stream.buffer.write(data)
        else:
            stream.write(data.decode(errors="backslashreplace"))
        stream.flush()
    except (OSError, ValueError, AttributeError):  # nobody reads it, it is closed, or there is none
        pass
    finally:
        if held:
            _lock.release()
