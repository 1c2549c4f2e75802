"""The benchmark of saving prints its table and saves it, on a network that is small."""

import json
from pathlib import Path

import pytest

from experiments.benchmarks import checkpoints


def test_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "found" / "checkpoints.json"
    checkpoints.main(["--width", "16", "--every", "0.3", "--turns", "1", "--out", str(out)])
    printed = capsys.readouterr().out
    assert "a checkpoint alone: " in printed
    assert "most memory: " in printed
    row = json.loads(out.read_text())
    assert row["parameters"] == 4096 * 16 + 16 + 16 * 16 + 16 + 16 * 10 + 10
    # Parameters and both of Adam's moments, four bytes each; the rest says what they are.
    assert 12 * row["parameters"] * 0.8 < row["bytes"] < 13 * row["parameters"] + 50_000
    assert row["ratio"] > 0.5
