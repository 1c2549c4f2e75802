"""A process joins its job, hears that it shall stop, and leaves at once where it cannot go on."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fnn
from fnn.parallel import join
from fnn.parallel.launch import launch


def test_alone() -> None:
    with join() as job:
        assert (job.index, job.count, job.attempt) == (0, 1, 0)
        job.beat(1)
        assert not job.stopping(1)
    assert repr(job) == "Job(process 0 of 1)"


def test_alone_it_hears_of_sigterm_and_not_after() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with join() as job:
        os.kill(os.getpid(), signal.SIGTERM)
        assert job.stopping(1)
    assert signal.getsignal(signal.SIGTERM) is before


def test_alone_an_exception_is_an_exception() -> None:
    with pytest.raises(KeyError), join():
        raise KeyError("mine")


def test_alone_nobody_watches() -> None:
    """A debugger may hold a script of one process for as long as it likes."""
    program = "import time, fnn\nwith fnn.parallel.join(limit=0.1, startup=0.1): time.sleep(1)\nprint('through')"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "through\n")


SUM = """
import os, sys, fnn, jax
from jax.experimental import multihost_utils
with fnn.parallel.join(limit=30) as job:
    layout = fnn.parallel.data_parallel()
    rows = fnn.parallel.spread(jax.numpy.arange(4.0), layout)
    total = jax.jit(lambda x: x.sum())(rows)
    print(job, fnn.parallel.stream.own_rows(4, layout).tolist(), float(total), flush=True)
    job.beat(1, total)
    job.stopping(1)
    FAULT
"""


def started(fault: str, tmp_path: Path, **options: Any) -> tuple[Any, list[str]]:
    script = tmp_path / "script.py"
    script.write_text(
        SUM.replace("fnn.parallel.stream.own_rows", "own_rows")
        .replace("FAULT", fault)
        .replace("import os,", "from fnn.parallel.stream import own_rows\nimport os,", 1)
    )
    told: list[str] = []
    os.environ["XLA_FLAGS"], before = "", os.environ.get("XLA_FLAGS", "")
    try:
        return launch([sys.executable, str(script)], 2, tell=told.append, **options), told
    finally:
        os.environ["XLA_FLAGS"] = before


@pytest.mark.usefixtures("processes")
def test_two_processes_have_each_a_part(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    ended, _ = started("pass", tmp_path, restarts=0)
    out = capfd.readouterr().out
    assert ended.status == 0
    assert "[0] Job(process 0 of 2) [0, 1] 6.0" in out
    assert "[1] Job(process 1 of 2) [2, 3] 6.0" in out


@pytest.mark.usefixtures("processes")
def test_an_exception_ends_its_process_at_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The other one waits for a sum that never comes; JAX's own end would wait for it in turn."""
    fault = "if job.index == 1: raise RuntimeError('mine')\n    float(jax.jit(lambda x: x.sum() + 1)(rows))"
    ended, told = started(fault, tmp_path, restarts=0, limit=120.0)
    error = capfd.readouterr().err
    assert ended.attempts[0].ended == "failed"
    assert ended.attempts[0].clearing < 2.0
    assert "[1] process 1 of 2 ends:" in error
    assert "RuntimeError: mine" in error
    assert any("process 1 ended with status 1 at step 1" in line for line in told)


def test_wrong_calls() -> None:
    with pytest.raises(ValueError, match="limit: got 0"), join(limit=0):
        pass
    with pytest.raises(ValueError, match="startup: got -1"), join(startup=-1):
        pass
    with join() as job:
        with pytest.raises(ValueError, match="step: got -1"):
            job.beat(-1)
        with pytest.raises(TypeError, match="step: "):
            job.stopping(1.5)  # type: ignore[arg-type]


def test_fit_and_saver_are_for_one_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import jax

    monkeypatch.setattr(jax, "process_count", lambda: 2)
    data = fnn.data.digits().train
    given = {"key": jax.random.key(0), "epochs": 1, "batch_size": 64}
    with pytest.raises(ValueError, match=r"fit: got 2 processes, expected one. Loop over fnn.parallel.stream"):
        fnn.fit(fnn.nn.mlp([10]), fnn.losses.softmax_cross_entropy, fnn.optim.sgd(0.1), data, **given)
    with pytest.raises(ValueError, match="Saver: got 2 processes, expected one"):
        fnn.checkpoint.Saver(tmp_path, every=0.0).offer(1, {})
