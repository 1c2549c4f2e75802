"""One network, trained by several processes: on this machine, or the same file on a cluster.

`python -m experiments.multi_host --processes 4` starts four processes here, watches them, and starts them again from
their last checkpoint where one is lost. On a cluster its own launcher starts them, such as `srun python -m
experiments.multi_host`, and each finds the others by itself; the folder must be one that all of them see.

Each process reads the examples of its own devices. The state is cut over all devices (`--layout fsdp`) or copied
(`data`). What comes out does not depend on how many processes there were, but for rounding.
"""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

import fnn
from experiments.common import LOSS, METRICS, command
from fnn.parallel import Job, Layout
from fnn.train import TrainState


@dataclass(frozen=True)
class Options:
    """What can be chosen."""

    processes: int = 0
    """Start so many processes on this machine; 0: be one of those that somebody has started, or alone."""
    steps: int = 460
    """Steps of training, 23 of which are an epoch."""
    batch_size: int = 64
    """Examples in a batch, over all devices."""
    layout: Literal["data", "fsdp"] = "fsdp"
    """Copy the state to each device, or cut it over them."""
    every: int = 50
    """Steps from one checkpoint to the next."""
    folder: Path = Path("runs/multi_host")
    """Where the checkpoints are; a run that stands there goes on."""
    limit: float = 60.0
    """Seconds that a step may take until it counts as stuck."""
    fewest: int | None = None
    """Go on with fewer processes, but not fewer than these, where so many do not get further."""
    fault: Literal["kill", "raise", "stop", "hang"] | None = None
    """For a test of all this: what happens to one of the processes."""
    at: int = 5
    """After which step."""
    process: int = 1
    """To which of them."""


def main(options: Options) -> None:
    """Starts the processes, or is one of them."""
    fnn.errors.check_count("steps", options.steps)
    fnn.errors.check_count("every", options.every)
    if options.processes:
        raise SystemExit(launched(options))
    with fnn.parallel.join(limit=options.limit) as job:
        work(options, job)


def launched(options: Options) -> int:
    """Runs this file in several processes."""
    chosen = {name: value for name, value in asdict(options).items() if name != "processes" and value is not None}
    words = [word for name, value in chosen.items() for word in (f"--{name}", str(value))]
    this = [sys.executable, "-m", "experiments.multi_host", *words]
    ended = fnn.parallel.launch(this, options.processes, limit=options.limit, fewest=options.fewest)
    print(ended)
    return ended.status


def work(options: Options, job: Job) -> None:
    """Trains from where the last checkpoint is, and saves now and then."""
    splits = fnn.data.digits()
    net = fnn.nn.mlp([128, 64, 10], dropout=0.1)
    tx = fnn.optim.momentum(0.5)
    layout = fnn.parallel.fsdp(smallest=1) if options.layout == "fsdp" else fnn.parallel.data_parallel()
    state = first_state(options, net, tx, splits.train.x, layout)
    one = fnn.train.make_step(fnn.train.supervised(net, LOSS), tx)
    step = jax.jit(fnn.parallel.sharded(one, layout), donate_argnums=0)
    done = int(state.step)
    if job.index == 0:
        print(f"from step {done}: {job.count} processes, {len(jax.devices())} devices", flush=True)
    rest: dict[str, Any] = {"key": state.key, "start": done, "stop": max(done, options.steps), "fill": True}
    for batch in fnn.parallel.stream(splits.train, options.batch_size, layout=layout, **rest):
        state, metrics = step(state, batch)
        done += 1
        job.beat(done, metrics)
        suffer(options, job, done)
        stopping = job.stopping(done)
        if stopping or done % options.every == 0 or done == options.steps:
            fnn.checkpoint.save(options.folder, done, state, keep=3)
        if stopping:
            break
    tell(state, net, splits.test, done, options, job)


def first_state(options: Options, net: Any, tx: Any, x: Any, layout: Layout) -> TrainState:
    """The newest checkpoint of the folder, or a new state, on the devices."""
    state = fnn.parallel.place(fnn.train.init_state(jax.random.key(0), net, tx, x), layout)
    return state if fnn.checkpoint.latest(options.folder) is None else fnn.checkpoint.restore(options.folder, state)


def tell(state: TrainState, net: Any, test: fnn.data.Dataset, done: int, options: Options, job: Job) -> None:
    """How good the network is, computed by all, told by one."""
    measures = jax.jit(fnn.train.make_eval(net, METRICS))(state, test)
    accuracy = float(np.asarray(measures["accuracy"]))
    if job.index == 0:
        ended = "done" if done >= options.steps else "stopped, and saved: the same command goes on"
        print(f"step {done} of {options.steps}, {ended}; test accuracy {accuracy:.2%}", flush=True)


def suffer(options: Options, job: Job, done: int) -> None:
    """The fault that was asked for, in the first attempt."""
    if options.fault is not None and job.attempt == 0 and (done, job.index) == (options.at, options.process):
        from experiments.benchmarks.faults import fault

        fault(options.fault)


if __name__ == "__main__":
    command(main, Options)
