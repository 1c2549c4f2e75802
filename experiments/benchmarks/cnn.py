"""How long one training step of a convolutional network takes: `python -m experiments.benchmarks.cnn`.

All train the network of `fnn.nn.cnn([32, 64], [128], 10)` on the CPU with Adam, float32, on batches of 128 images of
28x28, a new one each step, cut by a permutation from data in memory. Each contestant has a process of its own, started
once, on the same cores; they take turns of so many steps, so that whatever else the machine does falls on all of them
alike, and who does not have the turn waits without using a core ("idle": how much of one it used at most).

PyTorch's threads (OpenMP) look for work for some milliseconds before they sleep, as they do for everybody who changes
nothing; in the rows "passive" they sleep at once, which is faster where others use the cores too. GFLOP/s count the
products of the forward pass and of both gradients; those of a plain large matrix product say what the cores can do at
most, and so how long a step must take at least.
"""

import argparse
import contextlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.benchmarks.cnn_worker import PEER, Worker, flops
from experiments.benchmarks.turns import Failed

TOLERANCE = 1e-4  # of the mean loss of a turn, between the forms of fnn


DEVICES = [name for name, peer in PEER.items() if peer.split]
TORCH = [name for name, peer in PEER.items() if peer.module == "torch"]
# What is asked for: peers' best time over the best of ours, and how much it should be.
ASKED = {
    "PyTorch's best / fnn on one device": (TORCH, ["fnn"], 1.3),
    "PyTorch's best / fnn on a device a core": (TORCH, DEVICES, 1.5),
    "Flax Linen's host loop / fnn on one device": (["linen"], ["fnn"], 1.0),
    "Flax NNX's host loop / fnn on one device": (["nnx"], ["fnn"], 1.0),
}


def measured(options: argparse.Namespace) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """A row for each contestant, and why the others have none."""
    left_out: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        workers: list[Worker] = []
        for name in options.only or PEER:
            try:
                if importlib.util.find_spec(PEER[name].module) is None:
                    raise Failed(f"{PEER[name].module} is not installed")
                if PEER[name].split and options.cores == 1:
                    raise Failed("needs two cores")
                print(f"starting {name} ...", file=sys.stderr)
                worker = Worker(name, options)
                stack.callback(worker.end)
                worker.turn()
                worker.turn()
                workers.append(worker)
            except Failed as reason:
                left_out[name] = str(reason)
        check_same({worker.name: worker.turns[0]["loss"] for worker in workers if worker.peer.same})
        for number in range(options.repeats):
            print(f"round {number + 1} of {options.repeats}", file=sys.stderr)
            for worker in workers:
                worker.turn()
        check_learned({worker.name: [turn["loss"] for turn in worker.turns] for worker in workers})
        return {worker.name: worker.row(options.batch) for worker in workers}, left_out


def check_same(losses: dict[str, float]) -> None:
    """Refuses forms of fnn that do not train alike."""
    first = next(iter(losses.values()), 0.0)
    if not all(abs(loss - first) <= TOLERANCE * first for loss in losses.values()):
        raise SystemExit(f"error: the forms of fnn differ in the mean loss of the first turn: {losses}")


def check_learned(losses: dict[str, list[float]]) -> None:
    """Refuses a contestant whose loss does not fall from its first turn to its last."""
    for name, (first, *_, last) in losses.items():
        if name != "matmul" and not last < first:
            raise SystemExit(f"error: the loss of {name} does not fall: {first} at first, {last} at last")


def compared(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """The ratios that are asked for, of those that there are."""
    found = {}
    for name, (peers, ours, asked) in ASKED.items():
        best = [min((rows[n]["ms"] for n in side if n in rows), default=None) for side in (peers, ours)]
        if best[0] and best[1]:
            found[name] = {"ratio": best[0] / best[1], "asked": asked}
    return found


def machine(cores: int) -> dict[str, Any]:
    """Processor, system and versions."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    name = next((line.partition(":")[2].strip() for line in lines if "model name" in line), platform.machine())
    versions = {"python": platform.python_version()}
    for package in ("jax", "jaxlib", "torch", "flax", "optax", "equinox", "keras", "scikit-learn"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    flags = os.environ.get("XLA_FLAGS", "")
    return {"processor": name, "cores": cores, "system": platform.platform(), "versions": versions, "XLA_FLAGS": flags}


def headline(here: dict[str, Any]) -> str:
    """Where something was measured, on one line."""
    versions = ", ".join(f"{name} {version}" for name, version in here["versions"].items())
    return f"{here['processor']}, {here['cores']} cores; {versions}"


def tell_ratios(ratios: dict[str, dict[str, float]]) -> None:
    """Prints ratios, and how much is asked."""
    for name, found in ratios.items():
        print(f"{name}: {found['ratio']:.2f} (asked {found['asked']})")


def table(result: dict[str, Any]) -> None:
    """Prints rows, who is left out, the floor and the ratios."""
    rows, settings = result["rows"], result["settings"]
    print(headline(result["machine"]))
    print(f"batch {settings['batch']}, medians of {settings['repeats']} turns of {settings['steps']} steps")
    print(f"{'':48}{'ms/step':>9}{'GFLOP/s':>9}{'time / fnn':>12}{'compile s':>11}{'idle':>6}")
    for name, row in rows.items():
        ratio = f"{row['ms'] / rows['fnn']['ms']:.2f}" if "fnn" in rows and name != "matmul" else ""
        took = f"{row['ms']:>9.2f}{row['gflops']:>9.1f}{ratio:>12}"
        print(f"{row['label']:48}{took}{row['compile_seconds']:>11.1f}{row['idle']:>6.2f}")
    for name, reason in result["left_out"].items():
        print(f"{PEER[name].label:48}  left out: {reason}")
    if "matmul" in rows:
        print(f"A step is {result['gflop']:.2f} GFLOP: at the matrix product's speed {result['floor_ms']:.1f} ms.")
    tell_ratios(result["ratios"])


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=11, help="turns of each contestant (default: 11)")
    parser.add_argument("--steps", type=int, default=30, help="training steps of a turn (default: 30)")
    parser.add_argument("--batch", type=int, default=128, help="images of a step (default: 128)")
    parser.add_argument("--cores", type=int, default=2, help="on so many cores, all the same ones (default: 2)")
    parser.add_argument("--data", help="folder of the MNIST files (default: made images, as fast)")
    parser.add_argument("--only", nargs="+", choices=PEER, metavar="NAME", help=f"of {', '.join(PEER)}")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/cnn.json"), help="JSON file of the results")
    options = parser.parse_args(arguments)
    if min(options.repeats, options.steps, options.batch, options.cores) < 1 or options.batch % options.cores:
        parser.error("repeats, steps, batch and cores are at least 1, and cores divides batch")
    if options.data is not None:
        options.data = str(Path(options.data).resolve())
        if not Path(options.data).is_dir():
            parser.error(f"--data {options.data}: no such folder")
    return options


def cores_at_hand() -> list[int]:
    """The cores that this process may use; none where the system does not tell."""
    return sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


@contextlib.contextmanager
def pinned(cores: int) -> Iterator[None]:
    """This process, and all that it starts, on the first so many of its cores; XLA and PyTorch both heed that."""
    before = cores_at_hand()
    if not before:
        yield
        return
    if len(before) < cores:
        raise SystemExit(f"error: --cores {cores}: there are {len(before)}")
    os.sched_setaffinity(0, before[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def main(arguments: list[str] | None = None) -> None:
    """Prints the table and saves it as JSON."""
    options = parsed(arguments)
    with pinned(options.cores):
        rows, left_out = measured(options)
    result = {"machine": machine(options.cores), "settings": {**vars(options), "out": str(options.out)}}
    result |= {"gflop": flops(options.batch) / 1e9, "rows": rows, "left_out": left_out, "ratios": compared(rows)}
    if "matmul" in rows:
        result["floor_ms"] = 1e3 * result["gflop"] / rows["matmul"]["gflops"]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1))
    table(result)
    print(f"saved: {options.out}")


if __name__ == "__main__":
    main()
