"""Kills a run at random moments, and looks whether it ends as if nobody had: `python -m experiments.benchmarks.kills`.

A fit with dropout, augmentation, batch normalization, a schedule, validation and early stopping saves itself as often
as it can. Its process gets SIGKILL at a random moment, and is started again, until it has been killed often enough;
then it ends, and the digest of every bit of its result is compared with that of a fit that nobody killed. With
`--what sweep` it is a sweep of small networks with batch normalization and dropout, eight to a call.
"""

import argparse
import hashlib
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import fnn

IN_A_ROW = 5  # kills until a fit may end
_PAUSE = 0.01  # seconds a report, so that a small network trains for as long as a larger one


class Told(fnn.train.Reporter):
    """Says that training has begun, and takes its time."""

    def update(self, step: int, metrics: Mapping[str, float]) -> None:
        """Prints the step."""
        del metrics
        print("step", step, flush=True)
        time.sleep(_PAUSE)


def fit(folder: str, epochs: int) -> Any:
    """The fit: its result."""
    x = jax.random.normal(jax.random.key(1), (2000, 6, 6, 1))
    data = fnn.data.Dataset(x, (x.mean(axis=(1, 2, 3)) > 0).astype(jnp.int32))
    layers = [fnn.nn.conv(4, 3), fnn.nn.batch_norm(), fnn.nn.activation("relu"), fnn.nn.flatten(), fnn.nn.dropout(0.2)]
    return fnn.fit(
        fnn.nn.sequential(*layers, fnn.nn.dense(2)),
        fnn.losses.softmax_cross_entropy,
        fnn.optim.adam(optax.cosine_decay_schedule(1e-2, 25_000)),
        data,
        key=jax.random.key(2),
        epochs=epochs,
        batch_size=32,
        validation=fnn.data.Dataset(data.x[:200], data.y[:200]),
        metrics={"accuracy": fnn.metrics.accuracy},
        patience=300,
        augment=fnn.augment.flip(),
        progress=Told(),
        checkpoint=folder,
        every=0.0,
    )


def sweep(folder: str, calls: int) -> Any:
    """The sweep, of so many calls: its results."""
    x = jax.random.normal(jax.random.key(1), (64, 8))
    data = fnn.data.Dataset(x, (x.mean(axis=1) > 0).astype(jnp.int32))

    def train(hparams: Any, key: Any) -> Any:
        net = fnn.nn.mlp([8, 2], norm=fnn.nn.batch_norm, dropout=hparams["dropout"])
        tx = fnn.optim.adam(hparams["learning_rate"])
        step = fnn.train.make_step(fnn.train.supervised(net, fnn.losses.softmax_cross_entropy), tx)
        return fnn.train.run(step, data, batch_size=32, epochs=4)(fnn.train.init_state(key, net, tx, x))

    rows = {"learning_rate": jnp.geomspace(1e-3, 1e-1, 2 * calls), "dropout": jnp.linspace(0.0, 0.5, 2 * calls)}
    keys = jax.random.split(jax.random.key(2), 4)
    return fnn.sweep(train, rows, keys, mode="vmap", chunk=8, progress=Told(), checkpoint=folder, every=0.0)


def digest_of(result: Any) -> str:
    """Of every bit of a result."""
    digest = hashlib.sha256()
    for leaf in jax.tree.leaves(result):
        typed = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        digest.update(np.asarray(jax.random.key_data(leaf) if typed else leaf).tobytes())
    return digest.hexdigest()


WHAT = {"fit": fit, "sweep": sweep}


def started(folder: Path, what: str, length: int) -> subprocess.Popen[str]:
    """The fit or the sweep in a process of its own."""
    how = ["--what", what, "--length", str(length), "--train", str(folder)]
    command = [sys.executable, "-m", "experiments.benchmarks.kills", *how]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def ended(folder: Path, what: str, length: int) -> tuple[str, float]:
    """Its digest once it ends by itself, and the seconds it trained."""
    with started(folder, what, length) as process:
        assert process.stdout is not None
        first, begun = process.stdout.readline(), time.perf_counter()
        *_, last = first, *process.stdout
    if process.returncode:
        raise RuntimeError(f"the {what} in {folder} ended with {process.returncode}")
    return last.split()[-1], time.perf_counter() - begun


def killed(folder: Path, what: str, length: int, after: float) -> bool:
    """Kills it so many seconds after it trains; whether it was in the middle of saving."""
    with started(folder, what, length) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(after)
        process.kill()
    return any(folder.glob(".partial-*"))


def main(arguments: list[str] | None = None) -> int:
    """Prints what became of each; 1 where one ended otherwise."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50, help="how many (default: 50)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments (default: 0)")
    parser.add_argument("--what", choices=list(WHAT), default="fit", help="what is killed (default: fit)")
    parser.add_argument("--length", type=int, default=400, help="epochs of a fit, calls of a sweep (default: 400)")
    parser.add_argument("--train", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.train:
        print("digest", digest_of(WHAT[options.what](options.train, options.length)), flush=True)
        return 0
    draw, wrong, saving, done, job = random.Random(options.seed), 0, 0, 0, (options.what, options.length)
    with tempfile.TemporaryDirectory() as scratch:
        whole, seconds = ended(Path(scratch, "whole"), *job)
        print(f"nobody killed: {seconds:.1f} s, {whole[:16]}", flush=True)
        while done < options.kills:
            folder, times = Path(scratch, str(done)), min(IN_A_ROW, options.kills - done)
            folder.mkdir()
            caught = [killed(folder, *job, draw.uniform(0, seconds / (times + 1) * 2)) for _ in range(times)]
            reached = fnn.checkpoint.latest(folder)
            digest, _ = ended(folder, *job)
            saving, done, wrong = saving + sum(caught), done + times, wrong + (digest != whole)
            print(f"killed {times} times, {sum(caught)} while saving, at step {reached}: {digest[:16]}", flush=True)
    print(f"{done} kills, {saving} of them in the middle of saving: {wrong} ended with other bits")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
