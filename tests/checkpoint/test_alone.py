"""Who trains in a folder is alone there; who is killed leaves no lock behind."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fnn.checkpoint import restore, save, steps
from fnn.checkpoint.alone import alone

HOLDER = """
import sys, time
from pathlib import Path
from fnn.checkpoint.alone import alone

with alone(Path(sys.argv[1]), "fit"):
    print("held", flush=True)
    time.sleep(60)
"""


def holder(folder: Path) -> "subprocess.Popen[str]":
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_another_process_is_named_and_one_that_is_killed_holds_nothing(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        who = (
            rf"checkpoint: got {tmp_path}, where process {process.pid} of .+ is at work, expected a folder that nobody"
        )
        for _ in range(2):
            with (
                pytest.raises(ValueError, match=who + ".* give this sweep a folder of its own"),
                alone(tmp_path, "sweep"),
            ):
                pass
        # Saving and reading are not training.
        save(tmp_path, 1, {})
        assert (steps(tmp_path), restore(tmp_path, {})) == ([1], {})
        process.kill()
    with alone(tmp_path, "fit"):
        assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} of ")


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc to find the child")
def test_a_child_that_outlives_its_parent_holds_nothing(tmp_path: Path) -> None:
    """Such as the workers that read data: they come by `fork`, and have every file open."""
    program = "import os\n" + HOLDER.replace("print(", "os.fork() and print(")
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "held\n"
        (child,) = map(int, Path(f"/proc/{parent.pid}/task/{parent.pid}/children").read_text().split())
        parent.kill()
        parent.wait()
        try:
            with alone(tmp_path, "fit"):
                pass
        finally:
            os.kill(child, signal.SIGKILL)


def test_threads_of_one_process(tmp_path: Path) -> None:
    failed: list[str] = []

    def second() -> None:
        try:
            with alone(tmp_path / "x" / "..", "fit"):
                pass
        except ValueError as error:
            failed.append(str(error))

    with alone(tmp_path, "fit"):
        for _ in range(2):  # the first one's end frees nothing
            thread = threading.Thread(target=second)
            thread.start()
            thread.join()
    assert len(failed) == 2
    assert f"where process {os.getpid()} of" in failed[0]
    second()
    assert len(failed) == 2


def test_a_failure_frees_it(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), alone(tmp_path, "fit"):
        raise RuntimeError
    with alone(tmp_path, "fit"):
        pass


def test_where_there_are_no_locks_nothing_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    with alone(tmp_path / "file", "fit"):
        pass
    import fcntl

    def unknown(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "lockf", unknown)
    with alone(tmp_path, "fit"):
        pass
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with alone(tmp_path, "fit"):
        pass
