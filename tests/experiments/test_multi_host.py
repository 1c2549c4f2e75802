"""Several processes end where one ends; one that is killed costs nothing but time; SIGTERM saves."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import fnn
from experiments.benchmarks.faults import difference, running
from experiments.multi_host import Options, launched, main
from fnn.parallel.launch import Launched, launch

pytest.importorskip("grain", reason="streaming needs Grain")

STEPS, EVERY = 24, 8
WORDS = ["--steps", str(STEPS), "--every", str(EVERY), "--limit", "60"]
COMMAND = [sys.executable, "-m", "experiments.multi_host"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process on eight devices."""
    folder = tmp_path_factory.mktemp("whole")
    main(Options(steps=STEPS, every=EVERY, folder=folder))
    assert fnn.checkpoint.steps(folder) == [8, 16, 24]
    return folder


def test_processes_get_all_options_but_their_number(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever the numbers are: here they are equal."""
    given: list[Any] = []
    ended = Launched((), "done")
    monkeypatch.setattr(Launched, "status", 0)
    monkeypatch.setattr(fnn.parallel, "launch", lambda *a, **options: given.extend([*a, options]) or ended)
    assert launched(Options(processes=4, steps=4, every=4, fewest=4, folder=tmp_path)) == 0
    words, processes, options = given
    assert (processes, options["fewest"]) == (4, 4)
    assert "--processes" not in words
    assert [words[words.index(name) + 1] for name in ("--steps", "--every", "--folder")] == ["4", "4", str(tmp_path)]


@contextlib.contextmanager
def one_device_each() -> Iterator[None]:
    before = os.environ["XLA_FLAGS"]
    os.environ["XLA_FLAGS"] = "--xla_backend_optimization_level=2"
    try:
        yield
    finally:
        os.environ["XLA_FLAGS"] = before


@pytest.mark.usefixtures("processes")
def test_two_processes_of_which_one_is_killed(
    whole: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = tmp_path / "at"
    monkeypatch.setenv("FNN_FAULTS", str(mark))
    folder = tmp_path / "folder"
    fault = ["--fault", "kill", "--at", "13", "--process", "1", "--folder", str(folder)]
    with one_device_each():
        ended = launch([*COMMAND, *WORDS, *fault], 2)
    out = capfd.readouterr().out
    assert (ended.status, [one.ended for one in ended.attempts]) == (0, ["failed", "done"])
    assert "killed by SIGKILL" in ended.attempts[0].why
    assert ended.attempts[0].clearing < 2.0
    assert "from step 8: 2 processes, 2 devices" in out
    assert difference(folder, whole) <= 1e-6
    assert running(mark) == 0


@pytest.mark.usefixtures("processes")
def test_sigterm_saves_and_one_process_goes_on(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    command = [sys.executable, "-m", "fnn", "launch", "--processes", "2", "-m", "experiments.multi_host"]
    with one_device_each():
        words = ["--steps", "100000", "--every", str(EVERY), "--folder", str(folder)]
        log = tmp_path / "log"  # a pipe that nobody reads would fill up
        with log.open("w") as file:
            process = subprocess.Popen([*command, *words], stdout=file, stderr=subprocess.STDOUT)
    until = time.monotonic() + 120
    while fnn.checkpoint.latest(folder) is None:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143, log.read_text()
    out = log.read_text()
    assert "stopped, and saved: the same command goes on" in out
    saved = fnn.checkpoint.steps(folder)
    assert saved[-1] % EVERY or len(saved) == 1  # the newest is of the step at which it was stopped
    assert int(fnn.checkpoint.restore(folder, state_like()).step) == saved[-1]
    further = max(saved[-1] + 4, STEPS)
    main(Options(steps=further, every=EVERY, folder=folder))
    other = shutil.copytree(whole, tmp_path / "whole")
    main(Options(steps=further, every=EVERY, folder=other))  # the other run goes on too, as far as that
    assert difference(folder, other) <= 1e-5  # some hundred steps, each of which amplifies what was rounded before


def state_like() -> Any:
    splits = fnn.data.digits()
    net, tx = fnn.nn.mlp([128, 64, 10], dropout=0.1), fnn.optim.momentum(0.5)
    return fnn.train.init_state(jax.random.key(0), net, tx, np.asarray(splits.train.x))
