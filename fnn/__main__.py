"""The command line, `python -m fnn`: `doctor`, `launch`, `laws` and `report`."""

import importlib
import sys
from collections.abc import Sequence

# Each command is a module with `parse` and `run`, imported where it is asked for.
_COMMANDS = {
    "doctor": "fnn.doctor.command",
    "launch": "fnn.parallel.command",
    "laws": "fnn.laws.command",
    "report": "fnn.plot.command",
}
_USAGE = """usage: python -m fnn COMMAND ...

doctor  check this machine: versions, devices, and whether what it computes is right
launch  run a script in several processes, watched and restarted: python -m fnn launch --processes 4 train.py
laws    check an optimizer against the laws of update rules, such as: python -m fnn laws optax.adamw weight_decay=0.1
report  write a run's folder as one page of HTML, such as: python -m fnn report runs/digits

python -m fnn COMMAND --help tells the options of each.
"""


def main(arguments: Sequence[str]) -> int:
    """Runs one command; the exit status is 0 where all is well.

    Example:
        >>> main(["laws", "fnn.optim.sgd", "--only", "memory"])
        fnn.optim.sgd: 1 held (... s)
        <BLANKLINE>
          held            memory: 0 numbers a parameter, and 1 more
        0
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_USAGE, end="")
        return 0
    name, *rest = arguments
    if name not in _COMMANDS:
        print(f"error: command: got {name!r}, expected {' or '.join(_COMMANDS)}.\n{_USAGE}", file=sys.stderr, end="")
        return 2
    command = importlib.import_module(_COMMANDS[name])
    return command.run(command.parse(rest))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
