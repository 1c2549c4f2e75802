"""What a lesson is, how one is run, and the page that shows what came out."""

import html
import importlib
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from PIL import Image
from rich.markup import escape

from experiments.common import console

# In the order of the lecture.
LESSONS = (
    "neuron",
    "coffee",
    "forward",
    "linear",
    "activations",
    "descent",
    "chain_rule",
    "backprop",
    "vanishing",
    "first_weights",
    "batches",
    "optimizers",
    "losses",
    "normalization",
    "regularization",
    "mlp_cnn",
)


class Picture(NamedTuple):
    """A figure, and a sentence that says what to see in it."""

    figure: Any
    caption: str


class Told(NamedTuple):
    """What a lesson leaves: its title, equation, findings, and each picture's file with its caption."""

    name: str
    title: str
    equation: str
    findings: list[str]
    pictures: dict[Path, str]
    seconds: float


def load(name: str) -> ModuleType:
    """A lesson's module; it has TITLE, EQUATION, work(), findings(found) and pictures(found)."""
    if name not in LESSONS:
        raise ValueError(f"lesson: got {name!r}, expected one of {', '.join(LESSONS)}")
    return importlib.import_module(f"experiments.lecture.{name}")


def told(name: str, folder: Path) -> Told:
    """Runs a lesson and saves its pictures as NAME_picture.png in a folder."""
    begun, module = time.perf_counter(), load(name)
    found = module.work()
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[Path, str] = {}
    for key, picture in module.pictures(found).items():
        path = folder / f"{name}_{key}.png"
        picture.figure.savefig(path, dpi=120)
        # A picture of few colours needs a third of the bytes with a palette.
        Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)
        files[path] = picture.caption
    return Told(name, module.TITLE, module.EQUATION, module.findings(found), files, time.perf_counter() - begun)


def show(lesson: Told) -> None:
    """Prints what a lesson found."""
    console.print(f"[bold]{lesson.title}[/bold]  {escape(lesson.equation)}", highlight=False)
    for sentence in lesson.findings:
        console.print(f"  {escape(sentence)}", highlight=False)
    for path in lesson.pictures:
        console.print(f"  [dim]{path}[/dim]", highlight=False)


def index(lessons: Sequence[Told], folder: Path) -> Path:
    """Writes index.html: all lessons with their pictures, which lie in the same folder."""
    parts = [_HEAD]
    for lesson in lessons:
        sentences = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in lesson.findings)
        parts.append(f'<section id="{lesson.name}"><h2>{html.escape(lesson.title)}</h2>')
        parts.append(f"<p><code>{html.escape(lesson.equation)}</code></p><ul>{sentences}</ul>")
        parts += [
            f'<figure><img src="{path.name}" alt="{html.escape(caption)}"><figcaption>{html.escape(caption)}'
            "</figcaption></figure>"
            for path, caption in lesson.pictures.items()
        ]
        parts.append("</section>")
    page = folder / "index.html"
    page.write_text("\n".join([*parts, "</main></body></html>"]) + "\n", encoding="utf-8")
    return page


_HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>The lecture</title><style>
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0; }
main { max-width: 56rem; margin: auto; padding: 1rem; }
figure { margin: 1rem 0; }
img { max-width: 100%; height: auto; background: white; }
figcaption { opacity: .75; }
code { white-space: pre-wrap; }
</style></head><body><main><h1>The lecture, slide by slide</h1>"""
