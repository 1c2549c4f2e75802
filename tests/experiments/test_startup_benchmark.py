"""The benchmark of starting up: its stages, its cache and its tables; nothing about speed."""

from pathlib import Path
from typing import Any

import pytest

from experiments.benchmarks import startup


@pytest.mark.parametrize("name", startup.PROGRAMS)
def test_stages_of_a_first_program(name: str) -> None:
    found = startup.stages(name)
    assert tuple(found) == startup.STAGES
    assert all(seconds > 0 for seconds in found.values())


def test_a_fresh_process_fills_the_cache(tmp_path: Path) -> None:
    found = startup.measured("hand", str(tmp_path))
    assert tuple(found) == startup.STAGES
    assert list(tmp_path.iterdir())


def test_the_tables(capsys: pytest.CaptureFixture[str]) -> None:
    taken = {name: [1.0, 3.0, 2.0 + number] for number, name in enumerate(startup.IMPORTS)}
    times = [dict.fromkeys(startup.STAGES, seconds) for seconds in (1.0, 0.5, 2.0)]
    found: dict[str, Any] = {name: dict.fromkeys(startup.CACHES, times) for name in startup.PROGRAMS}
    startup.table(taken, found, 3)
    printed = capsys.readouterr().out
    assert "import fnn" in printed
    assert "+0.000 s" in printed
    assert printed.count("5.000 s") == 9
