"""`python -m fnn report runs/digits`: a run's folder as one page of HTML."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from fnn import record
from fnn.plot.report import report


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a command line.

    Example:
        >>> parse(["runs/digits"]).folder.name
        'digits'
    """
    parser = argparse.ArgumentParser(prog="python -m fnn report", description=__doc__)
    parser.add_argument("folder", type=Path, help="what an experiment or fnn.record.save has written")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page; by default FOLDER/report.html")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace) -> int:
    """Writes the page and says where it is; 2 where the call is wrong, else 0."""
    out = options.out or options.folder / "report.html"
    try:
        page = report(record.load(options.folder))
        out.write_text(page, encoding="utf-8")
    except (ValueError, TypeError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{out} ({len(page) / 1e6:.1f} MB)")
    return 0
