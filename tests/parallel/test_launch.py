"""A launch: how it ends and starts again, what it says, and that it leaves nothing running."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fnn.parallel.crew import Attempt
from fnn.parallel.launch import Launched, following, launch
from tests.parallel.conftest import running

Program = Callable[[str], list[str]]
Output = pytest.CaptureFixture[str]
SOON = 2.0  # seconds until the survivors of a crash are gone: the promise


class Told(list[str]):
    """Keeps what a launch says."""

    __call__ = list[str].append


def launched(command: list[str], processes: int, **options: Any) -> tuple[Launched, str]:
    """A launch that is not patient, and all that it said."""
    told = Told()
    return launch(
        command, processes, tell=told, **{"limit": 0.5, "startup": 30.0, "grace": 20.0, **options}
    ), "\n".join(told)


def test_processes_know_who_they_are(program: Program, capfd: Output) -> None:
    keys = "FNN_COORDINATOR", "FNN_PROCESSES", "FNN_PROCESS", "FNN_ATTEMPT"
    result, told = launched(program(f"print(*(os.environ[key] for key in {keys}))"), 3)
    lines = sorted(capfd.readouterr().out.splitlines())
    assert [line.split()[::2] for line in lines] == [[f"[{n}]", "3", "0"] for n in range(3)]
    assert [line.split()[3] for line in lines] == ["0", "1", "2"]
    assert len({line.split()[1] for line in lines}) == 1
    assert lines[0].split()[1].startswith("127.0.0.1:")
    assert (result.status, len(result.attempts), told) == (0, 1, "done: 1 attempt")
    assert result.attempts[0].ended == "done"


def test_one_process_has_the_output_to_itself(program: Program, capfd: Output) -> None:
    assert launched(program("print('as it is')"), 1)[0].status == 0
    assert capfd.readouterr().out == "as it is\n"


@pytest.mark.parametrize(
    ("end", "fate", "status"),
    [
        ("sys.exit(3)", "ended with status 3", 3),
        ("os.kill(os.getpid(), signal.SIGKILL)", "was killed by SIGKILL", 137),
        ("raise ValueError('this is why')", "ended with status 1", 1),
    ],
)
def test_a_crash_is_named_and_started_again(program: Program, capfd: Output, end: str, fate: str, status: int) -> None:
    body = f"all_at(17)\nif ATTEMPT == 0:\n    if ME == 1:\n        {end}\n    on_and_on(17)"
    result, told = launched(program(body), 3)
    assert told.startswith(f"process 1 {fate} at step 17\nstarting again with 3 processes\n")
    assert told.endswith("done: 2 attempts")
    first, second = result.attempts
    assert (first.ended, first.status, first.processes) == ("failed", status, 3)
    assert first.step is not None
    assert first.clearing < SOON
    assert (second.ended, result.status) == ("done", 0)
    assert ("[1] ValueError: this is why\n" in capfd.readouterr().err) == ("this is why" in end)


def test_survivors_may_report_for_a_moment(program: Program, capfd: Output) -> None:
    body = "all_at(1)\nif ME:\n    time.sleep(0.2)\n    sys.exit('my neighbour is gone')\nsys.exit(4)"
    result, told = launched(program(body), 2, restarts=0)
    assert told == "process 0 ended with status 4 at step 1\nnot started again: no restarts were asked for"
    assert capfd.readouterr().err == "[1] my neighbour is gone\n"
    assert result.status == 4


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc, which tells who is stopped")
def test_a_stopped_process_is_named(program: Program) -> None:
    body = "all_at(17)\nif ME == 2: os.kill(os.getpid(), signal.SIGSTOP)\ntime.sleep(1000)"
    result, told = launched(program(body), 3, restarts=0)
    first = "process 2 has been at step 17 for 0.5 s, stopped by a signal; processes 0, 1 are at step 17"
    assert told.splitlines()[0] == first
    assert result.attempts[0].ended == "hung"
    assert result.attempts[0].clearing < SOON
    assert result.status == 1


def test_who_is_behind_is_named_and_shows_its_stack(program: Program, capfd: Output) -> None:
    body = """
    def wait_here():
        time.sleep(1000)
    faulthandler.register(signal.SIGUSR1)
    all_at(17)
    if ME == 2: wait_here()
    beat(18)
    time.sleep(1000)
    """
    result, told = launched(program("if True:" + body), 3, restarts=0)
    assert told.startswith("process 2 has been at step 17 for 0.5 s; processes 0, 1 are at step 18\n")
    assert result.attempts[0].step == 17
    assert "in wait_here" in capfd.readouterr().err


def test_who_waits_for_the_devices_is_not_behind(program: Program) -> None:
    # The others have come to a step that never ends, since process 1 takes no part in it; they finished less of late.
    body = "all_at(20)\nbeat('25 25' if ME == 1 else '20 26')\ntime.sleep(1000)"
    result, told = launched(program(body), 3, restarts=0)
    assert told.startswith("process 1 has been at step 25 for 0.5 s; processes 0, 2 are at step 26\n")
    assert result.attempts[0].step == 20


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc, which tells who is stopped")
def test_whoever_gives_up_waiting_names_the_stopped(program: Program) -> None:
    body = "all_at(3)\nif ME == 1: os.kill(os.getpid(), signal.SIGSTOP)\ntime.sleep(0.2)\nos.abort()"
    _, told = launched(program(body), 2, limit=5.0, restarts=0)
    assert told.startswith("process 0 was killed by SIGABRT at step 3; process 1 is stopped by a signal\n")


def test_a_process_that_never_begins_is_a_hang(program: Program) -> None:
    body = "if ME == 1: time.sleep(1000)\non_and_on(0)"
    result, told = launched(program(body), 2, startup=0.7, restarts=0)
    assert told.startswith("process 1 has not finished a first step for 0.7 s")
    assert (result.attempts[0].ended, result.attempts[0].step) == ("hung", None)


def test_one_ends_and_the_others_hang(program: Program) -> None:
    body = "all_at(5)\nif ME: time.sleep(1000)"
    result, told = launched(program(body), 2, restarts=0)
    assert told.startswith("process 1 has been at step 5 for 0.5 s; process 0 ended with status 0\n")
    assert result.attempts[0].ended == "hung"


def test_one_ends_and_the_others_go_on(program: Program) -> None:
    body = "all_at(0)\nfor step in range(40 * ME): beat(step); time.sleep(0.02)"
    assert launched(program(body), 2)[0].status == 0


def test_from_the_first_end_on_there_is_the_limit_to_end(program: Program) -> None:
    body = "all_at(0)\nfor step in range(35 * (1 - ME)): beat(step); time.sleep(0.02)\ntime.sleep(1.3 * ME)"
    assert launched(program(body), 2, limit=1.0)[0].status == 0


@pytest.mark.parametrize("status", [0, 1])
def test_children_of_a_process_end_with_it(program: Program, mark: str, status: int) -> None:
    body = f"subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(1000)'])\nsys.exit({status})"
    assert launched(program(body), 2, restarts=0)[0].status == status
    assert running(mark) == []


def test_sigterm_lets_them_save(program: Program, tmp_path: Path) -> None:
    body = f"""
    def save(*_):
        open(os.path.join({str(tmp_path)!r}, f"saved-{{ME}}"), "w").close()
        sys.exit(0)
    signal.signal(signal.SIGTERM, save)
    all_at(1)
    if ME == 0: os.kill(os.getppid(), signal.SIGTERM)
    on_and_on(1)
    """
    result, told = launched(program("if True:" + body), 2)
    assert sorted(path.name for path in tmp_path.glob("saved-*")) == ["saved-0", "saved-1"]
    assert told == "stopped by SIGTERM"
    assert (result.status, result.attempts[-1].ended, len(result.attempts)) == (143, "stopped", 1)


DEAF = """if True:
    for number in (signal.SIGTERM, signal.SIGINT): signal.signal(number, signal.SIG_IGN)
    all_at(1)
    if ME == 0: os.kill(os.getppid(), signal.SIGINT)
"""


def test_who_ignores_sigterm_is_killed(program: Program) -> None:
    result, _ = launched(program(f"{DEAF}\non_and_on(1)"), 2, grace=0.3)
    assert result.status == 130
    assert 0.3 <= result.attempts[0].clearing < 0.3 + SOON


def test_a_second_signal_kills_at_once(program: Program) -> None:
    again = "time.sleep(0.3)\nif ME == 0: os.kill(os.getppid(), signal.SIGINT)\non_and_on(1)"
    result, _ = launched(program(f"{DEAF}\n{again}"), 2, grace=1000.0)
    assert result.status == 130


def test_signals_and_threads_are_as_before(program: Program) -> None:
    handlers, threads = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)], threading.active_count()
    launched(program("sys.exit(0)"), 2)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert threading.active_count() == threads


def test_a_launch_from_another_thread(program: Program) -> None:
    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(launched(program("sys.exit(0)"), 2)[0].status))
    thread.start()
    thread.join()
    assert results == [0]


def test_an_error_of_the_supervisor_leaves_nothing(program: Program, mark: str) -> None:
    def broken(text: str) -> None:
        raise RuntimeError(text)

    with pytest.raises(RuntimeError, match="process 1 ended with status 1 at step 0"):
        launch(program("all_at(0)\nif ME == 1: sys.exit(1)\non_and_on(0)"), 3, tell=broken)
    assert running(mark) == []


def test_dying_at_the_same_step_ends(program: Program) -> None:
    result, told = launched(program("all_at(7)\nif ME: sys.exit(5)\non_and_on(7)"), 2, restarts=2)
    # Process 0 goes on for a moment, but the slowest one counts.
    assert [one.step for one in result.attempts] == [7, 7, 7]
    assert told.splitlines()[-1] == "not started again: 2 restarts in a row got no further than step 7"
    assert result.status == 5
    assert str(result).splitlines()[0] == result.verdict
    assert str(result).count("process 1 ended with status 5 at step 7") == 3


def test_faults_between_which_it_gets_further_are_not_counted(program: Program) -> None:
    result, _ = launched(program("beat(ATTEMPT)\nsys.exit(5 * (ATTEMPT < 5))"), 1, restarts=1)
    assert (result.status, len(result.attempts)) == (0, 6)


def test_with_fewer_processes(program: Program) -> None:
    body = "all_at(3)\nif PROCESSES > 1: sys.exit(1)"
    result, told = launched(program(body), 4, fewest=1)
    assert [one.processes for one in result.attempts] == [4, 4, 2, 1]
    assert "starting again with 1 process, since it got no further than step 3" in told
    assert result.status == 0


def test_a_process_that_cannot_be_started(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.Popen

    def popen(*args: Any, env: dict[str, str], **options: Any) -> Any:
        if env["FNN_PROCESSES"] == "2" and env["FNN_PROCESS"] == "1":
            raise OSError("no memory")
        return real(*args, env=env, **options)

    monkeypatch.setattr(subprocess, "Popen", popen)
    result, told = launched(program("if PROCESSES == 2: on_and_on(0)"), 2, fewest=1)
    assert told.startswith("process 1 could not be started: no memory\nstarting again with 1 process")
    assert [(one.processes, one.ended) for one in result.attempts] == [(2, "failed"), (1, "done")]


def test_a_wrong_call_is_not_repeated(program: Program) -> None:
    result, told = launched(program("sys.exit(2)"), 2)
    assert told.splitlines()[-1] == "not started again: no process came to a first step"
    assert (result.status, len(result.attempts)) == (2, 1)


def test_a_kill_before_the_first_step_is_repeated(program: Program) -> None:
    result, _ = launched(program("if ATTEMPT == 0: os.kill(os.getpid(), signal.SIGKILL)"), 2)
    assert [one.ended for one in result.attempts] == ["failed", "done"]


@pytest.mark.parametrize(
    ("processes", "fewest", "counts"),
    [(8, 1, [4, 2, 1, 1]), (6, 1, [3, 2, 1, 1]), (6, 2, [3, 2, 2, 2]), (5, 2, [5, 5, 5, 5]), (4, None, [4] * 4)],
)
def test_numbers_of_processes(processes: int, fewest: int | None, counts: list[int]) -> None:
    attempts = [Attempt(processes, "hung", "", 1, 3, 1.0, 0.1)]
    assert following(attempts, 9, fewest)[0] == processes
    for count in counts:
        attempts.append(Attempt(attempts[-1].processes, "hung", "", 1, 3, 1.0, 0.1))
        number = following(attempts, 9, fewest)[0]
        assert number == count
        attempts[-1] = Attempt(number, "hung", "", 1, 3, 1.0, 0.1)


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ({"command": []}, "command: got no word, expected a program"),
        ({"command": "python train.py"}, "command: got 'python train.py', expected its words"),
        ({"command": ["no-such-program-here"]}, "command: got 'no-such-program-here', expected a program that is here"),
        ({"command": [sys.executable, 3]}, "command: got 3 among its words"),
        ({"processes": 0}, "processes: got 0, expected an integer >= 1"),
        ({"limit": 0.0}, "limit: got 0.0, expected a finite number > 0"),
        ({"limit": float("inf")}, "limit: got inf"),
        ({"startup": -1.0}, "startup: got -1.0"),
        ({"restarts": -1}, "restarts: got -1"),
        ({"fewest": 0}, "fewest: got 0"),
        ({"fewest": 3}, "fewest: got 3, expected at most the 2 processes"),
        ({"grace": -1.0}, "grace: got -1.0"),
        ({"port": 70_000}, "port: got 70000, expected a port below 65536"),
        ({"tell": None}, "tell: got None, expected a function of one line"),
    ],
)
def test_refusals(options: dict[str, Any], refusal: str) -> None:
    with pytest.raises((ValueError, TypeError), match=refusal):
        launch(**{"command": [sys.executable], "processes": 2, **options})


def test_the_supervisor_starts_no_backend() -> None:
    code = """if True:
        import sys
        from fnn.parallel.launch import launch
        launch([sys.executable, "-c", ""], 2)
        from jax._src import xla_bridge
        print(xla_bridge.backends_are_initialized())"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert out.stdout == "False\n"
