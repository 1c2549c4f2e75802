"""A process tells its supervisor how far it is; one that nobody supervises ends by itself where it is stuck."""

import subprocess
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import pytest

from fnn.parallel.pulse import Pulse


def wait_for(file: Path, content: str, seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not (file.exists() and file.read_text() == content):
        assert time.monotonic() < until, file.read_text() if file.exists() else "no file"
        time.sleep(0.01)


def test_a_supervisor_reads_the_newest_step(tmp_path: Path) -> None:
    file = tmp_path / "0"
    with Pulse(file, limit=60.0, startup=60.0) as pulse:
        time.sleep(0.2)
        assert not file.exists()
        pulse.beat(3)
        wait_for(file, "3 3")
        pulse.beat(4, {"loss": jnp.ones(2)})
        wait_for(file, "4 4")


def test_a_step_counts_once_it_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, ready = tmp_path / "0", [False]
    with Pulse(file, limit=60.0, startup=60.0) as pulse:
        pulse.beat(1)
        wait_for(file, "1 1")
        array = jnp.ones(())
        monkeypatch.setattr(type(array), "is_ready", lambda self: ready[0])
        pulse.beat(2, array)
        wait_for(file, "1 2")  # it has come to step 2, and not computed it
        ready[0] = True
        wait_for(file, "2 2")


def test_the_last_step_is_told_though_the_end_comes_right_after(tmp_path: Path) -> None:
    with Pulse(tmp_path / "0", limit=60.0, startup=60.0) as pulse:
        pulse.beat(1, jnp.ones(()))
        pulse.beat(2, jnp.ones(()))
    assert (tmp_path / "0").read_text() == "2 2"


def ended(program: str) -> subprocess.CompletedProcess[str]:
    start = "import time\nfrom fnn.parallel.pulse import Pulse\n"
    return subprocess.run([sys.executable, "-c", start + program], capture_output=True, text=True, timeout=60)


def test_stuck_before_the_first_step() -> None:
    done = ended("with Pulse(None, limit=60.0, startup=0.3):\n    time.sleep(50)")
    assert done.returncode == 75
    assert "no step is done within 0.3 s" in done.stderr
    assert "time.sleep" in done.stderr or 'File "<string>", line 4' in done.stderr  # what it was doing


def test_stuck_after_a_step() -> None:
    done = ended("with Pulse(None, limit=0.3, startup=60.0) as pulse:\n    pulse.beat(7)\n    time.sleep(50)")
    assert done.returncode == 75
    assert "no step after 7 is done within 0.3 s" in done.stderr


def test_not_stuck_while_it_goes_on() -> None:
    beats = "    for step in range(12):\n        pulse.beat(step)\n        time.sleep(0.1)\nprint('through')"
    done = ended(f"with Pulse(None, limit=1.0, startup=60.0) as pulse:\n{beats}")
    assert (done.returncode, done.stdout) == (0, "through\n")


def test_ends_with_its_supervisor(tmp_path: Path) -> None:
    """The process between dies by SIGKILL, which it cannot tell; its worker sees that its parent has changed."""
    file = tmp_path / "0"
    worker = (
        "import pathlib, time; from fnn.parallel.pulse import Pulse\n"
        f"with Pulse(pathlib.Path({str(file)!r}), 60.0, 60.0) as pulse:\n    pulse.beat(1)\n    time.sleep(50)"
    )
    between = (
        "import os, signal, subprocess, sys, time\n"
        f"subprocess.Popen([sys.executable, '-c', {worker!r}])\n"
        f"while not os.path.exists({str(file)!r}): time.sleep(0.05)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    # The worker inherits the pipe: reading ends when it does.
    done = subprocess.run([sys.executable, "-c", between], capture_output=True, text=True, timeout=60)
    assert done.returncode == -9
    assert "the supervisor is gone" in done.stderr
