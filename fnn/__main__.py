"""The command line, `python -m fnn`: `laws` checks an optimizer against the laws of update rules."""

import sys
from collections.abc import Sequence

from fnn.laws import command

_USAGE = """usage: python -m fnn laws FACTORY [name=value ...] [--like RULE] [--only LAW ...] [--examples N]

laws   check an optimizer against the laws of update rules, such as: python -m fnn laws optax.adamw weight_decay=0.1
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
    if arguments[0] != "laws":
        print(f"error: command: got {arguments[0]!r}, expected laws.\n{_USAGE}", file=sys.stderr, end="")
        return 2
    return command.run(command.parse(arguments[1:]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
