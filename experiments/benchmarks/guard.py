"""What looking for NaN costs a step: `python -m experiments.benchmarks.guard`.

A run without a guard, the same run with one (`make_step(..., guard=True)`, which `run` looks at once an epoch), the
guarded step in a scan of one's own, and each of the two steps in a jitted host loop. All take turns, so that whatever
else the machine does falls on all of them alike. The aim is at most 5 % over the run without a guard.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import fnn
from fnn.train import Step, TrainState

# Name, inputs, widths, examples, batch size, epochs.
TASKS = {
    "64-128-64-10, batch 64": (64, [128, 64, 10], 1437, 64, 10),
    "784-512-512-10, batch 128": (784, [512, 512, 10], 2560, 128, 1),
}
PEER = {"run, guarded": "run", "scan of guarded steps": "run", "host loop, guarded": "host loop"}


def programs(task: str) -> tuple[dict[str, Callable[[], Any]], int]:
    """Each way to take the task's steps, compiled; and how many these are."""
    inputs, widths, examples, batch, epochs = TASKS[task]
    net, tx = fnn.nn.mlp(widths), fnn.optim.adam(1e-3)
    x = jax.random.normal(jax.random.key(0), (examples, inputs))
    data = fnn.data.Dataset(x, jnp.argmax(x[:, :10], axis=1))
    start = fnn.train.init_state(jax.random.key(1), net, tx, x)
    loss_fn = fnn.train.supervised(net, fnn.losses.softmax_cross_entropy)
    plain, guarded = (fnn.train.make_step(loss_fn, tx, guard=guard) for guard in (False, True))

    def whole(step: Step) -> Callable[[], Any]:
        train = jax.jit(fnn.train.run(step, data, batch_size=batch, epochs=epochs))
        return lambda: train(start)

    def host(step: Step) -> Callable[[], Any]:
        jitted, first = jax.jit(step), fnn.data.Dataset(data.x[:batch], data.y[:batch])
        steps = fnn.data.steps_per_epoch(examples, batch) * epochs

        def loop() -> TrainState:
            state = start
            for _ in range(steps):
                state, _ = jitted(state, first)
            return state

        return loop

    def by_scan(state: TrainState, batch: Any) -> Any:
        return guarded(state, batch)

    ways = {
        "run": whole(plain),
        "run, guarded": whole(guarded),
        # Without its mark the step is any step to `run`, which takes it as it is.
        "scan of guarded steps": whole(fnn.train.takes_weights(by_scan)),
        "host loop": host(plain),
        "host loop, guarded": host(guarded),
    }
    for way in ways.values():
        jax.block_until_ready(way())
    return ways, fnn.data.steps_per_epoch(examples, batch) * epochs


def measured(task: str, repeats: int) -> dict[str, dict[str, float]]:
    """Median microseconds of a step by name, and over the peer without a guard: the median of each turn's ratio."""
    ways, steps = programs(task)
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repeats):
        for name, way in ways.items():
            begun = time.perf_counter()
            jax.block_until_ready(way())
            taken[name].append(1e6 * (time.perf_counter() - begun) / steps)
    rows = {}
    for name, times in taken.items():
        over = [t / p for t, p in zip(times, taken[PEER.get(name, name)], strict=True)]
        rows[name] = {"us": statistics.median(times), "ratio": statistics.median(over)}
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Prints a table and, with --out, saves it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15, help="turns (default: 15)")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), help="which networks")
    parser.add_argument("--out", type=Path, help="where to save the table as JSON")
    options = parser.parse_args(arguments)
    setting = {"jax": jax.__version__, "backend": jax.default_backend(), "machine": platform.machine()}
    print(f"Adam, float32, {', '.join(f'{k} {v}' for k, v in setting.items())}, median of {options.repeats} turns")
    found = {}
    for task in options.tasks:
        found[task] = measured(task, options.repeats)
        print(f"{task:28}{'us a step':>12}{'with guard / without':>24}")
        for name, row in found[task].items():
            ratio = f"{row['ratio']:.3f}" if name in PEER else ""
            print(f"  {name:26}{row['us']:>12.1f}{ratio:>24}")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({**setting, "repeats": options.repeats, "rows": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
