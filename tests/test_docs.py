"""Every program on the pages of docs/ runs, page by page, and prints what the page says."""

import importlib
import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

import fnn

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if "```python" in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_every_program_runs(page: Path, run_page: Callable[[Path], int]) -> None:
    assert run_page(page) >= 1


def test_pages_have_programs() -> None:
    assert {"index.md", "layers.md", "training.md", "optimizers.md", "errors.md"} <= {page.name for page in PAGES}


@pytest.mark.parametrize("part", [name for name in fnn.__all__ if name != "fit"])
def test_every_public_name_is_in_the_reference(part: str) -> None:
    module = importlib.import_module(f"fnn.{part}")
    page = (DOCS / "api" / f"{part}.md").read_text(encoding="utf-8").splitlines()
    assert f"::: fnn.{part}" in page
    if hasattr(module, "__path__"):
        # A package's names come from its files, each under the name that is public.
        assert not [n for n in module.__all__ if f"      heading: fnn.{part}.{n}" not in page]


def test_the_table_of_conventions_has_every_equation() -> None:
    spec = importlib.util.spec_from_file_location("hooks", DOCS / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    page = hooks.on_page_markdown((DOCS / "optimizers.md").read_text(encoding="utf-8"))
    for rule in hooks.RULES:
        for name in fnn.optim.conventions(rule):
            row = fnn.optim.convention(name, rule)
            assert f'"{name}"' in page
            assert all(f"\n{line}\n" in page for line in row.equations)
            assert row.source in page
