"""What saving costs the training: `python -m experiments.benchmarks.checkpoints`.

A network of 100 million parameters trains with Adam in a host loop, its state donated, in turns without and with a
`fnn.checkpoint.Saver` that is offered the state after each step. A turn lasts as long as two checkpoints are apart, so
that each turn with the saver has one. The aim is at most 10 % over the turn without.
"""

import argparse
import json
import platform
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import fnn

BATCH, INPUTS = 64, 4096


def loop(step: Any, state: Any, batch: Any, seconds: float, saver: fnn.checkpoint.Saver | None) -> tuple[Any, float]:
    """Trains for so long; the state and the seconds a step took."""
    begun, steps = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        state, _ = step(state, batch)
        if saver is not None:
            saver.offer(int(state.step), state)
        jax.block_until_ready(state)
        steps += 1
    return state, (time.perf_counter() - begun) / steps


def measured(width: int, every: float, turns: int, folder: Path) -> dict[str, Any]:
    """Seconds a step without and with the saver, turn by turn, and what a checkpoint takes by itself."""
    net, tx = fnn.nn.mlp([width, width, 10]), fnn.optim.adam(1e-4)
    x = jax.random.normal(jax.random.key(0), (BATCH, INPUTS))
    batch = fnn.data.Dataset(x, jnp.argmax(x[:, :10], axis=1))
    state = fnn.train.init_state(jax.random.key(1), net, tx, x)
    parameters = fnn.tree.size(state.params)
    step = jax.jit(
        fnn.train.make_step(fnn.train.supervised(net, fnn.losses.softmax_cross_entropy), tx), donate_argnums=0
    )
    state, _ = loop(step, state, batch, 0.1, None)
    before, begun = peak(), time.perf_counter()
    fnn.checkpoint.save(folder, int(state.step), state)
    alone = time.perf_counter() - begun
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    plain, saving = [], []
    for _ in range(turns):
        state, seconds = loop(step, state, batch, every, None)
        plain.append(seconds)
        with fnn.checkpoint.Saver(folder, every=0.0, keep=1) as saver:
            saver.offer(int(state.step), state)
            saver.every = 2 * every  # the one above is this turn's
            state, seconds = loop(step, state, batch, every, saver)
        saving.append(seconds)
    ratio = statistics.median(s / p for s, p in zip(saving, plain, strict=True))
    numbers = {"without": statistics.median(plain), "with": statistics.median(saving), "ratio": ratio, "alone": alone}
    return {"parameters": parameters, "bytes": size, **numbers, "peak_without": before, "peak": peak()}


def peak() -> int:
    """The most memory that the process has had, bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(arguments: list[str] | None = None) -> None:
    """Prints a table and, with --out, saves it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=8192, help="of both hidden layers (default: 8192)")
    parser.add_argument("--every", type=float, default=30.0, help="seconds between two checkpoints (default: 30)")
    parser.add_argument("--turns", type=int, default=3, help="how many with and without (default: 3)")
    parser.add_argument("--out", type=Path, help="where to save the table as JSON")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        row = measured(options.width, options.every, options.turns, Path(scratch))
    setting = {"jax": jax.__version__, "backend": jax.default_backend(), "machine": platform.machine()}
    print(
        f"{row['parameters'] / 1e6:.1f} million parameters, Adam, {', '.join(f'{k} {v}' for k, v in setting.items())}"
    )
    print(f"a step without saving, with one checkpoint in {options.every:g} s, and their ratio:")
    print(f"{1000 * row['without']:.0f} ms, {1000 * row['with']:.0f} ms, {row['ratio']:.3f}")
    print(f"a checkpoint alone: {row['alone']:.1f} s, {row['bytes'] / 1e9:.2f} GB")
    memory = f"{row['peak_without'] / 1e9:.2f} GB before the first checkpoint, {row['peak'] / 1e9:.2f} GB after all"
    print(f"most memory: {memory}")
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps({**setting, **row}, indent=1) + "\n")


if __name__ == "__main__":
    main()
