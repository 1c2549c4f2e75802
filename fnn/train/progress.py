"""What a fit tells while it runs: nothing, or a progress bar."""

import sys
from collections.abc import Mapping
from typing import Any

from fnn.errors import message


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
    """A progress bar in the terminal: epoch, steps a second, loss, metrics, time left.

    Args:
        part: what the parts of the work are called.
        unit: what is counted by the second.

    Example:
        >>> bar = Bar()
    """

    def __init__(self, part: str = "epoch", unit: str = "steps") -> None:
        self._part, self._unit = part, unit
        self._epochs, self._steps = 0, 1
        self._bar: Any = None
        self._task: Any = None

    def start(self, epochs: int, steps: int) -> None:
        """Draws the empty bar."""
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self._epochs, self._steps = epochs, steps
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[speed]}"),
            TextColumn("{task.fields[metrics]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self._bar.start()
        self._task = self._bar.add_task("compiling", total=epochs * steps, speed="", metrics="")

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        """Moves the bar to this step."""
        epoch = min(step // self._steps + 1, self._epochs)
        speed = f"{step / self.train_seconds:,.0f} {self._unit}/s" if self.train_seconds else ""
        values = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items() if name != "grad_norm")
        self._bar.update(
            self._task, completed=step, description=f"{self._part} {epoch}/{self._epochs}", speed=speed, metrics=values
        )

    def finish(self, outcome: str) -> None:
        """Leaves the bar as it is, with the outcome beside it."""
        self._bar.update(self._task, description=outcome)
        self._bar.stop()


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
