"""The README's programs run, and its two commands are there."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_every_program_runs(run_page: Callable[[Path], int]) -> None:
    assert run_page(README) >= 1


@pytest.mark.parametrize(
    ("name", "ends"), [("main job", "-m experiments.digits"), ("tests", r"-m pytest[\w -]*")], ids=["one", "two"]
)
def test_a_command_is_one_line_that_starts_from_nothing(name: str, ends: str) -> None:
    # .ci/run finds the commands by the same comments and runs them as they stand.
    [command] = re.findall(rf"^<!-- command: {name} -->\n```bash\n(.*?)\n```$", README.read_text("utf-8"), re.M | re.S)
    assert re.fullmatch(rf"python3 -m venv \.venv && [^\n]*pip install [^\n]* && \.venv/bin/python {ends}", command)


def test_a_false_page_is_found(run_page: Callable[[Path], int], tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# x\n```python\na = 1\n```\ntext\n```python\nprint(a, 2.5)\n```\n\n```text\n1 2...\n```\n")
    assert run_page(page) == 2
    page.write_text("```python\nprint(1)\n```\n\n```text\n2\n```\n")
    with pytest.raises(AssertionError, match=r"page\.md:2 prints\s+1\s+and the page says\s+2"):
        run_page(page)
    page.write_text("\n\n```python\nfnn\n```\n")
    with pytest.raises(NameError) as failure:
        run_page(page)
    assert failure.traceback[-1].lineno == 3
