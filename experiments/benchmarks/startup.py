"""How long until a training runs: `python -m experiments.benchmarks.startup`.

First what `import fnn` costs over `import jax`; the aim is at most 0.4 s. Then the stages of a first program,
64-128-64-10 on 64 digits with Adam on the CPU: imports, first weights, tracing and lowering, compiling, the first call;
with JAX's persistent compilation cache off, empty, and full. "by hand" is the network in five lines with Optax.

Each row is a fresh process; they take turns, so that whatever else the machine does falls on all of them alike.
"""

import argparse
import importlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from experiments.benchmarks.cnn import headline, machine

IMPORTS = {
    "nothing": "pass",
    "import jax": "import jax",
    "import optax": "import optax",
    "import fnn": "import fnn",
}
PROGRAMS = {"step": "fnn, one step", "run": "fnn, a run of 20 epochs", "hand": "a step by hand, Optax"}
CACHES = ("off", "empty", "full")
STAGES = ("import", "weights", "trace", "compile", "first call")
ROOT = Path(__file__).parents[2]
# Everything goes into the cache, however small or quick to compile.
CACHING = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}


def seconds(program: str) -> float:
    """The wall time of a fresh interpreter that runs this program."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT)
    return time.perf_counter() - begun


def imports(repeats: int) -> dict[str, list[float]]:
    """What fresh interpreters took for each import."""
    for program in IMPORTS.values():
        seconds(program)  # fills the disk's and the bytecode's caches
    taken: dict[str, list[float]] = {name: [] for name in IMPORTS}
    for _ in range(repeats):
        for name, program in IMPORTS.items():
            taken[name].append(seconds(program))
    return taken


def in_fnn(whole: bool) -> tuple[Any, tuple[Any, ...]]:
    """A step, or a whole run, and its arguments."""
    import jax
    import jax.numpy as jnp

    import fnn

    net, tx = fnn.nn.mlp([128, 64, 10]), fnn.optim.adam(1e-3)
    data = fnn.data.Dataset(jnp.zeros((1408, 64)), jnp.zeros(1408, jnp.int32))
    step = fnn.train.make_step(fnn.train.supervised(net, fnn.losses.softmax_cross_entropy), tx)
    state = fnn.train.init_state(jax.random.key(0), net, tx, data.x[:64])
    if whole:
        return fnn.train.run(step, data, batch_size=64, epochs=20), (state,)
    return step, (state, fnn.data.Dataset(data.x[:64], data.y[:64]))


def by_hand() -> tuple[Any, tuple[Any, ...]]:
    """A step of five lines with Optax, and its arguments."""
    import jax
    import jax.numpy as jnp
    import optax

    sizes = ((64, 128), (128, 64), (64, 10))
    keys, tx = jax.random.split(jax.random.key(0), 3), optax.adam(1e-3)
    params = [(jax.random.normal(k, s) * (2 / s[0]) ** 0.5, jnp.zeros(s[1])) for k, s in zip(keys, sizes, strict=True)]

    def loss(params: Any, x: Any, y: Any) -> Any:
        for w, b in params[:-1]:
            x = jax.nn.relu(x @ w + b)
        w, b = params[-1]
        return optax.softmax_cross_entropy_with_integer_labels(x @ w + b, y).mean()

    def step(state: Any, x: Any, y: Any) -> Any:
        params, slots = state
        value, grads = jax.value_and_grad(loss)(params, x, y)
        updates, slots = tx.update(grads, slots, params)
        return (optax.apply_updates(params, updates), slots), value

    return step, ((params, tx.init(params)), jnp.zeros((64, 64)), jnp.zeros(64, jnp.int32))


def stages(name: str) -> dict[str, float]:
    """The seconds of each stage of a first program, in this process."""
    times = [time.perf_counter()]
    import jax

    importlib.import_module("optax" if name == "hand" else "fnn")
    times.append(time.perf_counter())
    function, arguments = by_hand() if name == "hand" else in_fnn(name == "run")
    jax.block_until_ready(arguments)
    times.append(time.perf_counter())
    lowered = jax.jit(function).lower(*arguments)
    times.append(time.perf_counter())
    compiled = lowered.compile()
    times.append(time.perf_counter())
    jax.block_until_ready(compiled(*arguments))
    times.append(time.perf_counter())
    return dict(zip(STAGES, (after - before for before, after in itertools.pairwise(times)), strict=True))


def measured(name: str, folder: str | None) -> dict[str, float]:
    """The stages in a fresh process, whose compilation cache lies in this folder."""
    env = {**os.environ, "JAX_PLATFORMS": "cpu"}
    env |= {} if folder is None else {**CACHING, "JAX_COMPILATION_CACHE_DIR": folder}
    command = [sys.executable, "-m", "experiments.benchmarks.startup", "--stages-of", name]
    done = subprocess.run(command, check=True, cwd=ROOT, env=env, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def first_programs(repeats: int) -> dict[str, dict[str, list[dict[str, float]]]]:
    """The stages of each program with each cache, of so many processes."""
    found: dict[str, dict[str, list[dict[str, float]]]] = {name: {c: [] for c in CACHES} for name in PROGRAMS}
    for _ in range(repeats):
        for name, by_cache in found.items():
            with tempfile.TemporaryDirectory() as folder:
                for cache, times in by_cache.items():
                    times.append(measured(name, None if cache == "off" else folder))
    return found


def table(taken: dict[str, list[float]], found: dict[str, dict[str, list[dict[str, float]]]], repeats: int) -> None:
    """Prints medians."""
    base = statistics.median(taken["import jax"])
    print(f"{'':14}{'median':>10}{'fastest':>10}{'over jax':>10}   ({repeats} processes each)")
    for name, times in taken.items():
        middle = statistics.median(times)
        print(f"{name:14}{middle:>8.3f} s{min(times):>8.3f} s{middle - base:>+8.3f} s")
    print(f"\n{'':25}{'cache':>7}{''.join(f'{stage:>12}' for stage in (*STAGES, 'together'))}")
    for name, by_cache in found.items():
        for cache, times in by_cache.items():
            middle = [statistics.median(t[stage] for t in times) for stage in STAGES]
            print(f"{PROGRAMS[name]:25}{cache:>7}{''.join(f'{s:>10.3f} s' for s in (*middle, sum(middle)))}")


def main(arguments: list[str] | None = None) -> None:
    """Prints the tables and saves all as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="processes for each row (default: 7)")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/startup.json"), help="JSON of the results")
    parser.add_argument("--stages-of", choices=PROGRAMS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.stages_of:
        print(json.dumps(stages(options.stages_of)))
        return
    here = machine(os.cpu_count() or 1)
    print(headline(here))
    taken, found = imports(options.repeats), first_programs(options.repeats)
    table(taken, found, options.repeats)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"machine": here, "imports": taken, "programs": found}, indent=1))
    print(f"\nsaved: {options.out}")


if __name__ == "__main__":
    main()
