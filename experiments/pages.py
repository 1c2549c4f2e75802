"""The pictures of tutorials: runs the programs of a page of docs/, as its tests do, and keeps the pictures they write.

`python -m experiments.pages docs/tutorials/sweep.md --out docs/pictures` renews those that the page shows.
"""

import contextlib
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from experiments.common import command, console

_PYTHON = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class PagesOptions:
    """What can be chosen."""

    page: tyro.conf.Positional[Path]
    """The page, a Markdown file."""
    out: Path = Path("runs/pages")
    """Folder for the pictures."""


def programs(page: Path) -> list[str]:
    """The programs of a page, each behind as many empty lines as stand above it, so that errors name its own line."""
    text = page.read_text(encoding="utf-8")
    return ["\n" * text.count("\n", 0, found.start(1)) + found[1] for found in _PYTHON.finditer(text)]


def drawn(page: Path, out: Path) -> list[Path]:
    """Runs a page's programs in an empty folder, one after another, and brings the pictures they leave there."""
    names: dict[str, Any] = {"__name__": "__main__"}
    compiled = [compile(code, str(page), "exec") for code in programs(page)]
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.chdir(folder):
            for code in compiled:
                exec(code, names)
        pictures = {picture.name: picture.read_bytes() for picture in sorted(Path(folder).glob("*.png"))}
    out.mkdir(parents=True, exist_ok=True)
    for name, content in pictures.items():
        (out / name).write_bytes(content)
    return [out / name for name in pictures]


def main(options: PagesOptions) -> None:
    """Runs the page, and says where its pictures are."""
    for picture in drawn(options.page, options.out):
        console.print(str(picture), highlight=False, soft_wrap=True)


if __name__ == "__main__":
    command(main, PagesOptions, prog="python -m experiments.pages", description=__doc__)
