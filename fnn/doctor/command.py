"""`python -m fnn doctor`: whether this machine computes right."""

import argparse
import json
from collections.abc import Sequence

from fnn.doctor.examine import examine


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a command line.

    Example:
        >>> parse(["--json"]).json
        True
    """
    parser = argparse.ArgumentParser(prog="python -m fnn doctor", description=__doc__)
    parser.add_argument("--json", action="store_true", help="all of it as JSON")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    """Prints the diagnosis; 1 where the backend computes wrong numbers or does not start, else 0."""
    diagnosis = examine()
    print(json.dumps(diagnosis.as_dict(), indent=2) if options.json else diagnosis)
    return 0 if diagnosis.healthy else 1
