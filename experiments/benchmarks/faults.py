"""The table of faults: `python -m experiments.benchmarks.faults`.

`experiments.multi_host` trains in four processes under `fnn.parallel.launch`. At one step something befalls one of
them: it is killed, raises an exception, is stopped, or hangs. Measured are the seconds from then until none of the
processes of that attempt runs, as /proc shows them (so this is for Linux), and how far the parameters at the end are
from those of a run that nothing befell.
"""

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np

import fnn
from fnn.checkpoint.seal import opened
from fnn.parallel.launch import launch

WORKER = [sys.executable, "-m", "experiments.multi_host"]
FAULTS = {
    "a worker is killed": ("kill", 1),
    "the coordinator is killed": ("kill", 0),
    "an exception in a worker": ("raise", 1),
    "a worker is stopped": ("stop", 1),
    "a worker hangs": ("hang", 1),
}
CRASHES = ("kill", "raise")
SOON = 2.0  # seconds in which survivors of a crash have to be gone
CLOSE = 1e-6  # how far parameters may be from those of the uninterrupted run
_MARK = "FNN_FAULTS"  # in the environment of all that is started here: the file in which a fault writes its time


def fault(kind: str) -> None:
    """Befalls the process that calls it, and writes down when."""
    if _MARK in os.environ:
        Path(os.environ[_MARK]).write_text(str(time.time()))
    if kind == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif kind == "raise":
        raise RuntimeError("the fault that was asked for")
    elif kind == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    elif kind == "hang":
        while True:
            time.sleep(1)
    else:
        fnn.errors.check_choice("fault", kind, {"kill", "raise", "stop", "hang"})


@dataclass(frozen=True)
class Run:
    """One supervised run: why its first attempt ended, when all of that were gone, how it went on, what was left."""

    why: str
    gone: float
    attempts: int
    status: int
    seconds: float
    left: int


def running(mark: Path, attempt: int | None = None) -> int:
    """How many processes with this mark run, those of one attempt or all."""
    wanted = {f"{_MARK}={mark}"} | (set() if attempt is None else {f"FNN_ATTEMPT={attempt}"})
    count = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            held = (folder / "environ").read_text(encoding="utf-8", errors="replace").split("\0")
        except OSError:  # gone meanwhile, or somebody else's
            continue
        count += wanted <= set(held)
    return count


def gone_after(mark: Path, found: list[float]) -> None:
    """Waits for the fault, then until no process of the first attempt runs; the seconds between."""
    while not (mark.exists() and mark.read_text()):
        if mark.with_suffix(".end").exists():
            return
        time.sleep(0.02)
    while running(mark, 0):
        time.sleep(0.02)
    found.append(time.time() - float(mark.read_text()))


def supervised(words: Sequence[str], processes: int, limit: float, mark: Path) -> Run:
    """Runs the worker under a launch."""
    found: list[float] = []
    watch = threading.Thread(target=gone_after, args=(mark, found))
    watch.start()
    begun = time.perf_counter()
    os.environ[_MARK] = str(mark)
    try:
        launched = launch([*WORKER, *words], processes, limit=limit)
    finally:
        del os.environ[_MARK]
        mark.with_suffix(".end").touch()
        watch.join()
    seconds, first = time.perf_counter() - begun, launched.attempts[0]
    if launched.attempts[-1].ended == "stopped":
        raise SystemExit(launched.status)
    gone = found[0] if found else float("nan")
    return Run(first.why, gone, len(launched.attempts), launched.status, seconds, running(mark))


def parameters(folder: Path) -> dict[str, np.ndarray]:
    """What the newest checkpoint holds under `params`, by path."""
    newest = max(folder.glob("*/manifest.json")).parent
    leaves = opened(newest)["leaves"]
    keys = {name for name, one in leaves.items() if one["dtype"].startswith("key")}
    plain = {name: np.zeros(one["shape"], one["dtype"]) for name, one in leaves.items() if name not in keys}
    held = fnn.checkpoint.restore(folder, plain | {name: jax.random.key(0) for name in keys})
    return {name: np.asarray(held[name]) for name in plain if name.startswith("params/")}


def difference(folder: Path, other: Path) -> float:
    """The largest difference between the parameters of two runs; infinite where they do not have the same."""
    one, two = parameters(folder), parameters(other)
    if not one or {name: a.shape for name, a in one.items()} != {name: a.shape for name, a in two.items()}:
        return float("inf")
    return max(float(np.abs(one[name] - two[name]).max(initial=0.0)) for name in one)


def counts(whole: Path, steps: int, every: int, processes: int, limit: float) -> Iterator[tuple[str, float]]:
    """Runs of fewer processes, and one that goes on with fewer and fewer; how far each ends from the whole one."""
    fewer = [n for n in (1, 2) if n < processes]
    apart = {f"{n} of them": [(n, steps)] for n in fewer}
    parts = [processes, *fewer[::-1]]
    together = [(n, steps * (i + 1) // len(parts)) for i, n in enumerate(parts)]
    for name, stages in {**apart, f"{', then '.join(map(str, parts))}": together}.items():
        folder = whole.with_name(f"processes-{name.replace(' ', '')}")
        for n, until in stages:
            words = ["--steps", str(until), "--every", str(every), "--folder", str(folder)]
            if launch([*WORKER, *words], n, limit=limit).status:
                raise SystemExit(f"error: {n} processes did not reach step {until}")
        yield name, difference(folder, whole)


def main(arguments: list[str] | None = None) -> int:
    """Prints the tables; 1 where somebody survived too long, or a run ended otherwise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=4, help="how many (default: 4)")
    parser.add_argument("--steps", type=int, default=60, help="of a run (default: 60)")
    parser.add_argument("--every", type=int, default=10, help="steps from one checkpoint to the next (default: 10)")
    parser.add_argument("--at", type=int, default=25, help="the step of the fault (default: 25)")
    parser.add_argument("--limit", type=float, default=15.0, help="seconds a step may take (default: 15)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        whole = Path(scratch, "whole")
        rows, wrong = faults(whole, options)
        far = dict(counts(whole, options.steps, options.every, options.processes, options.limit))
    print("| what happens | all gone after, s | attempts | in all, s | largest difference | left running |")
    print("|---|---|---|---|---|---|", *rows, sep="\n")
    print(f"\n| processes | largest difference from {options.processes} |\n|---|---|")
    print(*(f"| {name} | {one:.1e} |" for name, one in far.items()), sep="\n")
    wrong += [name for name, one in far.items() if not one <= CLOSE]
    print(f"not as promised: {'; '.join(wrong)}" if wrong else "all as promised")
    return 1 if wrong else 0


def faults(whole: Path, options: argparse.Namespace) -> tuple[list[str], list[str]]:
    """A run that nothing befalls, in the folder `whole`, and one for each fault: rows of a table, and what is wrong."""
    words = ["--steps", str(options.steps), "--every", str(options.every)]
    plain = supervised([*words, "--folder", str(whole)], options.processes, options.limit, whole.with_suffix(".at"))
    rows = [f"| nothing | | {plain.attempts} | {plain.seconds:.1f} | | {plain.left} |"]
    wrong = ["nothing"] if (plain.status, plain.attempts, plain.left) != (0, 1, 0) else []
    for number, (name, (kind, process)) in enumerate(FAULTS.items()):
        folder = whole.with_name(str(number))
        suffered = ["--fault", kind, "--at", str(options.at), "--process", str(process), "--folder", str(folder)]
        run = supervised([*words, *suffered], options.processes, options.limit, folder.with_suffix(".at"))
        far = difference(folder, whole) if run.status == 0 else float("inf")
        most = SOON if kind in CRASHES else options.limit + SOON
        if not (run.gone <= most and far <= CLOSE and (run.status, run.attempts, run.left) == (0, 2, 0)):
            wrong.append(name)
        rows.append(f"| {name} | {run.gone:.1f} | {run.attempts} | {run.seconds:.1f} | {far:.1e} | {run.left} |")
        print(f"{name}: {run.why}; all gone after {run.gone:.2f} s", flush=True)
    return rows, wrong


if __name__ == "__main__":
    sys.exit(main())
