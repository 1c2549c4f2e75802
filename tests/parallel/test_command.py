"""`python -m fnn launch`: its options, what a script gets, and how signals end it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from fnn.__main__ import main
from fnn.parallel.command import parse
from tests.parallel.conftest import running

Program = Callable[[str], list[str]]
Output = pytest.CaptureFixture[str]
TELL = "import os, sys\nprint(os.environ['FNN_PROCESS'], sys.argv[1:])"


def test_arguments_of_the_script_are_its_own(tmp_path: Path, mark: str, capfd: Output) -> None:
    script = tmp_path / "train.py"
    script.write_text(TELL)
    its = ["--processes", "9", "-m", "x", "--p", "--", "-h", "--limit=3"]
    assert main(["launch", "--processes", "2", "--limit", "5", str(script), *its]) == 0
    out, err = capfd.readouterr()
    assert sorted(out.splitlines()) == [f"[0] 0 {its}", f"[1] 1 {its}"]
    assert err == "launch: done: 1 attempt\n"


def test_a_module(tmp_path: Path, mark: str, capfd: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_module.py").write_text(TELL)
    monkeypatch.chdir(tmp_path)
    assert main(["launch", "--processes", "1", "-m", "my_module", "--steps", "3"]) == 0
    assert capfd.readouterr().out == "0 ['--steps', '3']\n"


def test_two_dashes_end_the_options() -> None:
    assert parse(["--processes", "2", "--", "train.py", "--", "x"]).script == ["train.py", "--", "x"]


def test_all_options() -> None:
    words = "--processes 4 --limit 5 --startup 6 --restarts 7 --fewest 2 --grace 8 --port 9 train.py"
    options = parse(words.split())
    assert (options.limit, options.startup, options.restarts, options.fewest) == (5.0, 6.0, 7, 2)
    assert (options.grace, options.port) == (8.0, 9)


@pytest.mark.parametrize("arguments", [["train.py"], ["--processes", "2"], ["--processes", "2", "--proc", "3", "x"]])
def test_a_wrong_line_is_refused(arguments: list[str], capsys: Output) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(arguments)
    assert "usage: python -m fnn launch --processes N" in capsys.readouterr().err


def test_a_wrong_argument_is_told(tmp_path: Path, capsys: Output) -> None:
    assert main(["launch", "--processes", "2", str(tmp_path / "nothing.py")]) == 2
    assert "nothing.py, expected a file of Python" in capsys.readouterr().err
    assert main(["launch", "--processes", "0", "-m", "json.tool"]) == 2
    assert "processes: got 0" in capsys.readouterr().err


def test_the_status_is_that_of_what_failed(program: Program) -> None:
    script = program("sys.exit(7)")[-1]
    assert main(["launch", "--processes", "2", script]) == 7


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129)])
def test_a_signal_ends_all(program: Program, mark: str, number: int, status: int) -> None:
    script = program("subprocess.Popen(['sleep', '1000'])\nprint('on', flush=True)\non_and_on(0)")[-1]
    command = [sys.executable, "-m", "fnn", "launch", "--processes", "2", script]
    supervisor = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ))
    try:
        assert supervisor.stdout is not None
        supervisor.stdout.readline()
        time.sleep(0.1)
        supervisor.send_signal(number)
        _, err = supervisor.communicate(timeout=60)
    finally:
        supervisor.kill()
    assert supervisor.returncode == status
    assert err.decode() == f"launch: stopped by {signal.Signals(number).name}\n"
    assert running(mark) == []
