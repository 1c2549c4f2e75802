"""What a fit tells while it runs."""

import sys
from typing import Any

import jax
import pytest

import fnn
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


@pytest.mark.parametrize("progress", [Bar, print, "yes", 1, None])
def test_what_is_no_reporter_is_refused(progress: Any) -> None:
    with pytest.raises(TypeError, match=r"^progress: got .*, expected True, False or a Reporter"):
        reporter_for(progress)


def test_a_reporter_needs_no_init() -> None:
    class Mine(Reporter):
        def __init__(self) -> None:
            self.steps: list[int] = []

        def update(self, step: int, metrics: Any) -> None:
            self.steps.append(step)

    data, reporter = fnn.data.coffee(), Mine()
    net, loss = fnn.nn.mlp([4]), fnn.losses.softmax_cross_entropy
    tx = fnn.optim.sgd(0.1)
    fnn.fit(net, loss, tx, data, key=jax.random.key(0), epochs=2, batch_size=2, progress=reporter)
    assert reporter.steps[-1] == 4
    assert reporter.train_seconds > 0
