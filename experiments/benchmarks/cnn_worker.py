"""The contestants of `experiments.benchmarks.cnn` as their driver sees them, without JAX or PyTorch."""

import argparse
import itertools
import statistics
from typing import Any, NamedTuple

from experiments.benchmarks.turns import Process

SLOW_STEPS = 2  # of a turn of XLA's own gradients inside scan, more than ten times slower than the rest
CONVOLUTIONS, HIDDEN, CLASSES, SIZE = (32, 64), 128, 10, 28
SIDE = 3072  # of the matrix product


class Peer(NamedTuple):
    """A contestant.

    Attributes:
        label: its name in the table.
        module: what must be installed.
        env: set in its process's environment.
        split: whether it has as many host devices as cores.
        same: whether it must train exactly as fnn in one program does.
        slow: whether a few steps are enough.
    """

    label: str
    module: str = "jax"
    env: dict[str, str] = {}  # noqa: RUF012
    split: bool = False
    same: bool = False
    slow: bool = False


PASSIVE = {"OMP_WAIT_POLICY": "passive"}
PEER = {
    "matmul": Peer(f"matrix product, {SIDE}x{SIDE}"),
    "fnn": Peer("fnn, one program", same=True),
    "fnn-shard-map": Peer("fnn, one program, a device a core: shard_map", split=True, same=True),
    "fnn-constraint": Peer("fnn, one program, a device a core: constraint", split=True, same=True),
    "fnn-loop": Peer("fnn, host loop", same=True),
    "fnn-xla": Peer('fnn, one program, lowering="xla"', slow=True),
    "torch": Peer("PyTorch", "torch"),
    "torch-last": Peer("PyTorch, channels_last", "torch"),
    "torch-pooled": Peer("PyTorch, channels_last, ReLU after pooling", "torch"),
    "torch-compile": Peer("PyTorch, torch.compile", "torch"),
    "torch-compile-last": Peer("PyTorch, torch.compile, channels_last", "torch"),
    "torch-last-passive": Peer("PyTorch, channels_last, passive", "torch", PASSIVE),
    "torch-pooled-passive": Peer("PyTorch, channels_last, ReLU after ..., passive", "torch", PASSIVE),
    "torch-compile-passive": Peer("PyTorch, torch.compile, passive", "torch", PASSIVE),
    "linen": Peer("Flax Linen + Optax, host loop", "flax"),
    "nnx": Peer("Flax NNX + Optax, host loop", "flax"),
}


def flops(batch: int) -> int:
    """Of one step: twice the multiply-adds of the forward product and of both gradients, of every layer.

    The first layer needs no gradient of its input. Everything else (bias, ReLU, pooling, Adam) is left out.
    """
    size, before, forward = SIZE, 1, []
    for channels in CONVOLUTIONS:
        forward.append(2 * size**2 * 9 * before * channels)
        size, before = size // 2, channels
    widths = [size**2 * before, HIDDEN, CLASSES]
    forward += [2 * a * b for a, b in itertools.pairwise(widths)]
    return batch * (3 * sum(forward) - forward[0])


class Worker(Process):
    """A contestant's process, and the turns that it did."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        self.name, self.peer = name, PEER[name]
        self.steps = min(options.steps, SLOW_STEPS) if self.peer.slow else options.steps
        self.turns: list[dict[str, Any]] = []
        task = [self.steps, options.batch, options.cores, options.data]
        devices = options.cores if self.peer.split else 1
        super().__init__("experiments.benchmarks.cnn_peers", name, task, self.peer.env, devices)

    def turn(self) -> None:
        """Lets it do one turn."""
        self.turns.append(self.ask())

    def row(self, batch: int) -> dict[str, Any]:
        """What it took, without the two turns that warm it up."""
        times = [1e3 * turn["seconds"] / self.steps for turn in self.turns]
        ms = statistics.median(times[2:])
        work = 2 * SIDE**3 if self.name == "matmul" else flops(batch)
        return {
            "label": self.peer.label,
            "ms": ms,
            "gflops": work / ms / 1e6,
            "compile_seconds": max(0.0, self.turns[0]["seconds"] - ms * self.steps / 1e3),
            "idle": max(turn["waiting"] for turn in self.turns[2:]),
            "losses": [turn["loss"] for turn in self.turns],
            "turns_ms": times[2:],
        }
