"""The benchmarks on a GPU: `python -m experiments.benchmarks.gpu`.

`mlp` are the three perceptrons of `experiments.benchmarks.mlp`, `cnn` the network of `experiments.benchmarks.cnn`, and
`population` the ensembles of `experiments.benchmarks.population`, a whole sweep on the device at once. All of JAX is
one process and all of PyTorch another, and their contestants take turns; the loss of each must fall. `limit` are large
products and copies: what the device can do at most.

Products of float32 are as exact as float32 ("float32"; JAX's precision "highest"), or take TF32 ("tf32", what JAX does
by default on such a device), for JAX and PyTorch alike; "bfloat16" is fnn's `precision="bfloat16"` and PyTorch's
autocast, parameters and update in float32.

`launches` is one perceptron in a scan written by hand around fnn's step: unrolled so far, and with command buffers
(CUDA graphs) of XLA for other kinds of operations. `order` is what drawing the order of an epoch costs.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from experiments.benchmarks.cnn import headline, machine
from experiments.benchmarks.cnn_worker import flops as cnn_flops
from experiments.benchmarks.gpu_task import BUFFERS, CNN_BATCH, PRECISIONS, Task
from experiments.benchmarks.mlp_task import SHAPES, flops
from experiments.benchmarks.turns import Failed, Process

MODULES = {"jax": "experiments.benchmarks.gpu_jax", "torch": "experiments.benchmarks.gpu_torch"}
LABEL = {
    "matmul": "the matrix products alone",
    "fnn": "fnn, run as one program",
    "optax-scan": "a scan by hand, Optax",
    "optax-loop": "a host loop by hand, Optax",
    "linen": "Flax Linen + Optax, host loop",
    "nnx": "Flax NNX + Optax, host loop",
    "equinox": "Equinox + Optax, host loop",
    "fnn-loop": "fnn, host loop",
    "torch-loader": "PyTorch, DataLoader",
    "torch": "PyTorch, tuned",
    "torch-compile": "PyTorch, tuned, torch.compile",
    "torch-graph": "PyTorch, tuned, an epoch as CUDA graph",
}
EXACT = ["matmul", "fnn", "torch-graph"]  # in every precision; all others in TF32, JAX's default, alone
SMALL = ["linen", "nnx", "equinox", "torch-loader"]  # on the smallest task alone, where it is the host that is slow
EPOCHS = {"digits": 40, "mnist": 5, "mnist-wide": 20}  # of a turn
CNN_STEPS, SIDE, TIMES, MEGABYTES = 200, 8192, 20, 4000
NETS = {"64-32-10": [64, 32, 10], "64-128-64-10": [64, 128, 64, 10]}
UNROLLS = (1, 2, 4, 8)
TRAINED, LEARNED = ("mlp", "cnn", "launches"), 0.05


class Job(NamedTuple):
    """A contestant on a task.

    Attributes:
        task: what the table says of it.
        name, kind, arguments: of the contestant, what builds it, and from what.
        precision: of PRECISIONS.
        steps: of one turn.
        flops: of one step's products, or bytes.
    """

    task: str
    name: str
    kind: str
    arguments: list[Any]
    precision: str = "tf32"
    steps: int = 1
    flops: float = 0.0

    @property
    def library(self) -> str:
        """Whose process it is in."""
        return "torch" if self.name.startswith("torch") else "jax"


def mlp_jobs(options: argparse.Namespace) -> list[Job]:
    """Each perceptron: its precisions, its contestants."""
    jobs = []
    for shape in options.tasks:
        widths, batch, examples = SHAPES[shape][:3]
        epochs = options.epochs or EPOCHS[shape]
        named = "-".join(map(str, widths)) + f", batch {batch}"
        for name in LABEL:
            if name == "fnn-loop" or (name in SMALL and shape != "digits"):
                continue
            for precision in PRECISIONS if name in EXACT else ["tf32"]:
                steps, work = epochs * (examples // batch), flops(widths, batch)
                jobs.append(Job(named, name, "mlp", [shape, epochs], precision, steps, work))
    return jobs


def cnn_jobs(options: argparse.Namespace) -> list[Job]:
    """The convolutional network."""
    steps = CNN_STEPS if options.epochs is None else 2 * options.epochs
    named, work, jobs = f"1-32-64 channels, 3136-128-10, batch {CNN_BATCH}", cnn_flops(CNN_BATCH), []
    for name in ("fnn", "fnn-loop", "linen", "nnx", "torch", "torch-compile", "torch-graph"):
        for precision in PRECISIONS if name in EXACT else ["tf32"]:
            jobs.append(Job(named, name, "cnn", [steps], precision, steps, work))
    return jobs


def limit_jobs(options: argparse.Namespace) -> list[Job]:
    """Large products in each precision, and a copy."""
    side, megabytes = (SIDE, MEGABYTES) if options.epochs is None else (64, 1)
    named = f"product of {side}x{side} matrices"
    products = [Job(named, "product", "limit", [side, TIMES], p, TIMES, 2.0 * side**3) for p in PRECISIONS]
    named = f"{megabytes} MB read and written, byte/s for FLOP/s"
    return [*products, Job(named, "copy", "copy", [megabytes, TIMES], "tf32", TIMES, 2e6 * megabytes)]


def launch_jobs(options: argparse.Namespace) -> list[Job]:
    """How far the scan is unrolled, and command buffers; and the orders of an epoch."""
    shape = SHAPES["digits"]
    epochs = options.epochs or EPOCHS["digits"]
    steps, work = epochs * (shape.examples // shape.batch), flops(shape.widths, shape.batch)
    pairs = [(unroll, "default") for unroll in UNROLLS]
    pairs += [(unroll, buffers) for buffers in BUFFERS if buffers != "default" for unroll in (1, UNROLLS[-1])]
    named = f"order of an epoch of {shape.examples}"
    jobs = [Job(named, name, "order", [shape.examples, epochs], steps=epochs) for name in ("ours", "jax.random")]
    # Each a task of its own: a flag may end the process.
    for n, b in pairs:
        named = f"64-128-64-10, a scan unrolled by {n}, command buffers: {b}"
        jobs.append(Job(named, f"{n} {b}", "launches", ["digits", epochs], steps=steps, flops=work))
    return jobs


def population_jobs(options: argparse.Namespace) -> list[Job]:
    """Populations by each of their makers."""
    jobs, epochs = [], options.epochs or 50
    for net, widths in NETS.items():
        for size in options.sizes:
            work = size * epochs * (1408 // 64) * flops(tuple(widths), 64)
            for name in ("fnn", "vmap", "torch-func"):
                jobs.append(Job(f"{net}, {size} networks", name, "population", [widths, size, epochs], flops=work))
    return jobs


PARTS = {
    "limit": limit_jobs, "mlp": mlp_jobs, "cnn": cnn_jobs, "launches": launch_jobs, "population": population_jobs
}  # fmt: skip


class Workers:
    """The processes, each started when it is first asked, and what their turns took."""

    def __init__(self, platform: str) -> None:
        self.platform, self.running, self.dead = platform, dict[str, Process](), dict[str, str]()

    def turn(self, job: Job) -> dict[str, Any]:
        """One turn of a contestant, or why there is none."""
        library = job.library
        if library in self.dead:
            return {"error": self.dead[library]}
        # Both processes live on one device: neither may take its memory beforehand.
        env = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TORCHINDUCTOR_COMPILE_THREADS": "4"}
        env["JAX_PLATFORMS"] = "cuda,cpu" if self.platform == "cuda" else "cpu"
        try:
            if library not in self.running:
                self.running[library] = Process(MODULES[library], library, Task(self.platform), env)
        except Failed as reason:
            self.dead[library] = str(reason)
            return {"error": str(reason)}
        try:
            return self.running[library].ask(job.kind, job.name, job.precision, job.arguments)
        except Failed as reason:
            self.running.pop(library).end()  # the next one starts it anew
            return {"error": str(reason)}

    def close(self) -> None:
        """Ends them all."""
        for process in self.running.values():
            process.end()


def row(job: Job, turns: list[dict[str, Any]]) -> dict[str, Any]:
    """What a contestant took; of a population the whole turn, of others a step, without the turns that warm it up."""
    told = {"label": LABEL.get(job.name, job.name), **job._asdict(), "turns": turns}
    failed = next((turn["error"] for turn in turns if "error" in turn), None)
    if failed is not None or len(turns) < 3:
        return {**told, "error": failed or "out of time"}
    losses = [turn["loss"] for turn in turns]
    # Close to nothing it may go up and down.
    if job.kind in TRAINED and job.name != "matmul" and not losses[-1] < max(losses[0], LEARNED):
        return {**told, "error": f"its loss does not fall: {losses[0]} at first, {losses[-1]} at last"}
    us = statistics.median(1e6 * turn["seconds"] / job.steps for turn in turns[2:])
    first = turns[0]["seconds"] - us * job.steps / 1e6
    return {**told, "us": us, "tflops": job.flops / us / 1e6, "compile_seconds": max(0.0, first)}


def measured(jobs: list[Job], workers: Workers, rounds: int, until: float) -> list[dict[str, Any]]:
    """A row for each contestant, those of one task taking turns; after `until` no new one begins."""
    rows = []
    for task in dict.fromkeys(job.task for job in jobs):
        here = [job for job in jobs if job.task == task]
        turns: list[list[dict[str, Any]]] = [[] for _ in here]
        # The first two warm up.
        for number in range(2 + rounds):
            for job, taken in zip(here, turns, strict=True):
                late = time.monotonic() > until
                if not late and not any("error" in turn for turn in taken) and len(taken) == number:
                    taken.append(workers.turn(job))
        rows += [row(job, taken) for job, taken in zip(here, turns, strict=True)]
        print_rows(rows[-len(here) :])
    return rows


def populations(jobs: list[Job], workers: Workers, until: float) -> list[dict[str, Any]]:
    """A row for each population, of one turn."""
    rows = []
    for name in dict.fromkeys(job.name for job in jobs):
        first = next(job for job in jobs if job.name == name)
        workers.turn(first._replace(arguments=[first.arguments[0], 1, 1]))
    for job in jobs:
        told = workers.turn(job) if time.monotonic() < until else {"error": "out of time"}
        found = {"label": LABEL.get(job.name, job.name), **job._asdict(), "turns": [told]}
        if "error" in told:
            found["error"] = told["error"]
        else:
            took = float(told["seconds"]) - float(told["compile_seconds"])
            found |= {"seconds": told["seconds"], "compile_seconds": told["compile_seconds"],
                      "nets_a_second": job.arguments[1] / told["seconds"], "device_mb": told["device_mb"],
                      "ms_a_net": 1e3 * took / job.arguments[1], "loss": told["loss"]}  # fmt: skip
        rows.append(found)
        if job.name == jobs[-1].name:
            print_rows([r for r in rows if r["task"] == job.task])
    return rows


def print_rows(rows: list[dict[str, Any]]) -> None:
    """A line for each."""
    print(f"\n{rows[0]['task']}" if len(rows) > 1 else rows[0]["task"])
    for found in rows:
        named = f"{found['label']:42}{found['precision']:>10}"
        if "error" in found:
            print(f"{named}  left out: {found['error']}")
        elif "nets_a_second" in found:
            rate = f"{found['nets_a_second']:>10.1f} nets/s{found['ms_a_net']:>9.3f} ms/net"
            print(f"{named}{rate}{found['compile_seconds']:>7.1f} s compile{found['device_mb']:>8.0f} MB")
        else:
            print(
                f"{named}{found['us']:>10.1f} us{found['tflops']:>9.3f} TFLOP/s{found['compile_seconds']:>7.1f} s first"
            )
    sys.stdout.flush()


def device() -> str:
    """The GPU, its memory and its driver, if the system tells."""
    query = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(query, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    return "no GPU"


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="which (default: all)")
    parser.add_argument("--tasks", nargs="+", choices=SHAPES, default=list(SHAPES), help="perceptrons (default: all)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 64, 1024, 4096], help="of populations")
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"contestants, of {', '.join(LABEL)}, ...")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contestant (default: 5)")
    parser.add_argument("--epochs", type=int, help="of a turn, for a short try")
    parser.add_argument("--seconds", type=float, default=600.0, help="after so many no turn begins (default: 600)")
    parser.add_argument("--platform", choices=("cuda", "cpu"), default="cuda", help="cpu: for a try")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/gpu.json"), help="JSON file of the results")
    options = parser.parse_args(arguments)
    if min(options.rounds, 1 if options.epochs is None else options.epochs, *options.sizes) < 1:
        parser.error("rounds, epochs and sizes are at least 1")
    return options


def main(arguments: list[str] | None = None) -> None:
    """Prints a table for each part and saves all as JSON."""
    options = parsed(arguments)
    until = time.monotonic() + options.seconds
    result: dict[str, Any] = {"machine": machine(os.cpu_count() or 1), "device": device(), "parts": {}}
    result["settings"] = {**vars(options), "out": str(options.out)}
    print(f"{result['device']}; {headline(result['machine'])}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for part in options.parts:
        jobs = [job for job in PARTS[part](options) if not options.only or job.name in options.only]
        with contextlib.closing(Workers(options.platform)) as workers:
            if part == "population":
                rows = populations(jobs, workers, until)
            else:
                rows = measured(jobs, workers, options.rounds, until)
        result["parts"][part] = rows
        options.out.write_text(json.dumps(result, indent=1))
    print(f"\nsaved: {options.out}")


if __name__ == "__main__":
    main()
