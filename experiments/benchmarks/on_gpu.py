"""All that is asked of a machine with a GPU, in one go: `python -m experiments.benchmarks.on_gpu FOLDER`.

First whether fnn computes right there (`doctor`, `shipped`, `tests`), then how fast (the parts of
`experiments.benchmarks.gpu`, and `overhead` and `guard`). Each part is a process with a time of its own; one that
fails or is late does not stop the others. The folder gets `log.txt`, all that they print, and `results.json`; the last
lines printed are a short table.

`doctor`, `shipped` and `tests` run at the same time. The tests' tolerances are those of float32, so that their
products are taken at "highest", and kernels that always give the same bits are asked of XLA.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
GRACE = 15  # seconds in which a part that is late may tell how far it came
# Quick ones, of the core; those of several devices and those of other libraries are left out.
TESTS = [
    "tests/train/test_step.py", "tests/train/test_run.py", "tests/train/test_executors.py",
    "tests/train/test_precision.py", "tests/train/test_guard.py", "tests/train/test_order.py",
    "tests/optim/test_adam.py", "tests/optim/test_sgd.py", "tests/optim/test_momentum.py",
    "tests/optim/test_rmsprop.py", "tests/optim/test_adagrad.py", "tests/nn/test_dense.py",
    "tests/nn/test_activation.py", "tests/nn/test_batch_norm.py", "tests/nn/test_conv.py", "tests/nn/test_cnn.py",
    "tests/nn/test_dropout.py", "tests/nn/test_remat.py", "tests/test_losses.py", "tests/test_softmax.py",
    "tests/data/test_shuffle.py", "tests/population/test_sweep.py",
]  # fmt: skip
EXACT = {
    "JAX_DEFAULT_MATMUL_PRECISION": "highest",
    "XLA_FLAGS": "--xla_gpu_deterministic_ops=true --xla_gpu_autotune_level=0",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
}
OFF = {"XLA_FLAGS": "--xla_gpu_enable_command_buffer="}
SHARED = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}


class Part(NamedTuple):
    """One of the parts.

    Attributes:
        command: of Python, with {json} for a file of results and {folder} for an empty folder.
        seconds: that it may take.
        env: set in its environment.
        beside: whether it runs at the same time as its neighbours that do.
        tail: how many of its last lines are told at the end; 0 tells all.
    """

    command: list[str]
    seconds: float
    env: dict[str, str] = {}  # noqa: RUF012
    beside: bool = False
    tail: int = 0


def of_gpu(part: str, seconds: float, *more: str) -> Part:
    """A part of `experiments.benchmarks.gpu`."""
    module = ["-m", "experiments.benchmarks.gpu", "--parts", part, "--out", "{json}"]
    return Part([*module, "--seconds", str(seconds - GRACE), *more], seconds)


def parts(workers: int, tests: list[str]) -> dict[str, Part]:
    """All of them, the first to run first."""
    quick = ["-q", "-p", "no:cacheprovider", "-p", "no:benchmark", "--tb=line", "-n", str(workers)]
    return {
        "doctor": Part(["-m", "fnn", "doctor"], 90, SHARED, beside=True, tail=25),
        "shipped": Part(["-m", "experiments.benchmarks.shipped", "{folder}"], 90, SHARED, beside=True),
        "tests": Part(["-m", "pytest", *quick, *tests], 120, EXACT, beside=True, tail=30),
        "limit": of_gpu("limit", 45),
        "launches": of_gpu("launches", 130),
        # By a flag of the whole process: no command buffers.
        "launches-off": of_gpu("launches", 50, "--only", "1 default")._replace(env=OFF),
        "mlp": of_gpu("mlp", 220),
        "population": of_gpu("population", 120, "--sizes", "64", "1024", "4096"),
        "cnn": of_gpu("cnn", 110),
        "overhead": Part(["-m", "experiments.benchmarks.overhead", "--turns", "5", "--out", "{json}"], 80, SHARED),
        "guard": Part(["-m", "experiments.benchmarks.guard", "--repeats", "5", "--out", "{json}"], 60, SHARED),
    }


class Running:
    """A part's process and what it prints."""

    def __init__(self, name: str, part: Part, folder: Path) -> None:
        self.name, self.part, self.begun = name, part, time.monotonic()
        self.json, self.log = folder / f"{name}.json", (folder / f"{name}.txt").open("w+")
        self.json.parent.joinpath(name).mkdir()
        command = [word.format(json=self.json, folder=folder / name) for word in part.command]
        self.process = subprocess.Popen(
            [sys.executable, *command], env={**os.environ, "PYTHONUNBUFFERED": "1", **part.env}, cwd=ROOT,
            stdout=self.log, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def finished(self) -> dict[str, Any]:
        """What it came to, when it is over or its time is; then nothing of it runs any more."""
        status: int | str = "late"
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = self.process.wait(max(0.1, self.begun + self.part.seconds - time.monotonic()))
        if status == "late":
            self.process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(GRACE)
        seconds = time.monotonic() - self.begun
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.seek(0)
        printed = self.log.read()
        self.log.close()
        told: dict[str, Any] = {"status": status, "seconds": round(seconds, 1), "printed": printed}
        with contextlib.suppress(OSError, ValueError):
            told["json"] = json.loads(self.json.read_text())
        return told


def table(found: dict[str, dict[str, Any]], chosen: dict[str, Part]) -> str:
    """The end of what each part printed, and how it ended."""
    lines = []
    for name, told in found.items():
        said = [line for line in told["printed"].splitlines() if line.strip() and "round " not in line]
        lines += [f"\n== {name}: ended with {told['status']} after {told['seconds']} s", *said[-chosen[name].tail :]]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Runs the parts; 0 where each has ended well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="for log.txt and results.json")
    parser.add_argument("--only", nargs="+", choices=parts(1, []), help="these parts (default: all)")
    parser.add_argument("--without", nargs="+", choices=parts(1, []), default=[], help="all but these")
    parser.add_argument("--seconds", type=float, default=1e9, help="after so many no part begins")
    parser.add_argument("--tests", nargs="+", default=TESTS, help="files of tests (default: some of the core's)")
    parser.add_argument("--workers", type=int, default=14, help="of the tests (default: 14)")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    all_parts, begun = parts(options.workers, options.tests), time.monotonic()
    chosen = {n: p for n, p in all_parts.items() if n in (options.only or all_parts) and n not in options.without}
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder, (options.folder / "log.txt").open("w") as log:
        running: list[Running] = []
        for (name, part), after in zip(chosen.items(), [*list(chosen.values())[1:], None], strict=True):
            if time.monotonic() - begun > options.seconds and not running:
                found[name] = {"status": "not begun", "seconds": 0, "printed": ""}
                continue
            print(f"{time.monotonic() - begun:6.1f} s: {name}", flush=True)
            running.append(Running(name, part, Path(folder)))
            if part.beside and after is not None and after.beside:
                continue
            for one in running:
                found[one.name] = one.finished()
                print(f"\n==== {one.name}\n{found[one.name]['printed']}", file=log, flush=True)
            running = []
            results = {name: {k: v for k, v in told.items() if k != "printed"} for name, told in found.items()}
            (options.folder / "results.json").write_text(json.dumps(results, indent=1))
    print(table(found, chosen))
    print(f"\n{time.monotonic() - begun:.0f} s in all; saved: {options.folder}/log.txt, results.json")
    return int(any(told["status"] != 0 for told in found.values()))


if __name__ == "__main__":
    sys.exit(main())
