"""What a fit tells while it runs: nothing, or a progress bar."""

import sys
import time
from collections.abc import Collection, Mapping
from typing import Any

from fnn.errors import message

_BAR, _GAP = 24, 2  # columns
_STYLES = {"speed": "red", "time": "cyan"}


class Reporter:
    """Keeps the times of a fit and shows nothing; a subclass shows what it likes.

    Attributes:
        compile_seconds: time to trace and compile the program.
        train_seconds: time spent in it.

    Example:
        >>> reporter = Reporter()
        >>> data = fnn.data.Dataset(jnp.ones((4, 1)), jnp.ones((4, 1)))
        >>> fit = lambda: fnn.fit(fnn.nn.mlp([1]), fnn.losses.squared_error, fnn.optim.sgd(0.1), data,
        ...     key=jax.random.key(0), epochs=1, batch_size=2, progress=reporter)
        >>> _ = fit()
        >>> reporter.compile_seconds > 0, reporter.train_seconds > 0
        (True, True)
    """

    compile_seconds = 0.0
    train_seconds = 0.0

    def start(self, epochs: int, steps: int) -> None:
        """The fit begins: so many epochs of so many steps."""

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        """So many steps are done; the latest known metrics by name."""

    def finish(self, outcome: str) -> None:
        """The fit has ended, and how."""


class Bar(Reporter):
    """A progress bar in the terminal: epoch, steps a second, loss, metrics, time so far and time left.

    Where the terminal is too narrow for all of them, first the training metrics go, then the speed, then the
    bar itself, then what is measured in validation beside its loss. The rest stays.

    Args:
        part: what the parts of the work are called.
        unit: what is counted by the second.

    Example:
        >>> bar = Bar()
    """

    def __init__(self, part: str = "epoch", unit: str = "steps") -> None:
        self._part, self._unit = part, unit
        self._epochs, self._steps = 0, 1
        self._step, self._metrics = 0, {}
        self._outcome, self._ended = "", None
        self._console: Any = None
        self._live: Any = None
        self._width, self._dropped = 0, frozenset()

    def start(self, epochs: int, steps: int) -> None:
        """Draws the empty bar."""
        from rich import get_console
        from rich.live import Live

        self._epochs, self._steps, self._begun = epochs, steps, time.perf_counter()
        self._console = get_console()
        self._live = Live(console=self._console, get_renderable=self._line, refresh_per_second=10)
        self._live.start()

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        """Moves the bar to this step."""
        self._step, self._metrics = step, dict(metrics)

    def finish(self, outcome: str) -> None:
        """Leaves the bar as it is, with the outcome beside it."""
        self._outcome, self._ended = outcome, time.perf_counter()
        self._dropped = frozenset()
        self._live.stop()

    def _line(self) -> Any:
        """What is shown now, in one line of the terminal."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        pieces, width = self._pieces(), self._console.width
        if width != self._width:
            self._width, self._dropped = width, frozenset()
        # What was dropped stays so: numbers change their length, and the line would flicker.
        self._dropped = dropped(pieces, width, self._dropped)
        shown = [name for name in pieces if name not in self._dropped]
        line = Table.grid(padding=(0, _GAP, 0, 0), pad_edge=False)
        for _ in shown:
            line.add_column(no_wrap=True)
        bar = ProgressBar(self._epochs * self._steps, self._step, width=_BAR)
        line.add_row(*(bar if name == "bar" else Text(pieces[name], _STYLES.get(name, "")) for name in shown))
        return line

    def _pieces(self) -> dict[str, str]:
        """All that there is to show, by name, in its order."""
        epoch = min(self._step // self._steps + 1, self._epochs)
        running = f"{self._part} {epoch}/{self._epochs}" if self._step else "compiling"
        seconds, per_second = (self._ended or time.perf_counter()) - self._begun, 0.0
        if self.train_seconds:
            per_second = self._step / self.train_seconds
        left = ""
        if per_second and not self._outcome:
            left = f", {_clock((self._epochs * self._steps - self._step) / per_second)} left"
        return {
            "what": self._outcome or running,
            "bar": " " * _BAR,
            **({"speed": f"{per_second:,.0f} {self._unit}/s"} if per_second else {}),
            **{name: f"{name} {value:.4g}" for name, value in self._metrics.items() if name != "grad_norm"},
            "time": f"{_clock(seconds)}{left}",
        }


def dropped(pieces: Mapping[str, str], width: int, already: Collection[str] = ()) -> frozenset[str]:
    """Which pieces of a line to leave out, so that the rest fits.

    Args:
        pieces: texts by name, in their order; metrics are all but "what", "bar", "speed" and "time".
        width: of the terminal, in columns.
        already: what is left out in any case.

    Example:
        >>> line = {"what": "epoch 3/9", "speed": "99 steps/s", "loss": "loss 1", "val_loss": "val_loss 2"}
        >>> [sorted(dropped(line, width)) for width in (50, 40, 25)]
        [[], ['loss'], ['loss', 'speed']]
    """
    metrics = [name for name in pieces if name not in ("what", "bar", "speed", "time")]
    kept = "val_loss" if "val_loss" in metrics else "loss"
    others = [name for name in reversed(metrics) if name not in ("loss", kept)]
    training = [*(name for name in others if not name.startswith("val_")), *({"loss"} - {kept})]
    validation = [name for name in others if name.startswith("val_")]
    out = set(already) & set(pieces)
    for name in (*training, "speed", "bar", *validation):
        shown = [len(text) for other, text in pieces.items() if other not in out]
        if sum(shown) + _GAP * (len(shown) - 1) <= width:
            break
        out |= {name} & set(pieces)
    return frozenset(out)


def _clock(seconds: float) -> str:
    whole = round(seconds)
    hours = f"{whole // 3600}:" if whole >= 3600 else ""
    return f"{hours}{whole // 60 % 60:0{2 if hours else 1}}:{whole % 60:02}"


def reporter_for(progress: bool | Reporter) -> Reporter:
    """The reporter that `fit(progress=...)` asks for: a bar only where the output is a terminal.

    Example:
        >>> type(reporter_for(False)).__name__
        'Reporter'
    """
    if isinstance(progress, Reporter):
        return progress
    if not isinstance(progress, bool):
        raise TypeError(message("progress", progress, "True, False or a Reporter", "Such as fnn.train.Bar()."))
    return Bar() if progress and sys.stdout.isatty() else Reporter()
