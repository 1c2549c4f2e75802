"""What workers print comes through: whole lines, in any amount, whoever reads them."""

import io
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest

from fnn.parallel.launch import launch
from fnn.parallel.output import say, write

Program = Callable[[str], list[str]]
Output = pytest.CaptureFixture[str]


def test_lines_are_whole(program: Program, capfd: Output) -> None:
    body = """if True:
    for line in range(2000):
        print(f"{ME} {line} " + "x" * 100, file=(sys.stdout, sys.stderr)[line % 2])"""
    assert launch(program(body), 3).status == 0
    out, err = capfd.readouterr()
    for text, odd in ((out, 0), (err, 1)):
        lines = [
            re.fullmatch(r"\[(\d)\] (\d) (\d+) x{100}", line) for line in text.splitlines() if "launch:" not in line
        ]
        assert all(line is not None and line[1] == line[2] for line in lines)
        for me in "012":
            assert [int(line[3]) for line in lines if line and line[1] == me] == list(range(odd, 2000, 2))


def test_much_without_a_newline_comes_through(program: Program, capfd: Output) -> None:
    body = "for file in (sys.stdout, sys.stderr): file.write('x' * 3_000_000); file.flush()"
    assert launch(program(body), 2).status == 0
    out, err = capfd.readouterr()
    assert out.count("x") == err.count("x") == 6_000_000
    assert max(map(len, out.splitlines())) < 200_000


def test_bytes_that_are_no_text(program: Program, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert launch(program("os.write(1, bytes([255, 10, 0xC3]))"), 2).status == 0
    out = capfdbinary.readouterr().out
    assert sorted(out.split(b"\n")) == [b"", b"[0] \xc3", b"[0] \xff", b"[1] \xc3", b"[1] \xff"]


def test_a_descendant_that_left_its_session_holds_nobody_up(program: Program, capfd: Output) -> None:
    body = """if True:
    code = "import time; time.sleep(3)"
    subprocess.Popen([sys.executable, "-S", "-c", code], start_new_session=True, env={})
    print("I go")"""
    launched = launch(program(body), 2)
    assert launched.attempts[0].seconds < 3
    assert sorted(capfd.readouterr().out.splitlines()) == ["[0] I go", "[1] I go"]


@pytest.mark.parametrize("kind", ["closed", "broken", "none"])
def test_nobody_reads(program: Program, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    class Broken(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    stream: Any = {"closed": io.StringIO(), "broken": Broken(), "none": None}[kind]
    if kind == "closed":
        stream.close()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    assert launch(program("print('x' * 1_000_000)"), 2).status == 0


def test_a_stream_of_text_gets_text() -> None:
    stream = io.StringIO()
    write(stream, b"a\xffb\n")
    assert stream.getvalue() == "a\\xffb\n"


def test_what_the_supervisor_says(capsys: Output) -> None:
    say("one")
    assert capsys.readouterr().err == "launch: one\n"
