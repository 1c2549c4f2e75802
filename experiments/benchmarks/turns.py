"""Contestants of a benchmark that take turns, each in a process of its own: both ends of the pipe.

The driver's end imports neither JAX nor PyTorch. The other end is `python -m experiments.benchmarks.turns MODULE NAME
TASK`: it builds `MODULE.CONTESTANTS[NAME](MODULE.Task(*TASK))`, which returns a turn, and calls that once for each line
that comes in, with the arguments on it.
"""

import contextlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PAUSE = 0.2  # seconds before a turn, in which the threads of the last one fall asleep


class Failed(Exception):  # noqa: N818
    """A contestant's process has ended."""


class Process:
    """A contestant's process: started once, it does a turn whenever it is told to, and waits."""

    def __init__(self, module: str, name: str, task: Sequence[Any], env: Mapping[str, str], devices: int = 1) -> None:
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}".strip()
        usual = {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "TORCHINDUCTOR_COMPILE_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "experiments.benchmarks.turns", module, name, json.dumps(task)],
            env={**os.environ, **usual, **env},
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

    def ask(self, *arguments: Any) -> dict[str, Any]:
        """Lets it do one turn; what that took and what it tells."""
        time.sleep(PAUSE)
        assert self.process.stdin
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(arguments), file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
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


def main() -> None:
    """Builds a contestant; then one turn for each line that comes in, answered by what it took."""
    # Only answers go where the driver reads, whatever a library prints.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    module = importlib.import_module(sys.argv[1])
    turn = module.CONTESTANTS[sys.argv[2]](module.Task(*json.loads(sys.argv[3])))
    print("{}", file=answers)
    rested_from, cpu_before = time.perf_counter(), time.process_time()
    for line in sys.stdin:
        begun = time.perf_counter()
        waiting = (time.process_time() - cpu_before) / (begun - rested_from)
        told = turn(*json.loads(line))
        rested_from, cpu_before = time.perf_counter(), time.process_time()
        told = told if isinstance(told, dict) else {"loss": told}
        print(json.dumps({"seconds": rested_from - begun, "waiting": waiting, **told}), file=answers)


if __name__ == "__main__":
    main()
