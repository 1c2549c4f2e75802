"""How long one training step of a multi-layer perceptron takes: `python -m experiments.benchmarks.mlp`.

Three tasks on the CPU, Adam, float32: 64-128-64-10 on the digits, batch 64; and of made data of MNIST's shape
784-512-512-10, batch 128, and 784-2048-2048-10, batch 1024. Each contestant has a process of its own, on the same
cores; they take turns of whole epochs, shuffled anew, so that whatever else the machine does falls on all alike. A
library that is not installed is left out.

"products" are the matrix products of a step alone, forward and of both gradients, in a compiled loop: what the cores
can do at most. GFLOP/s count only them. "compile" is what the first turn takes longer, "total" that and a whole run of
so many steps. For small networks PyTorch and scikit-learn are faster on one thread, which is not their default: the
rows "one thread". Who does not have the turn waits ("idle": how much of a core it used at most).
"""

import argparse
import contextlib
import importlib.util
import json
import statistics
import sys
from pathlib import Path
from typing import Any, NamedTuple

from experiments.benchmarks.cnn import check_learned, headline, machine, pinned, tell_ratios
from experiments.benchmarks.mlp_task import SHAPES, Task, flops
from experiments.benchmarks.turns import Failed, Process


class Peer(NamedTuple):
    """A contestant: its name in the table, what must be installed, and its environment."""

    label: str
    module: str = "jax"
    env: dict[str, str] = {}  # noqa: RUF012


ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
PEER = {
    "matmul": Peer("the matrix products alone"),
    "fnn": Peer("fnn, run as one program"),
    "fnn-fit": Peer("fnn.fit, with bar and history"),
    "optax-scan": Peer("a scan by hand, Optax", "optax"),
    "optax-loop": Peer("a host loop by hand, jitted, Optax", "optax"),
    "linen": Peer("Flax Linen + Optax, jitted loop", "flax"),
    "nnx": Peer("Flax NNX + Optax, nnx.jit", "flax"),
    "equinox": Peer("Equinox + Optax, eqx.filter_jit", "equinox"),
    "keras": Peer("Keras 3 on JAX, fit", "keras", {"KERAS_BACKEND": "jax"}),
    "torch-loader": Peer("PyTorch, DataLoader", "torch"),
    "torch": Peer("PyTorch, tuned", "torch"),
    "torch-compile": Peer("PyTorch, tuned, torch.compile", "torch"),
    "torch-one-thread": Peer("PyTorch, tuned, one thread", "torch", ONE_THREAD),
    "torch-compile-one-thread": Peer("PyTorch, tuned, torch.compile, one thread", "torch", ONE_THREAD),
    "sklearn": Peer("scikit-learn", "sklearn"),
    "sklearn-one-thread": Peer("scikit-learn, one thread", "sklearn", ONE_THREAD),
}
TUNED = [name for name in PEER if name.startswith("torch") and name != "torch-loader"]
SKLEARN = ["sklearn", "sklearn-one-thread"]
BY_HAND = ["optax-loop", "optax-scan"]
OTHERS = [name for name in PEER if name not in ("matmul", "fnn", "fnn-fit")]
BEST = {"best peer / fnn": (OTHERS, ["fnn"], 1.0), "products / fnn": (["matmul"], ["fnn"], 0.92)}
# What is asked for: the first ones' best time over the others' best, and how much it should be.
ASKED: dict[str, dict[str, tuple[list[str], list[str], float]]] = {
    "digits": {
        "PyTorch tuned / fnn": (TUNED, ["fnn"], 4.0),
        "PyTorch with DataLoader / fnn": (["torch-loader"], ["fnn"], 8.0),
        "scikit-learn / fnn": (SKLEARN, ["fnn"], 3.0),
        "NNX / fnn": (["nnx"], ["fnn"], 8.0),
        "Equinox / fnn": (["equinox"], ["fnn"], 3.5),
        "best by hand / fnn": (BY_HAND, ["fnn"], 1.0),
    },
    "mnist": BEST,
    "mnist-wide": BEST,
}


class Worker(Process):
    """A contestant's process, and the turns that it did."""

    def __init__(self, name: str, task: Task) -> None:
        self.name, self.task, self.turns = name, task, []
        super().__init__("experiments.benchmarks.mlp_peers", name, task, PEER[name].env)

    def turn(self) -> None:
        """Lets it do one turn."""
        self.turns.append({"steps": self.task.steps, **self.ask()})

    def row(self) -> dict[str, Any]:
        """What it took, without the two turns that warm it up."""
        times = [1e6 * turn["seconds"] / turn["steps"] for turn in self.turns]
        us, first = statistics.median(times[2:]), self.turns[0]
        shape, took = self.task.shape, max(0.0, first["seconds"] - us * first["steps"] / 1e6)
        return {
            "label": PEER[self.name].label,
            "us": us,
            "gflops": flops(shape.widths, shape.batch) / us / 1e3,
            "compile_seconds": took,
            "total_seconds": took + us * shape.run / 1e6,
            "idle": max(turn["waiting"] for turn in self.turns[2:]),
            "losses": [turn["loss"] for turn in self.turns],
            "turns_us": times[2:],
        }


def started(name: str, task: Task) -> Worker:
    """A contestant that has warmed up."""
    if importlib.util.find_spec(PEER[name].module) is None:
        raise Failed(f"{PEER[name].module} is not installed")
    if name.endswith("one-thread") and task.cores == 1:
        raise Failed("the same as without, on one core")
    print(f"{task.name}: starting {name} ...", file=sys.stderr)
    worker = Worker(name, task)
    try:
        worker.turn()
        worker.turn()
    except BaseException:
        worker.end()
        raise
    return worker


def measured(task: Task, names: list[str], rounds: int) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """A row for each contestant, and why the others have none."""
    left_out: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        workers: list[Worker] = []
        for name in names:
            try:
                workers.append(started(name, task))
                stack.callback(workers[-1].end)
            except Failed as reason:
                left_out[name] = str(reason)
        for number in range(rounds):
            print(f"{task.name}: round {number + 1} of {rounds}", file=sys.stderr)
            for worker in workers:
                worker.turn()
        check_learned({worker.name: [turn["loss"] for turn in worker.turns] for worker in workers})
        return {worker.name: worker.row() for worker in workers}, left_out


def compared(name: str, rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """The ratios that are asked for, of those that there are."""
    found = {}
    for ratio, (peers, ours, asked) in ASKED[name].items():
        best = [min((rows[n]["us"] for n in side if n in rows), default=None) for side in (peers, ours)]
        if best[0] and best[1]:
            found[ratio] = {"ratio": best[0] / best[1], "asked": asked}
    return found


def table(name: str, found: dict[str, Any]) -> None:
    """Prints a task's rows, who is left out, and the ratios."""
    shape, rows = SHAPES[name], found["rows"]
    print(f"\n{'-'.join(map(str, shape.widths))}, batch {shape.batch}; total: {shape.run:,} steps")
    print(f"{'':42}{'us/step':>10}{'GFLOP/s':>9}{'time / fnn':>12}{'compile s':>11}{'total s':>9}{'idle':>6}")
    for row in rows.values():
        ratio = f"{row['us'] / rows['fnn']['us']:.2f}" if "fnn" in rows else ""
        took = f"{row['us']:>10.1f}{row['gflops']:>9.1f}{ratio:>12}"
        print(f"{row['label']:42}{took}{row['compile_seconds']:>11.1f}{row['total_seconds']:>9.2f}{row['idle']:>6.2f}")
    for peer, reason in found["left_out"].items():
        print(f"{PEER[peer].label:42}  left out: {reason}")
    tell_ratios(found["ratios"])


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contestant (default: 7)")
    parser.add_argument("--epochs", type=int, help="of a turn (default: 20 of the digits, 1 of the others)")
    parser.add_argument("--cores", type=int, default=2, help="on so many cores, all the same ones (default: 2)")
    parser.add_argument("--tasks", nargs="+", choices=SHAPES, default=list(SHAPES), help="which (default: all)")
    parser.add_argument("--only", nargs="+", choices=PEER, metavar="NAME", help=f"of {', '.join(PEER)}")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/mlp.json"), help="JSON file of the results")
    options = parser.parse_args(arguments)
    if min(options.rounds, options.cores, 1 if options.epochs is None else options.epochs) < 1:
        parser.error("rounds, epochs and cores are at least 1")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Prints a table for each task and saves all as JSON."""
    options = parsed(arguments)
    here = machine(options.cores)
    print(f"{headline(here)}; medians of {options.rounds} turns")
    result: dict[str, Any] = {"machine": here, "settings": {**vars(options), "out": str(options.out)}, "tasks": {}}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for name in options.tasks:
        task = Task(name, options.epochs or SHAPES[name].turn, options.cores)
        with pinned(options.cores):
            rows, left_out = measured(task, options.only or list(PEER), options.rounds)
        found = {"rows": rows, "left_out": left_out, "ratios": compared(name, rows)}
        result["tasks"][name] = {"shape": SHAPES[name]._asdict(), "epochs": task.epochs, **found}
        table(name, found)
        options.out.write_text(json.dumps(result, indent=1))
    print(f"\nsaved: {options.out}")


if __name__ == "__main__":
    main()
