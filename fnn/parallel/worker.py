"""One process of a launch, as its supervisor sees it."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO


class Worker:
    """A process that leads a session of its own, so that what it starts ends with it.

    Attributes:
        number: which of the processes it is, from 0.
        step: the newest step that it has finished, or None before the first.
        at: the newest step that it has come to, finished or not; who waits for others has come further than they.
        status: its exit status, minus the signal's number where one killed it, or None while it runs.
        moved: when it last finished a step, on the clock of whoever calls `look`; at first when it was started.

    Raises:
        OSError: the process cannot be started.

    Example:
        >>> import sys, tempfile
        >>> beats = Path(tempfile.mkdtemp())
        >>> worker = Worker(0, [sys.executable, "-c", "raise SystemExit(3)"], {}, beats, piped=False, now=0.0)
        >>> while worker.status is None:
        ...     worker.look(1.0)
        >>> worker.status, str(worker), worker.fate
        (3, 'process 0', 'ended with status 3')
    """

    def __init__(
        self,
        number: int,
        command: Sequence[str],
        environment: Mapping[str, str],
        beats: Path,
        *,
        piped: bool,
        now: float,
    ) -> None:
        pipe = subprocess.PIPE if piped else None
        self.number, self.moved = number, now
        self.step: int | None = None
        self.at: int | None = None
        self.status: int | None = None
        self._beats = beats / str(number)
        # A function to run in the child, such as one that asks Linux to end it with its parent, is not safe beside
        # threads: the worker watches its parent itself.
        self._process = subprocess.Popen(
            command,
            env={**os.environ, **environment, "FNN_PROCESS": str(number), "FNN_BEATS": str(beats)},
            stdin=subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            start_new_session=True,
        )

    def __str__(self) -> str:
        return f"process {self.number}"

    @property
    def fate(self) -> str:
        """How it ended, in words."""
        if self.status is None:
            return "runs"
        return f"was killed by {signal_name(-self.status)}" if self.status < 0 else f"ended with status {self.status}"

    def pipes(self) -> list[tuple[int, str, IO[bytes]]]:
        """Its outputs, as `Output` takes them; none where it writes to the supervisor's own."""
        streams = {"stdout": self._process.stdout, "stderr": self._process.stderr}
        return [(self.number, name, file) for name, file in streams.items() if file]

    def look(self, now: float) -> None:
        """Takes notice of its newest step and of its end."""
        if self.status is not None:
            return
        self.status = self._process.poll()
        if self.status is not None:
            self._kill_group()  # what it has left running; its number is not given anew so soon
        with contextlib.suppress(OSError, ValueError):
            # "17", or "17 18": finished 17, and 18 is given to the devices.
            step, *later = map(int, self._beats.read_text(encoding="ascii").split())
            self.at = max([step, *later])
            if step != self.step:
                self.step, self.moved = step, now

    def stopped(self) -> bool:
        """Whether a signal has stopped it, as far as the system tells."""
        with contextlib.suppress(OSError):
            state = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="utf-8", errors="replace")
            return state.rpartition(")")[2].split()[0] in ("T", "t")
        return False

    def send(self, number: int) -> None:
        """Sends a signal to the process alone, if it runs."""
        if self.status is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """Kills it, and all that it has started in its session; `reap` waits until it is gone."""
        if self.status is None:
            self._kill_group()

    def reap(self) -> None:
        """Waits until a killed process is gone; one that hangs in the system itself is left after 10 s."""
        if self.status is None:
            try:
                self.status = self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.status = -signal.SIGKILL

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


def signal_name(number: int) -> str:
    """The name of a signal.

    Example:
        >>> signal_name(9)
        'SIGKILL'
    """
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
