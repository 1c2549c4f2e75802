"""Signals of the system, heard for a while."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator


@contextlib.contextmanager
def handled(numbers: Iterable[int], handle: Callable[[int], None]) -> Iterator[None]:
    """While it lasts, these signals are handled so, in the main thread, which alone hears of them; then as before.

    Example:
        >>> import signal
        >>> heard = []
        >>> with handled([signal.SIGTERM], heard.append):
        ...     signal.raise_signal(signal.SIGTERM)
        >>> heard == [signal.SIGTERM]
        True
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, lambda n, frame: handle(n)) for number in numbers}  # noqa: ARG005
    try:
        yield
    finally:
        for number, handler in before.items():
            # None stands for a handler that is not Python's, which cannot be put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
