"""Small programs without JAX, launched as workers, and a look at what they leave running."""

import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

_BEGIN = """
import faulthandler, os, signal, subprocess, sys, time

ME, PROCESSES, ATTEMPT = (int(os.environ[f"FNN_{name}"]) for name in ("PROCESS", "PROCESSES", "ATTEMPT"))


def beat(step):
    path = os.path.join(os.environ["FNN_BEATS"], str(ME))
    with open(path + ".new", "w") as file:
        file.write(str(step))
    os.replace(path + ".new", path)


def meet(name):
    # As a collective would: nobody goes on before all are there.
    folder = os.environ["FNN_BEATS"]
    open(os.path.join(folder, f"{name}-{ME}"), "w").close()
    while not all(os.path.exists(os.path.join(folder, f"{name}-{number}")) for number in range(PROCESSES)):
        time.sleep(0.01)


def all_at(step):
    meet("started")
    beat(step)
    meet("there")


def on_and_on(step):
    while True:
        step += 1
        beat(step)
        time.sleep(0.02)
"""


def running(mark: str) -> list[str]:
    """The processes that have the mark in their environment, where the system shows it."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (folder / "environ").read_bytes():
                found.append((folder / "cmdline").read_text().replace("\0", " "))
        except OSError:  # gone, or not ours
            continue
    return found


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """In the environment of all that the test starts; at its end none of these runs any more."""
    text = f"mark-{uuid.uuid4().hex}"
    monkeypatch.setenv("FNN_TEST_MARK", text)
    yield text
    until = time.monotonic() + 0.5  # what was killed may take a moment
    while running(text) and time.monotonic() < until:
        time.sleep(0.01)
    assert running(text) == []


@pytest.fixture
def program(tmp_path: Path, mark: str) -> Callable[[str], list[str]]:
    """A worker's command from what it does: `beat`, `meet`, `all_at` and `on_and_on` are there."""
    del mark

    def of(body: str) -> list[str]:
        path = tmp_path / "worker.py"
        path.write_text(f"{_BEGIN}\n{body}\n", encoding="utf-8")
        # Without site it starts at once.
        return [sys.executable, "-S", str(path)]

    assert os.environ["FNN_TEST_MARK"]
    return of


@pytest.fixture(autouse=True)
def _signals_are_heard() -> Iterator[None]:
    """A shell starts what is in the background, or under nohup, with signals ignored; a launch would heed none."""
    usual = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGHUP: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
