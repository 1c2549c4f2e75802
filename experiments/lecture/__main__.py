"""The lecture, slide by slide: all lessons, or those that are named, such as `python -m experiments.lecture vanishing`.

Each prints what it found; its pictures, and a page with all of them, are written under runs/lecture/.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.progress import Progress

from experiments.common import command, console
from experiments.lecture.lesson import LESSONS, index, load, show, told


@dataclass(frozen=True)
class LectureOptions:
    """What can be chosen."""

    lessons: tyro.conf.Positional[tuple[str, ...]] = LESSONS
    """Which lessons, by name; all of them if none is named."""
    out: Path = Path("runs/lecture")
    """Folder for the pictures and index.html."""
    index: bool = True
    """Write index.html, a page with all of them."""


def main(options: LectureOptions) -> None:
    """Runs the lessons one after another, says what each found, and writes a page with all pictures."""
    chosen = options.lessons or LESSONS
    for name in chosen:
        load(name)
    lessons = []
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("lessons", total=len(chosen))
        for name in chosen:
            progress.update(bar, description=name)
            lessons.append(told(name, options.out))
            show(lessons[-1])
            progress.advance(bar)
    console.print(f"{len(lessons)} lessons in {sum(lesson.seconds for lesson in lessons):.0f} s", highlight=False)
    if options.index:
        console.print(str(index(lessons, options.out)), highlight=False, soft_wrap=True)


if __name__ == "__main__":
    command(main, LectureOptions, prog="python -m experiments.lecture", description=__doc__)
