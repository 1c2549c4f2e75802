"""Every program on the pages of docs/ runs, page by page, and prints what the page says."""

import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

import fnn
from fnn.laws import layer, loss, step, transform

DOCS = Path(__file__).parents[1] / "docs"
PAGES = [page for page in sorted(DOCS.rglob("*.md")) if "```python" in page.read_text(encoding="utf-8")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_every_program_runs(page: Path, run_page: Callable[[Path], int]) -> None:
    assert run_page(page) >= 1


def test_pages_have_programs() -> None:
    assert {"index.md", "layers.md", "training.md", "optimizers.md", "laws.md", "optax.md", "errors.md"} <= {
        page.name for page in PAGES
    }


@pytest.mark.parametrize("part", [name for name in fnn.__all__ if name not in ("export", "fit", "sweep")])
def test_every_public_name_is_in_the_reference(part: str) -> None:
    module = importlib.import_module(f"fnn.{part}")
    page = (DOCS / "api" / f"{part}.md").read_text(encoding="utf-8").splitlines()
    assert f"::: fnn.{part}" in page
    if hasattr(module, "__path__"):
        # A package's names come from its files, each under the name that is public.
        assert not [n for n in module.__all__ if f"      heading: fnn.{part}.{n}" not in page]


def _hooks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("hooks", DOCS / "hooks.py")
    assert spec is not None
    assert spec.loader is not None
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    return hooks


def test_the_table_of_conventions_has_every_equation() -> None:
    hooks = _hooks()
    page = hooks.on_page_markdown((DOCS / "optimizers.md").read_text(encoding="utf-8"))
    for rule in hooks.RULES:
        for name in fnn.optim.conventions(rule):
            row = fnn.optim.convention(name, rule)
            assert f'"{name}"' in page
            assert all(f"\n{line}\n" in page for line in row.equations)
            assert row.source in page


def test_the_example_of_tests_passes(tmp_path: Path) -> None:
    example = DOCS / "examples" / "test_my_optimizer.py"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(example)]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout


def test_the_table_of_laws_has_every_law() -> None:
    page = _hooks().on_page_markdown((DOCS / "laws.md").read_text(encoding="utf-8"))
    for laws in (transform.LAWS, loss.LAWS, layer.LAWS, step.LAWS):
        assert all(f"| `{law.name}` | " in page for law in laws)


def test_findings_in_optax_are_all_explained() -> None:
    page = (DOCS / "optax.md").read_text(encoding="utf-8")
    rows = (DOCS / "figures" / "laws_of_optax.md").read_text(encoding="utf-8").splitlines()[2:]
    broken = [row.split("`")[1] for row in rows if row.startswith("|")]
    assert len(broken) > 10
    assert not [law for law in broken if f"`{law}`" not in page]
