"""Pictures of the tutorials: a page's programs run in one namespace, and leave the pictures that the page shows."""

import re
from pathlib import Path

import pytest

from experiments.pages import PagesOptions, drawn, main, programs

ROOT = Path(__file__).parents[2]
PAGE = """Text.

```python
from pathlib import Path

content = b"seen"
```

```py
raise RuntimeError("not run")
```

```python
Path("a.png").write_bytes(content)
Path("notes.txt").write_text("no picture")
```
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    page = tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    return page


def test_pictures_are_kept(page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert drawn(page, out) == [out / "a.png"]
    assert (out / "a.png").read_bytes() == b"seen"
    assert [p.name for p in out.iterdir()] == ["a.png"]
    main(PagesOptions(page, out))
    assert "a.png" in capsys.readouterr().out


def test_errors_name_the_line(page: Path) -> None:
    assert [code.index("from") for code in programs(page)[:1]] == [3]


def test_tutorials_write_the_pictures_that_they_show() -> None:
    shown = 0
    for tutorial in (ROOT / "docs" / "tutorials").glob("*.md"):
        text = tutorial.read_text(encoding="utf-8")
        for name in re.findall(r"!\[[^\]]+\]\(\.\./pictures/(\w+\.png)\)", text):
            assert f'savefig("{name}"' in text
            assert (ROOT / "docs" / "pictures" / name).is_file()
            shown += 1
    assert shown >= 1
