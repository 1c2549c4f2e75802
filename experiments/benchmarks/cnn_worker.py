"""The contestants of `experiments.benchmarks.cnn`, each in a process of its own: both ends of the pipe.

The driver's end imports neither JAX nor PyTorch.
"""

import argparse
import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
PAUSE = 0.2  # seconds before a turn, in which the threads of the last one fall asleep
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


class Failed(Exception):  # noqa: N818
    """A contestant's process has ended."""


class Worker:
    """A contestant's process: started once, it does a turn whenever it is told to, and waits."""

    def __init__(self, name: str, options: argparse.Namespace) -> None:
        self.name, self.peer = name, PEER[name]
        self.steps = min(options.steps, SLOW_STEPS) if self.peer.slow else options.steps
        self.turns: list[dict[str, float]] = []
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        task = json.dumps([self.steps, options.batch, options.cores, options.data])
        devices = options.cores if self.peer.split else 1
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}".strip()
        env = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "TORCHINDUCTOR_COMPILE_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "experiments.benchmarks.cnn_worker", name, task],
            env={**os.environ, **env, **self.peer.env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            cwd=ROOT,
        )
        try:
            self._answer()
        except Failed:
            self.end()
            raise

    def turn(self) -> None:
        """Lets it do one turn."""
        time.sleep(PAUSE)
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            print("go", file=self.process.stdin, flush=True)
        self.turns.append(self._answer())

    def _answer(self) -> dict[str, float]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            said = [said.strip() for said in self.log.read().splitlines() if said.strip()]
            raise Failed(next((s for s in reversed(said) if "Error" in s), said[-1] if said else "it ended"))
        return json.loads(line)

    def end(self) -> None:
        """Ends the process."""
        assert self.process.stdin and self.process.stdout  # noqa: PT018
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.log.close()

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


def main() -> None:
    """Builds a contestant; then one turn for each line that comes in, answered by what it took."""
    # Only answers go where the driver reads, whatever a library prints.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    from experiments.benchmarks import cnn_peers

    turn = cnn_peers.CONTESTANTS[sys.argv[1]](cnn_peers.Task(*json.loads(sys.argv[2])))
    print("{}", file=answers)
    rested_from, cpu_before = time.perf_counter(), time.process_time()
    for _ in sys.stdin:
        begun = time.perf_counter()
        waiting = (time.process_time() - cpu_before) / (begun - rested_from)
        loss = turn()
        rested_from, cpu_before = time.perf_counter(), time.process_time()
        print(json.dumps({"seconds": rested_from - begun, "loss": loss, "waiting": waiting}), file=answers)


if __name__ == "__main__":
    main()
