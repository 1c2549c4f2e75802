"""What `import fnn` costs over `import jax`: `python -m experiments.benchmarks.startup`.

Each import is timed in a fresh process from its start to its end; the processes take turns, so that whatever else
the machine does falls on all of them alike. The aim is at most 0.4 s over `import jax`.
"""

import argparse
import statistics
import subprocess
import sys
import time

PROGRAMS = {
    "nothing": "pass",
    "import jax": "import jax",
    "import optax": "import optax",
    "import fnn": "import fnn",
}


def seconds(program: str) -> float:
    """The wall time of a fresh interpreter that runs this program."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    return time.perf_counter() - begun


def main() -> None:
    """Prints a table of medians and of what they are over `import jax`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=11, help="processes for each row (default: 11)")
    repeats = parser.parse_args().repeats
    for program in PROGRAMS.values():
        seconds(program)  # fills the disk's and the bytecode's caches
    taken = {name: [] for name in PROGRAMS}
    for _ in range(repeats):
        for name, program in PROGRAMS.items():
            taken[name].append(seconds(program))
    base = statistics.median(taken["import jax"])
    print(f"{'':14}{'median':>10}{'fastest':>10}{'over jax':>10}   ({repeats} processes each)")
    for name, times in taken.items():
        middle = statistics.median(times)
        print(f"{name:14}{middle:>8.3f} s{min(times):>8.3f} s{middle - base:>+8.3f} s")


if __name__ == "__main__":
    main()
