"""`python -m fnn launch --processes 4 train.py`: a script in several processes, watched and started again."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fnn.errors import message
from fnn.parallel.launch import launch


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a command line; all that follows the script is the script's own.

    Example:
        >>> options = parse(["--processes", "4", "train.py", "--limit", "3"])
        >>> options.processes, options.limit, options.script
        (4, 60.0, ['train.py', '--limit', '3'])
        >>> parse(["--processes", "4", "-m", "package.train", "--epochs", "3"]).module
        ['package.train', '--epochs', '3']
    """
    # An abbreviated option could be meant for the script.
    parser = argparse.ArgumentParser(
        prog="python -m fnn launch",
        description=__doc__,
        usage="%(prog)s --processes N [options] (script.py | -m module) [its arguments ...]",
        allow_abbrev=False,
    )
    parser.add_argument("--processes", type=int, required=True, metavar="N", help="how many, on this machine")
    parser.add_argument("--limit", type=float, default=60.0, metavar="S", help="seconds a step may take (default: 60)")
    parser.add_argument(
        "--startup", type=float, default=300.0, metavar="S", help="seconds until the first step (default: 300)"
    )
    parser.add_argument(
        "--restarts", type=int, default=3, metavar="N", help="how many in a row may get no further (default: 3)"
    )
    parser.add_argument(
        "--fewest", type=int, metavar="N", help="go on with fewer processes, down to this many (default: never fewer)"
    )
    parser.add_argument("--grace", type=float, default=10.0, metavar="S", help="seconds to save in (default: 10)")
    parser.add_argument("--port", type=int, metavar="P", help="of the coordinator (default: a free one)")
    parser.add_argument("-m", dest="module", nargs=argparse.REMAINDER, help="a module, as python -m takes it")
    parser.add_argument("script", nargs=argparse.REMAINDER, help="a script of Python, and its arguments")
    options = parser.parse_args(arguments)
    options.script = options.script[1:] if options.script[:1] == ["--"] else options.script
    if not (options.module or options.script):
        parser.error("give a script, or -m and a module")
    return options


def run(options: argparse.Namespace) -> int:
    """Launches; 0 where all is done, 2 where the call is wrong, else the status of what failed."""
    try:
        launched = launch(
            [sys.executable, *_words(options)],
            options.processes,
            limit=options.limit,
            startup=options.startup,
            restarts=options.restarts,
            fewest=options.fewest,
            grace=options.grace,
            port=options.port,
        )
    except (ValueError, TypeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return launched.status


def _words(options: argparse.Namespace) -> list[str]:
    if options.module:
        return ["-m", *options.module]
    script, *rest = options.script
    if not Path(script).exists():
        raise ValueError(message("script", script, "a file of Python", "For a module give -m and its name."))
    return [script, *rest]
