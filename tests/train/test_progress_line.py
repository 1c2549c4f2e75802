"""The line of a progress bar fits the terminal: what is left out, and in which order."""

import io
import time
from collections.abc import Callable

import pytest
import rich
from rich.console import Console

from fnn.train import Bar
from fnn.train.progress import dropped

METRICS = {"accuracy": 0.9958, "grad_norm": 2.0, "loss": 0.001315, "val_accuracy": 0.9778, "val_loss": 0.05123}
Drawn = Callable[[int, dict[str, float]], list[str]]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Drawn:
    """The lines that a terminal of this width shows: while it runs, and at the end."""

    def draw(width: int, metrics: dict[str, float]) -> list[str]:
        # Not a terminal: what is drawn has no control sequences.
        console = Console(file=io.StringIO(), width=width)
        monkeypatch.setattr(rich, "get_console", lambda: console)
        bar = Bar()
        bar.start(epochs=50, steps=45)
        bar.train_seconds = 0.1
        bar.update(45 * 49, metrics)
        console.print(bar._line())
        bar.finish("done")
        out: list[str] = console.file.getvalue().splitlines()  # pyright: ignore[reportAttributeAccessIssue]
        return [line.rstrip() for line in out if line.strip()]

    return draw


@pytest.mark.parametrize("width", [50, 60, 80, 100, 120, 160, 200])
@pytest.mark.parametrize("metrics", [METRICS, {"loss": 0.5}, {}], ids=["validation", "loss", "none"])
def test_the_line_fits_and_nothing_is_cut(drawn: Drawn, width: int, metrics: dict[str, float]) -> None:
    running, end = drawn(width, metrics)
    assert max(map(len, (running, end))) <= width
    assert running.startswith("epoch 50/50  ")
    assert running.endswith("0:00, 0:00 left")
    assert end.startswith("done  ")
    assert end.endswith("  0:00")
    kept = next((f"{n} {metrics[n]:.4g}" for n in ("val_loss", "loss") if n in metrics), "")
    for line in (running, end):
        assert kept in line
        assert "…" not in line
        assert "grad_norm" not in line


def test_what_goes_first() -> None:
    pieces = {"what": "epoch 49/50", "bar": " " * 24, "speed": "12,941 steps/s", **dict.fromkeys(METRICS, "x" * 12)}
    pieces |= {"time": "0:03, 0:01 left"}
    shown = [dropped(pieces, width) for width in range(200, 0, -1)]
    gone: list[str] = []
    for now in shown:
        assert set(gone) <= now
        gone += [name for name in now if name not in gone]
    assert gone == ["grad_norm", "accuracy", "loss", "speed", "bar", "val_accuracy"]
    assert dropped(pieces | {"time": ""}, 200, {"bar", "no such piece"}) == {"bar"}


def test_without_validation_the_loss_stays() -> None:
    pieces = {"what": "w" * 9, "bar": "b" * 24, "accuracy": "a" * 9, "loss": "l" * 9, "time": "t" * 9}
    assert dropped(pieces, 1) == {"accuracy", "bar"}


def test_what_is_left_out_stays_out_until_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), width=51)
    monkeypatch.setattr(rich, "get_console", lambda: console)
    bar = Bar()
    bar.start(epochs=9, steps=1)

    def line(loss: float) -> str:
        bar.update(1, {"loss": loss})
        with console.capture() as out:
            console.print(bar._line())
        return out.get()

    assert "━" in line(0.1)
    assert "━" not in line(0.1234)
    assert "━" not in line(0.1)
    console.width = 52
    assert "━" in line(0.1)
    console.width = 51
    assert "━" not in line(0.1234)
    bar.finish("done")
    assert "━" in console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]


def test_time_is_told_in_hours_minutes_and_seconds(monkeypatch: pytest.MonkeyPatch, drawn: Drawn) -> None:
    now = iter([0.0, *[3725.0] * 9])
    monkeypatch.setattr(time, "perf_counter", lambda: next(now, 3725.0))
    assert drawn(100, {})[-1].endswith("1:02:05")
