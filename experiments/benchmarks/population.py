"""How many trained networks a second: `python -m experiments.benchmarks.population`.

Populations of 64-32-10 and of 64-128-64-10 on the digits, batch 64, Adam, 50 epochs, float32, on the CPU; each network
has its own first weights and its own order of the examples. Each contestant has a process of its own, on the same
cores, and they take turns. Who trains one network after the other is measured on a few, and the ensembles of others on
64 or 256: of more they are taken to be as fast, which is marked. A library that is not installed is left out.

All times include tracing and compiling, anew for each population; "ms/network" is without. The processes of joblib have
started before. "products" are the matrix products of all steps alone, in a thread a core: what the cores can do at
most. "MB" is the most memory that the process had up to its largest population, its libraries included.
"""

import argparse
import contextlib
import importlib.util
import json
import math
import statistics
import sys
from pathlib import Path
from typing import Any, NamedTuple

from experiments.benchmarks.cnn import headline, machine, pinned, tell_ratios
from experiments.benchmarks.mlp import ONE_THREAD
from experiments.benchmarks.turns import Failed, Process


class Peer(NamedTuple):
    """A contestant.

    Attributes:
        label: its name in the table.
        most: the largest population that it is measured on.
        module: what must be installed.
        env: set in its process's environment.
    """

    label: str
    most: int
    module: str = "jax"
    env: dict[str, str] = {}  # noqa: RUF012


FEW = 4
PEER = {
    "matmul": Peer("the matrix products alone", 16),
    "fnn": Peer("fnn.sweep", 1_000_000),
    "vmap": Peer("jax.vmap of a scan by hand, Optax", 256, "optax"),
    "torch-func": Peer("torch.func.vmap, fused Adam", 64, "torch"),
    "sklearn": Peer("scikit-learn, one by one", FEW, "sklearn", ONE_THREAD),
    "torch": Peer("PyTorch tuned, one by one", FEW, "torch", ONE_THREAD),
    "sklearn-joblib": Peer("scikit-learn, joblib on all cores", 2 * FEW, "sklearn", ONE_THREAD),
    "torch-joblib": Peer("PyTorch tuned, joblib on all cores", 2 * FEW, "torch", ONE_THREAD),
}
NETS = {"64-32-10": [64, 32, 10], "64-128-64-10": [64, 128, 64, 10]}
# What is asked for: networks a second of fnn over the peer's, at so many networks.
ASKED = {
    "64-32-10": {
        ("sklearn", 1024): 20.0,
        ("torch", 1024): 25.0,
        ("sklearn", 64): 8.0,
        ("torch", 64): 8.0,
        ("torch-func", 1024): 4.0,
        ("sklearn-joblib", 1024): 10.0,
        ("torch-joblib", 1024): 12.5,
    },
    "64-128-64-10": {
        ("sklearn", 1024): 5.0,
        ("torch", 1024): 6.0,
        ("torch-func", 1024): 2.5,
        ("sklearn-joblib", 1024): 2.5,
        ("torch-joblib", 1024): 3.0,
    },
}
GROWTH = (1024, 8, 1.3)  # a network's cost in so many, over that in so many, and how much it may be


class Worker(Process):
    """A contestant's process, and what it measured of each size."""

    def __init__(self, name: str, options: argparse.Namespace, net: str) -> None:
        self.name, self.found = name, {}
        task = [NETS[net], options.cores, options.mode, options.chunk]
        super().__init__("experiments.benchmarks.population_peers", name, task, PEER[name].env)

    def turn(self, nets: int, epochs: int) -> None:
        """Lets it train so many."""
        self.found.setdefault(nets, []).append(self.ask(nets, epochs))

    def rows(self, sizes: list[int]) -> dict[int, dict[str, Any]]:
        """What each size takes, from the size that was measured for it."""
        return {size: at_size(size, min(size, PEER[self.name].most), self.found) for size in sizes}


def at_size(size: int, measured: int, found: dict[int, list[dict[str, Any]]]) -> dict[str, Any]:
    """What a population takes, from the turns of a smaller one, or of its own: the median."""
    turns = found[measured]
    compiling = statistics.median(turn["compile_seconds"] for turn in turns)
    each = statistics.median(turn["seconds"] - turn["compile_seconds"] for turn in turns) / measured
    seconds = compiling + each * size
    return {
        "measured_on": measured,
        "seconds": seconds,
        "compile_seconds": compiling,
        "ms_a_net": 1e3 * each,
        "nets_a_second": size / seconds,
        "peak_mb": statistics.median(turn["peak_mb"] for turn in turns),
        "loss": statistics.median(turn["loss"] for turn in turns),
        "turns_seconds": [turn["seconds"] for turn in turns],
    }


def measured(options: argparse.Namespace, net: str) -> tuple[dict[str, dict[int, dict[str, Any]]], dict[str, str]]:
    """The rows of each contestant, and why the others have none."""
    left_out: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        workers: list[Worker] = []
        for name in options.only or PEER:
            try:
                if importlib.util.find_spec(PEER[name].module) is None:
                    raise Failed(f"{PEER[name].module} is not installed")
                if "joblib" in name and options.cores == 1:
                    raise Failed("the same as without, on one core")
                workers.append(Worker(name, options, net))
                stack.callback(workers[-1].end)
                workers[-1].turn(1, 1)  # what a library loads or compiles for itself at first is no network's
                workers[-1].found.clear()
            except Failed as reason:
                left_out[name] = str(reason)
        for number in range(options.rounds):
            for size in options.sizes:
                print(f"{net}: round {number + 1} of {options.rounds}, {size} networks", file=sys.stderr)
                for worker in workers:
                    if size == measured_size(worker.name, size, options.sizes):
                        worker.turn(min(size, PEER[worker.name].most), options.epochs)
        return {worker.name: worker.rows(options.sizes) for worker in workers if worker.found}, left_out


def measured_size(name: str, size: int, sizes: list[int]) -> int:
    """The first of the sizes that is measured by the same turn as this one."""
    most = PEER[name].most
    return size if size <= most else min(s for s in sizes if s >= most)


def check_learned(rows: dict[str, dict[int, dict[str, Any]]]) -> None:
    """Refuses a contestant whose networks know no more than ten classes."""
    for name, found in rows.items():
        for size, row in found.items():
            if name != "matmul" and not row["loss"] < math.log(10):
                raise SystemExit(f"error: {name} ends with a mean loss of {row['loss']}, of {size} networks")


def compared(net: str, rows: dict[str, dict[int, dict[str, Any]]]) -> dict[str, dict[str, float]]:
    """The ratios that are asked for, of those that there are."""
    found, ours = {}, rows.get("fnn", {})
    for (peer, size), asked in ASKED[net].items():
        if size in ours and peer in rows:
            ratio = ours[size]["nets_a_second"] / rows[peer][size]["nets_a_second"]
            found[f"fnn / {PEER[peer].label}, {size:,} networks"] = {"ratio": ratio, "asked": asked}
    large, small, asked = GROWTH
    if large in ours and small in ours:
        ratio = ours[large]["ms_a_net"] / ours[small]["ms_a_net"]
        found[f"a network's time in {large:,} / in {small}, at most"] = {"ratio": ratio, "asked": asked}
    return found


def table(net: str, options: argparse.Namespace, found: dict[str, Any]) -> None:
    """Prints a network's rows, who is left out, and the ratios."""
    sizes = options.sizes
    print(f"\n{net}, {options.epochs} epochs: trained networks a second, compiling included, of so many")
    print(f"{'':36}{''.join(f'{size:>9,}' for size in sizes)}{'ms/network':>12}{'compile s':>11}{'MB':>7}")
    for name, rows in found["rows"].items():
        last = rows[sizes[-1]]
        rates = "".join(
            f"{rows[size]['nets_a_second']:>8.2f}{' ' if rows[size]['measured_on'] == size else '*'}" for size in sizes
        )
        print(
            f"{PEER[name].label:36}{rates}{last['ms_a_net']:>11.2f}{last['compile_seconds']:>11.1f}{last['peak_mb']:>8.0f}"
        )
    print("* as fast as of the largest population measured")
    for name, reason in found["left_out"].items():
        print(f"{PEER[name].label:36}  left out: {reason}")
    tell_ratios(found["ratios"])


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """The command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1, help="turns of each population (default: 1)")
    parser.add_argument("--epochs", type=int, default=50, help="of each network (default: 50)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 8, 64, 256, 1024], help="numbers of networks")
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS), help="which (default: all)")
    parser.add_argument("--mode", choices=("auto", "vmap", "map"), default="auto", help="of fnn.sweep")
    parser.add_argument("--chunk", type=int, help="of fnn.sweep (default: as it likes)")
    parser.add_argument("--cores", type=int, default=2, help="on so many cores, all the same ones (default: 2)")
    parser.add_argument("--only", nargs="+", choices=PEER, metavar="NAME", help=f"of {', '.join(PEER)}")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/population.json"), help="JSON of the results")
    options = parser.parse_args(arguments)
    chunk = 1 if options.chunk is None else options.chunk
    if min(options.rounds, options.epochs, options.cores, chunk, *options.sizes) < 1:
        parser.error("rounds, epochs, sizes, chunk and cores are at least 1")
    options.sizes = sorted(set(options.sizes))
    return options


def main(arguments: list[str] | None = None) -> None:
    """Prints a table for each network and saves all as JSON."""
    options = parsed(arguments)
    here = machine(options.cores)
    print(f"{headline(here)}; medians of {options.rounds} turns")
    result: dict[str, Any] = {"machine": here, "settings": {**vars(options), "out": str(options.out)}, "nets": {}}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for net in options.nets:
        with pinned(options.cores):
            rows, left_out = measured(options, net)
        check_learned(rows)
        found = {"rows": rows, "left_out": left_out, "ratios": compared(net, rows)}
        result["nets"][net] = found
        table(net, options, found)
        options.out.write_text(json.dumps(result, indent=1))
    print(f"\nsaved: {options.out}")


if __name__ == "__main__":
    main()
