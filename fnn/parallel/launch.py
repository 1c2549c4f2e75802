"""A training run in several processes of this machine, watched from outside and started again."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fnn.errors import check_callable, check_count, check_scalar, message
from fnn.parallel.crew import Attempt, Plan, attempt, stop_signals
from fnn.parallel.output import say


@dataclass(frozen=True)
class Launched:
    """What became of a launch.

    Attributes:
        attempts: each run of all processes, in order.
        verdict: how it ended, in a sentence.
    """

    attempts: tuple[Attempt, ...]
    verdict: str

    @property
    def status(self) -> int:
        """The exit status: that of the last attempt, 0 where all is done."""
        return self.attempts[-1].status

    def __str__(self) -> str:
        rows = [
            f"  {number}: {one.processes} processes, {one.seconds:.1f} s, {_reached(one)}: {one.why}"
            for number, one in enumerate(self.attempts)
        ]
        return "\n".join([self.verdict, *rows])


def launch(
    command: Sequence[str | Path],
    processes: int,
    *,
    limit: float = 60.0,
    startup: float = 300.0,
    restarts: int = 3,
    fewest: int | None = None,
    grace: float = 10.0,
    port: int | None = None,
    tell: Callable[[str], Any] = say,
) -> Launched:
    """Runs one command in several processes of this machine, and ends, or starts again, all where one fails or hangs.

    Each process finds in its environment `FNN_COORDINATOR` (address and port), `FNN_PROCESSES`, `FNN_PROCESS` (its
    number, from 0), `FNN_ATTEMPT` (from 0) and `FNN_BEATS`, a folder where it keeps, in a file named by its number,
    the number of its newest finished step, and behind a space, if it likes, of the step that it has come to;
    `fnn.parallel.join` does all that. It leads a session of its own: what it leaves running is killed when it ends.
    It has no standard input. Its lines are passed on, `[2] ...`, where there are several processes. This function
    starts no backend of JAX and holds no device. It needs a POSIX system.

    Ends of an attempt:

    - *done*: all end with status 0;
    - *failed*: one ends otherwise; the others have half a second to report, then SIGKILL;
    - *hung*: one that runs has finished no step for `limit` seconds, nor its first in `startup` seconds, and none
      since another ended with status 0; each gets SIGUSR1, so that it prints its stack, and SIGKILL 0.3 s later;
    - *stopped*: Ctrl-C, SIGTERM or SIGHUP came (heard in the main thread only). Each gets SIGTERM, so that it saves
      and leaves, and SIGKILL after `grace` seconds, or at once when a signal comes again.

    Where it failed or hung, it starts again; to go on from the last checkpoint is the command's own doing. Only
    restarts in a row that get no further count: an attempt in which every process finished a newer step than in all
    before it sets the count back, so that a run of a week survives many faults, and one that always dies at the same
    step ends soon. A first attempt in which no process finished a step, and each that ended by itself had one and the
    same status above 0, is not repeated: such a call is wrong, not unlucky.

    Args:
        command: the words of the command, such as `[sys.executable, "train.py"]`.
        processes: how many.
        limit: seconds that a step, a validation or a save may take.
        startup: seconds until the first step is finished, compilation included.
        restarts: how many in a row may get no further.
        fewest: after an attempt that got no further there are fewer processes, down to this many. It is always a
            divisor of `processes`, the next lower one (8, 4, 2, 1), since what could be split among these can be
            split among its divisors. None keeps the number.
        grace: seconds to save in, when stopped.
        port: of the coordinator; by default a free one for each attempt.
        tell: takes what the supervisor has to say, line by line; prints it to standard error by default.

    Returns:
        The attempts, how it ended, and an exit status.

    Raises:
        ValueError: the command is empty or not found, or a number is out of range.
        TypeError: an argument of another kind.

    Example:
        >>> import sys
        >>> launched = launch([sys.executable, "-c", "raise SystemExit(2)"], 2, tell=print)
        process ... ended with status 2 before its first step...
        not started again: no process came to a first step
        >>> launched.status, len(launched.attempts)
        (2, 1)
    """
    words = _words(command)
    check_callable("tell", tell, "a function of one line of text", "Such as print.")
    _check_numbers(processes, limit, startup, restarts, fewest, grace, port)
    attempts: list[Attempt] = []
    with tempfile.TemporaryDirectory(prefix="fnn-beats-") as beats, stop_signals() as signals:
        plan = Plan(words, limit, startup, grace, port, Path(beats), processes > 1, tell)
        number, verdict = processes, ""
        while number:
            attempts.append(attempt(plan, number, len(attempts), signals))
            number, verdict = following(attempts, restarts, fewest)
            if verdict != attempts[-1].why:
                tell(verdict)
    return Launched(tuple(attempts), verdict)


def following(attempts: Sequence[Attempt], restarts: int, fewest: int | None) -> tuple[int, str]:
    """How many processes the next attempt has, 0 where there is none, and why.

    Example:
        >>> failed = Attempt(4, "failed", "process 1 ended with status 3 at step 17", 3, 17, 60.0, 0.5)
        >>> following([failed], restarts=1, fewest=2)
        (4, 'starting again with 4 processes')
        >>> following([failed] * 2, restarts=1, fewest=2)
        (0, 'not started again: 1 restart in a row got no further than step 17')
        >>> following([failed] * 2, restarts=2, fewest=2)
        (2, 'starting again with 2 processes, since it got no further than step 17')
    """
    last = attempts[-1]
    if last.ended == "done":
        return 0, f"done: {_count(len(attempts), 'attempt')}"
    if last.ended == "stopped":
        return 0, last.why
    if len(attempts) == 1 and last.hopeless:
        return 0, "not started again: no process came to a first step"
    best, since = -1, 0
    for number, one in enumerate(attempts):
        if one.step is not None and one.step > best:
            best, since = one.step, number
    barrier = "a start" if best < 0 else f"step {best}"
    in_a_row = len(attempts) - 1 - since
    if in_a_row >= restarts:
        row = f"{_count(restarts, 'restart')} in a row got no further than {barrier}"
        return 0, f"not started again: {row if restarts else 'no restarts were asked for'}"
    further = in_a_row == 0 and last.step is not None
    if further or fewest is None:
        return last.processes, f"starting again with {_count(last.processes, 'process')}"
    fewer = [n for n in range(fewest, last.processes) if attempts[0].processes % n == 0]
    number = max(fewer, default=last.processes)
    return number, f"starting again with {_count(number, 'process')}, since it got no further than {barrier}"


def _words(command: Sequence[str | Path]) -> tuple[str, ...]:
    remedy = "Such as [sys.executable, 'train.py']."
    if isinstance(command, str | bytes):
        raise TypeError(message("command", repr(command), "its words, one by one", remedy))
    words = tuple(command)
    if not words:
        raise ValueError(message("command", "no word", "a program and its arguments", remedy))
    if odd := [word for word in words if not isinstance(word, str | Path)]:
        raise TypeError(message("command", f"{odd[0]!r} among its words", "text or paths", remedy))
    if shutil.which(words[0]) is None:
        raise ValueError(message("command", repr(str(words[0])), "a program that is here and may be run", remedy))
    return tuple(map(str, words))


def _check_numbers(
    processes: int, limit: float, startup: float, restarts: int, fewest: int | None, grace: float, port: int | None
) -> None:
    check_count("processes", processes)
    check_scalar("limit", limit, 0, open_low=True, remedy="It is the longest that a step may take, in seconds.")
    check_scalar("startup", startup, 0, open_low=True, remedy="It is the longest that a start may take, in seconds.")
    check_count("restarts", restarts, 0)
    check_scalar("grace", grace, 0, remedy="It is the time to save in, in seconds.")
    if fewest is not None:
        check_count("fewest", fewest)
        if fewest > processes:
            raise ValueError(message("fewest", fewest, f"at most the {processes} processes", "None keeps the number."))
    if port is not None:
        check_count("port", port)
        if port > 65535:
            raise ValueError(message("port", port, "a port below 65536", "None takes a free one."))


def _reached(one: Attempt) -> str:
    return "before the first step" if one.step is None else f"at step {one.step}"


def _count(number: int, thing: str) -> str:
    plural = f"{thing}es" if thing.endswith("s") else f"{thing}s"
    return f"{number} {thing if number == 1 else plural}"
