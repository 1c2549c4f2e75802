"""The processes of one attempt, watched: they finish, one fails, one hangs, or somebody stops them."""

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fnn.parallel.output import Output
from fnn.parallel.worker import Worker, signal_name
from fnn.signals import handled

Ended = Literal["done", "failed", "hung", "stopped"]
_TICK = 0.05  # seconds between two looks
_LONGEST_TICK = 1.0
_LAST_WORDS = 0.5  # seconds in which survivors of a failure may report and leave by themselves
_STACKS = 0.3  # seconds in which hung workers may print their stacks


@dataclass(frozen=True)
class Attempt:
    """One run of all processes.

    Attributes:
        processes: how many there were.
        ended: "done", "failed" (a process ended otherwise than with status 0, or could not be started), "hung" or
            "stopped" (by a signal to the supervisor).
        why: the same in a sentence that names the processes.
        status: 0 where it is done, else the status of the first process that failed, 128 and the number of a signal
            that ended a process or the supervisor, or 1.
        step: the newest step that every process had finished, or None.
        seconds: how long it took.
        clearing: of these, from the end that `ended` tells until no process was left.
        hopeless: no process had finished a step, and all that ended by themselves had one and the same status above 0.
    """

    processes: int
    ended: Ended
    why: str
    status: int
    step: int | None
    seconds: float
    clearing: float
    hopeless: bool = False


@dataclass(frozen=True)
class Plan:
    """What is the same for every attempt: the arguments of `launch`, and the folder of beats."""

    command: Sequence[str]
    limit: float
    startup: float
    grace: float
    port: int | None
    beats: Path
    piped: bool
    tell: Callable[[str], None]


@dataclass(frozen=True)
class Verdict:
    """How the watch over an attempt ends: the fields of `Attempt`."""

    ended: Ended
    why: str
    status: int


def attempt(plan: Plan, processes: int, number: int, signals: Sequence[int]) -> Attempt:
    """Runs all processes once; none is left when it returns or raises.

    Args:
        plan: what is run, and how it is watched.
        processes: how many.
        number: of the attempt, from 0.
        signals: those that ask the supervisor to stop, which may come at any time.
    """
    began = time.monotonic()
    crew = Crew(plan)
    try:
        verdict = crew.start(processes, number) or crew.watch(signals)
        noticed = time.monotonic()
        crew.part(verdict, signals)
        hopeless = verdict.ended == "failed" and crew.hopeless()
    finally:
        crew.clear()
    now = time.monotonic()
    took = now - began, now - noticed
    return Attempt(processes, verdict.ended, verdict.why, verdict.status, crew.step, *took, hopeless)


class Crew:
    """The workers of one attempt.

    Example:
        >>> import sys, tempfile
        >>> words = [sys.executable, "-c", "raise SystemExit(3)"]
        >>> crew = Crew(Plan(words, 60.0, 60.0, 5.0, None, Path(tempfile.mkdtemp()), False, print))
        >>> crew.start(1, 0)
        >>> crew.watch([]).why
        'process 0 ended with status 3 before its first step'
        >>> crew.clear()
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._workers: list[Worker] = []
        self._processes = 0
        self._output: Output | None = None
        self._clock, self._looked = 0.0, time.monotonic()
        self._ended_at: float | None = None  # when the first one ended with status 0

    @property
    def step(self) -> int | None:
        """The newest step that every process had finished."""
        steps = [worker.step for worker in self._workers if worker.step is not None]
        return min(steps) if steps and len(steps) == self._processes else None

    def start(self, processes: int, number: int) -> Verdict | None:
        """Starts the workers; a verdict where one cannot be started."""
        self._processes = processes
        beats = self._plan.beats / str(number)
        beats.mkdir()
        environment = {
            "FNN_COORDINATOR": f"127.0.0.1:{self._plan.port or free_port()}",
            "FNN_PROCESSES": str(processes),
            "FNN_ATTEMPT": str(number),
            # What a killed worker has printed is not lost in its buffer.
            "PYTHONUNBUFFERED": os.environ.get("PYTHONUNBUFFERED") or "1",
        }
        command, piped = self._plan.command, self._plan.piped
        verdict = None
        for index in range(processes):
            try:
                worker = Worker(index, command, environment, beats, piped=piped, now=self._clock)
            except OSError as error:
                verdict = Verdict("failed", f"process {index} could not be started: {error}", 1)
                break
            self._workers.append(worker)
        self._output = Output([pipe for worker in self._workers for pipe in worker.pipes()])
        return verdict

    def watch(self, signals: Sequence[int]) -> Verdict:
        """Looks at the workers until they end, by themselves or since they have to."""
        while True:
            self._look()
            if all(worker.status == 0 for worker in self._workers):
                return Verdict("done", "all processes ended with status 0", 0)
            if signals:
                return Verdict("stopped", f"stopped by {signal_name(signals[0])}", 128 + signals[0])
            if failed := [worker for worker in self._workers if worker.status]:
                return self._failure(failed)
            if late := [worker for worker in self._running() if self._idle(worker) > self._allowed(worker)]:
                return self._hang(late[0])
            time.sleep(_TICK)

    def part(self, verdict: Verdict, signals: Sequence[int]) -> None:
        """Says what is the matter, and gives the workers that are left the time to say or save what they have to."""
        if verdict.ended == "done":
            return
        seconds = {"failed": _LAST_WORDS, "hung": _STACKS, "stopped": self._plan.grace}[verdict.ended]
        if verdict.ended != "failed":
            for worker in self._running():
                worker.send(signal.SIGUSR1 if verdict.ended == "hung" else signal.SIGTERM)
        until = time.monotonic() + seconds
        self._plan.tell(verdict.why)
        while self._running() and time.monotonic() < until and not (verdict.ended == "stopped" and len(signals) > 1):
            time.sleep(_TICK)
            self._look()

    def hopeless(self) -> bool:
        """Whether none finished a step, and all that ended by themselves had one and the same status above 0."""
        statuses = {worker.status for worker in self._workers if worker.status is not None}
        wrong = len(statuses) == 1 and min(statuses) > 0
        return wrong and all(worker.step is None for worker in self._workers)

    def clear(self) -> None:
        """Kills what is left, and waits until it is gone."""
        left = self._running()
        for worker in left:
            worker.kill()
        for worker in left:
            worker.reap()
        if self._output is not None:
            self._output.close()

    def _running(self) -> list[Worker]:
        return [worker for worker in self._workers if worker.status is None]

    def _look(self) -> None:
        now = time.monotonic()
        # Where all of us were frozen, a container for instance, the workers are not to blame.
        self._clock, self._looked = self._clock + min(now - self._looked, _LONGEST_TICK), now
        for worker in self._workers:
            worker.look(self._clock)
        if self._ended_at is None and any(worker.status == 0 for worker in self._workers):
            self._ended_at = self._clock

    def _idle(self, worker: Worker) -> float:
        return self._clock - max(worker.moved, self._ended_at or 0.0)

    def _allowed(self, worker: Worker) -> float:
        first = worker.step is None and self._ended_at is None
        return self._plan.startup if first else self._plan.limit

    def _failure(self, failed: list[Worker]) -> Verdict:
        for worker in failed:
            if self._output is not None:
                self._output.drain(worker.number, 0.2)
        status = failed[0].status or 1
        why = "; ".join(f"{worker} {worker.fate} {_where(worker)}" for worker in failed)
        if halted := [worker for worker in self._running() if worker.stopped()]:  # what they waited for
            why += f"; {_names(halted)} {'is' if len(halted) == 1 else 'are'} stopped by a signal"
        return Verdict("failed", why, 128 - status if status < 0 else status)

    def _hang(self, late: Worker) -> Verdict:
        """Names who is furthest behind: the others may only be waiting for it."""
        limit = self._allowed(late)
        stalled = [worker for worker in self._running() if self._idle(worker) > limit / 2]
        least = min(_at(worker) for worker in stalled)
        behind = [worker for worker in stalled if _at(worker) == least]
        halted = [worker for worker in stalled if worker.stopped()]
        named = halted or behind
        others = [worker for worker in self._workers if worker not in named]
        least = min(_at(worker) for worker in named)
        verb = "has" if len(named) == 1 else "have"
        what = f"{verb} been at step {least}" if least >= 0 else f"{verb} not finished a first step"
        why = f"{_names(named)} {what} for {limit:g} s" + (", stopped by a signal" if halted else "")
        alive = [worker for worker in others if worker.status is None]
        for at in sorted({_at(worker) for worker in alive}):
            these = [worker for worker in alive if _at(worker) == at]
            why += f"; {_names(these)} {'is' if len(these) == 1 else 'are'} {_where(these[0])}"
        if gone := [worker for worker in others if worker.status == 0]:
            why += f"; {_names(gone)} ended with status 0"
        return Verdict("hung", why, 1)


def _where(worker: Worker) -> str:
    return "before its first step" if worker.at is None else f"at step {worker.at}"


def _at(worker: Worker) -> int:
    return -1 if worker.at is None else worker.at


def _names(workers: Sequence[Worker]) -> str:
    return f"process{'es' if len(workers) > 1 else ''} {', '.join(str(worker.number) for worker in workers)}"


def free_port() -> int:
    """A port of this machine's loopback that nobody listens on now.

    Example:
        >>> free_port() > 0
        True
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """While it lasts, SIGINT, SIGTERM and SIGHUP are only written down; in the main thread, which alone hears of them.

    A signal that is ignored stays so, as `nohup` wants it.

    Example:
        >>> with stop_signals() as signals:
        ...     signal.raise_signal(signal.SIGTERM)
        >>> signals == [signal.SIGTERM]
        True
    """
    heard: list[int] = []
    to_stop = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    with handled([number for number in to_stop if signal.getsignal(number) is not signal.SIG_IGN], heard.append):
        yield heard
