"""Signals are handled while asked for, in the main thread, and then as before."""

import signal
import threading

from fnn.signals import handled


def test_handled_and_then_as_before() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with handled([signal.SIGTERM], heard.append):
            signal.raise_signal(signal.SIGTERM)
        assert heard == [signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)


def test_another_thread_changes_nothing() -> None:
    before, within = signal.getsignal(signal.SIGTERM), []

    def look() -> None:
        with handled([signal.SIGTERM], within.append):
            within.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert within == [before]
