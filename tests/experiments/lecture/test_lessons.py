"""Every lesson has its parts, its page and its pictures, and the whole lecture runs from the command line."""

import re
from pathlib import Path

import pytest

from experiments.lecture import __main__ as command
from experiments.lecture.lesson import LESSONS, load

ROOT = Path(__file__).parents[3]
PAGES, PICTURES = ROOT / "docs" / "lecture", ROOT / "docs" / "pictures" / "lecture"
HELPERS = {"__init__", "__main__", "lesson"}


def test_every_file_is_a_lesson() -> None:
    files = {path.stem for path in (ROOT / "experiments" / "lecture").glob("*.py")} - HELPERS
    assert files == set(LESSONS)
    assert {path.stem for path in PAGES.glob("*.md")} - {"index"} == set(LESSONS)


@pytest.mark.parametrize("name", LESSONS)
def test_parts_of_a_lesson(name: str) -> None:
    module = load(name)
    assert module.TITLE
    assert module.EQUATION
    source = Path(str(module.__file__)).read_text(encoding="utf-8")
    (shown,) = re.findall(r"\[start:code\]\n(.*?)# --8<-- \[end:code\]", source, re.DOTALL)
    assert 8 <= len([line for line in shown.splitlines() if line.strip()]) <= 32


@pytest.mark.parametrize("name", LESSONS)
def test_its_page_shows_its_code_and_pictures(name: str) -> None:
    page = (PAGES / f"{name}.md").read_text(encoding="utf-8")
    assert page.startswith(f"# {load(name).TITLE}\n")
    assert f'--8<-- "experiments/lecture/{name}.py:code"' in page
    assert f"python -m experiments.lecture {name}`" in page
    pictures = re.findall(r"!\[[^\]]+\]\(\.\./pictures/lecture/(\w+\.png)\)", page)
    assert pictures
    assert all((PICTURES / picture).is_file() for picture in pictures)
    assert f"lecture/{name}.md" in (ROOT / "mkdocs.yml").read_text(encoding="utf-8")


def test_a_lesson_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command.main(command.LectureOptions(("vanishing",), tmp_path))
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert '<img src="vanishing_norms.png"' in page
    assert (tmp_path / "vanishing_norms.png").stat().st_size > 10_000
    assert "Vanishing gradients" in capsys.readouterr().out


def test_an_unknown_lesson_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lesson: got 'perceptrons', expected one of "):
        command.main(command.LectureOptions(("perceptrons",), tmp_path))
    assert not list(tmp_path.iterdir())
