"""What a fit tells while it runs."""

import sys

import pytest

from fnn.train import Bar, Reporter
from fnn.train.progress import reporter_for


def test_a_bar_only_where_the_output_is_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert isinstance(reporter_for(True), Bar)
    assert type(reporter_for(False)) is Reporter
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False, raising=False)
    assert type(reporter_for(True)) is Reporter


def test_a_given_reporter_is_used_as_it_is() -> None:
    reporter = Reporter()
    assert reporter_for(reporter) is reporter


def test_bar_shows_epoch_speed_and_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar()
    bar.start(epochs=2, steps=10)
    bar.train_seconds = 0.5
    bar.update(15, {"loss": 0.25, "val_accuracy": 0.875, "grad_norm": 3.0})
    bar.finish("done")
    out = " ".join(capsys.readouterr().out.split())
    assert "30 steps/s" in out
    assert "loss 0.25" in out
    assert "val_accuracy 0.875" in out
    assert "grad_norm" not in out
    assert "done" in out
