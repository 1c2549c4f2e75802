"""Every program on the pages of docs/ runs, page by page, and prints what the page says."""

from collections.abc import Callable
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if "```python" in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_every_program_runs(page: Path, run_page: Callable[[Path], int]) -> None:
    assert run_page(page) >= 1


def test_pages_have_programs() -> None:
    assert {"index.md", "layers.md", "training.md", "optimizers.md", "errors.md"} <= {page.name for page in PAGES}
