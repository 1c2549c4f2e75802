"""What each way to run the same steps costs: `python -m experiments.benchmarks.overhead`.

A scan written by hand around `make_step` is the measure; `fnn.train.run` by each of its executors and `fnn.fit`, with
progress, history and validation, take the very same steps on the CPU, float32, Adam. Two tasks: 64-128-64-10 on the
digits, batch 64, and 784-512-512-10 on made data of MNIST's shape, batch 128; of both as many examples as fill whole
batches, so that the scan by hand need not know weights.

All take turns of a fraction of a second, so that whatever else the machine does falls on all of them alike; a ratio is
the median over the turns of the ratio within each. A fit's turn is one call of its program with all that the host does
until the next; in between it waits. "compile" is tracing and compiling, "total" that and a run of so many epochs, from
the first parameters on. The bar is drawn as on a terminal, into nothing. What the validation computes is timed by
itself, as one program of one pass after another, and taken off where it says so. The aim: fit at most 5 % over run.
"""

import argparse
import json
import os
import statistics
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import rich

import fnn
from experiments.benchmarks.cnn import machine
from fnn.data import Dataset
from fnn.errors import Interrupted
from fnn.train import TrainState

TASKS = {"digits": ([128, 64, 10], 64, 200, 40), "mnist-shaped": ([512, 512, 10], 128, 10, 1)}
"""Widths, batch size, epochs of a run, epochs of a turn."""
GROWING = 6  # turns until a fit's calls have their length
ASKED = 1.05  # fit without its validation's own work, over run


class Task(NamedTuple):
    """One training, and what it is measured on."""

    widths: list[int]
    batch: int
    epochs: int
    turn: int
    data: Dataset
    validation: Dataset

    @property
    def net(self) -> fnn.nn.Layer:
        """The network."""
        return fnn.nn.mlp(self.widths)

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""
        return len(self.data.x) // self.batch


TX = fnn.optim.adam(1e-3)
LOSS = fnn.losses.softmax_cross_entropy
METRICS = {"accuracy": fnn.metrics.accuracy}


def made(name: str, epochs: int | None = None, turn: int | None = None) -> Task:
    """The task of this name; the data are cut so that all batches are full."""
    widths, batch, usual, usual_turn = TASKS[name]
    if name == "digits":
        data, validation = fnn.data.digits()
    else:
        x = jax.random.uniform(jax.random.key(1), (11_000, 784))
        y = jnp.argmax(x[:, :10], axis=1)
        data, validation = Dataset(x[1000:], y[1000:]), Dataset(x[:1000], y[:1000])
    data = jax.tree.map(lambda a: a[: len(a) // batch * batch], data)
    return Task(widths, batch, epochs or usual, turn or usual_turn, data, validation)


def first(task: Task) -> TrainState:
    """The state before the first step."""
    return fnn.train.init_state(jax.random.key(0), task.net, TX, task.data.x)


def step_of(task: Task) -> fnn.train.Step:
    """The step that all take."""
    return fnn.train.make_step(fnn.train.supervised(task.net, LOSS, metrics=METRICS), TX)


def seconds(function: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """What it returns, and how long that took."""
    begun = time.perf_counter()
    result = jax.block_until_ready(function(*arguments))
    return result, time.perf_counter() - begun


class Contestant:
    """Something that takes turns.

    Attributes:
        begin: seconds from nothing to the first step, without compiling.
        compile: seconds to trace and compile.
        taken: seconds a step, one entry a turn.
    """

    def __init__(self, task: Task) -> None:
        self.begin = self.compile = 0.0
        self.taken: list[float] = []
        self.state, self.begin = seconds(lambda: first(task))

    def turn(self) -> None:
        """Takes some steps."""
        raise NotImplementedError

    def end(self) -> None:
        """No more turns."""


class Pure(Contestant):
    """A pure function of the state, jitted."""

    def __init__(self, task: Task, function: Callable[[TrainState], Any]) -> None:
        super().__init__(task)
        self.steps = task.turn * task.per_epoch
        self.program, self.compile = seconds(lambda: jax.jit(function).lower(self.state).compile())

    def turn(self) -> None:
        """One call of the program."""
        self.taken.append(seconds(self.program, self.state)[1] / self.steps)


class OnHost(Contestant):
    """`run` by an executor that compiles by itself: what the first call takes over the second is compiling."""

    def __init__(self, task: Task, executor: str) -> None:
        super().__init__(task)
        self.steps = task.turn * task.per_epoch
        form: dict[str, Any] = {"batch_size": task.batch, "epochs": task.turn, "executor": executor}
        if executor == "chunks":
            form["chunk"] = self.steps
        self.program = fnn.train.run(step_of(task), task.data, **form)
        whole, again = (seconds(self.program, self.state)[1] for _ in range(2))
        self.compile = max(whole - again, 0.0)

    def turn(self) -> None:
        """As many epochs as any other's turn."""
        self.taken.append(seconds(self.program, self.state)[1] / self.steps)


class Fit(Contestant, fnn.train.Bar):
    """A fit in a thread of its own, which waits after each call of its program until its next turn."""

    def __init__(self, task: Task, **more: Any) -> None:
        Contestant.__init__(self, task)
        fnn.train.Bar.__init__(self)
        self._go, self._came, self._over = threading.Semaphore(0), threading.Semaphore(0), False
        self._before, self._begun = 0, time.perf_counter()
        self._thread = threading.Thread(target=self._fit, args=(task, more), daemon=True)
        self._thread.start()
        self._came.acquire()
        # The first call is one step, which belongs to the beginning.
        self.begin, self.compile = time.perf_counter() - self._begun - self.compile_seconds, self.compile_seconds
        self.taken = []

    def _fit(self, task: Task, more: Any) -> None:
        try:
            fnn.fit(
                task.net, LOSS, TX, task.data, key=jax.random.key(0), epochs=10_000, batch_size=task.batch,
                metrics=METRICS, progress=self, **more,
            )  # fmt: skip
        except Interrupted:
            pass
        finally:
            self._came.release()

    def update(self, step: int, metrics: Any) -> None:
        """Between two calls: the other contestants' turns."""
        super().update(step, metrics)
        self.taken.append((time.perf_counter() - self._begun) / (step - self._before))
        self._before = step
        self._came.release()
        self._go.acquire()
        if self._over:
            raise KeyboardInterrupt
        self._begun = time.perf_counter()

    def turn(self) -> None:
        """One call of the program."""
        self._go.release()
        self._came.acquire()
        if not self._thread.is_alive():
            raise SystemExit("error: the fit has ended before its last turn")

    def end(self) -> None:
        """Breaks the fit off."""
        self._over = True
        self._go.release()
        self._thread.join()


def by_hand(task: Task) -> Pure:
    """A scan over epochs of a scan over batches, as anybody writes it."""
    step = step_of(task)

    def epoch(state: TrainState, number: jax.Array) -> tuple[TrainState, Any]:
        order = jax.random.permutation(jax.random.fold_in(state.key, number), len(task.data.x))
        state, metrics = jax.lax.scan(
            lambda state, rows: step(state, Dataset(task.data.x[rows], task.data.y[rows])),
            state,
            order.reshape(-1, task.batch),
        )
        return state, jax.tree.map(jnp.mean, metrics)

    return Pure(task, lambda state: jax.lax.scan(epoch, state, jnp.arange(task.turn)))


def by_run(task: Task) -> Pure:
    """`run` as one program."""
    return Pure(task, fnn.train.run(step_of(task), task.data, batch_size=task.batch, epochs=task.turn))


def validation_alone(task: Task) -> Pure:
    """As many validations as a fit makes in so many epochs, as one program."""
    evaluate = fnn.train.make_eval(task.net, {"loss": LOSS, **METRICS})

    def once(state: TrainState, _: None) -> tuple[TrainState, Any]:
        measures = evaluate(state, task.validation)
        # The next pass waits for this one, and is another one.
        return state._replace(params=jax.tree.map(lambda w: w + 1e-9 * measures["loss"], state.params)), measures

    return Pure(task, lambda state: jax.lax.scan(once, state, None, length=task.turn))


# Two groups, each with `run` beside a fit: only one bar is drawn at a time.
GROUPS: list[dict[str, Callable[[Task], Contestant]]] = [
    {
        "scan by hand": by_hand,
        "run, scan": by_run,
        "run, chunks": lambda task: OnHost(task, "chunks"),
        "run, host": lambda task: OnHost(task, "host"),
        "fit": Fit,
    },
    {
        "run, scan again": by_run,
        "fit, validation": lambda task: Fit(task, validation=task.validation, patience=10_000),
        "validation alone": validation_alone,
    },
]


class Row(NamedTuple):
    """Seconds: of the beginning, to compile, a step (median of the turns, and each), and of a whole run."""

    begin: float
    compile: float
    step: float
    total: float
    turns: list[float]


def measured(task: Task, turns: int) -> dict[str, Row]:
    """A row for each contestant, those of a group taking turns."""
    rows = {}
    first(task)  # what JAX compiles for it once is no contestant's
    for group in GROUPS:
        contestants = {name: make(task) for name, make in group.items()}
        for _ in range(turns + GROWING):
            for contestant in contestants.values():
                contestant.turn()
        for name, c in contestants.items():
            c.end()
            step = statistics.median(c.taken[-turns:])
            total = c.begin + c.compile + step * task.epochs * task.per_epoch
            rows[name] = Row(c.begin, c.compile, step, total, c.taken[-turns:])
    return rows


def ratio(over: Row, under: Row, less: Row | None = None) -> float:
    """Of the times of a step, the median over the turns, with a third's taken off the first."""
    off = less.turns if less else [0.0] * len(over.turns)
    return statistics.median((a - c) / b for a, b, c in zip(over.turns, under.turns, off, strict=True))


def compared(rows: dict[str, Row]) -> dict[str, float]:
    """Each to the `run` of its own group."""
    bare, again, fit = rows["run, scan"], rows["run, scan again"], rows["fit, validation"]
    return {
        "run / scan by hand": ratio(bare, rows["scan by hand"]),
        "chunks / run": ratio(rows["run, chunks"], bare),
        "host / run": ratio(rows["run, host"], bare),
        "fit, with progress and history / run": ratio(rows["fit"], bare),
        "fit, with validation too / run": ratio(fit, again),
        "the same less the validation alone / run": ratio(fit, again, rows["validation alone"]),
    }


def table(name: str, task: Task, rows: dict[str, Row]) -> None:
    """Prints a task's rows and ratios."""
    widths, steps = "-".join(map(str, [task.data.x.shape[1], *task.widths])), task.epochs * task.per_epoch
    print(f"\n{name}: {widths}, batch {task.batch}; total: {task.epochs} epochs, {steps:,} steps")
    print(f"{'':18}{'us/step':>9}{'compile s':>11}{'total s':>9}{'step / run':>12}{'total / run':>13}")
    bare = rows["run, scan"]
    for row, r in rows.items():
        took = f"{1e6 * r.step:>9.1f}{r.compile:>11.2f}{r.total:>9.2f}"
        print(f"{row:18}{took}{r.step / bare.step:>12.3f}{r.total / bare.total:>13.3f}")
    for pair, value in compared(rows).items():
        print(f"{pair}: {value:.3f}" + (f" (asked {ASKED})" if "less" in pair or "history" in pair else ""))


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=15, help="of each contestant (default: 15)")
    parser.add_argument("--epochs", type=int, help="of the run in the column total (default: 200, 10)")
    parser.add_argument("--turn", type=int, help="epochs of a turn (default: 40, 1)")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), help="which (default: all)")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/overhead.json"), help="file of the results")
    options = parser.parse_args(arguments)
    if min(options.turns, *(n for n in (options.epochs, options.turn) if n is not None), 1) < 1:
        parser.error("turns, epochs and turn are at least 1")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Prints a table for each task and saves all as JSON."""
    options = parsed(arguments)
    here = machine(os.cpu_count() or 1)
    result: dict[str, Any] = {"machine": here, "turns": options.turns, "tasks": {}}
    versions = ", ".join(f"{name} {version}" for name, version in here["versions"].items())
    print(f"{here['processor']}, {here['cores']} cores; {versions}; medians of {options.turns} turns")
    with Path(os.devnull).open("w") as nowhere:
        rich.reconfigure(file=nowhere, force_terminal=True)
        for name in options.tasks:
            task = made(name, options.epochs, options.turn)
            rows = measured(task, options.turns)
            table(name, task, rows)
            settings = {key: value for key, value in task._asdict().items() if not isinstance(value, Dataset)}
            by_name = {row: r._asdict() for row, r in rows.items()}
            result["tasks"][name] = {"settings": settings, "rows": by_name, "ratios": compared(rows)}
    rich.reconfigure()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1))
    print(f"saved: {options.out}")


if __name__ == "__main__":
    main()
