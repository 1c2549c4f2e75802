"""The benchmark that kills: a run that is killed once ends as the one that is not, and one that does not is told."""

import pytest

from experiments.benchmarks import kills

Output = pytest.CaptureFixture[str]


@pytest.mark.parametrize("what", ["fit", "sweep"])
def test_killed_once(what: str, monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    monkeypatch.setenv("JAX_ENABLE_COMPILATION_CACHE", "false")  # each process compiles for itself, as after a crash
    assert kills.main(["--kills", "1", "--what", what, "--length", "20"]) == 0
    assert "1 kills, " in capsys.readouterr().out


def test_other_bits_are_told(monkeypatch: pytest.MonkeyPatch, capsys: Output) -> None:
    digests = iter("abab")
    monkeypatch.setattr(kills, "ended", lambda folder, what, length: (next(digests), 1.0))
    monkeypatch.setattr(kills, "killed", lambda folder, what, length, after: True)
    assert kills.main(["--kills", "7"]) == 1
    assert "7 kills, 7 of them in the middle of saving: 1 ended with other bits" in capsys.readouterr().out
