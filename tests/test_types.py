"""The annotations are true: every doctest of the package runs with beartype checking every call."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fnn

PACKAGE = Path(fnn.__file__).parent

# In a process of its own, since the hook must be there before the package is imported.
PROGRAM = """
import doctest, importlib, pathlib, sys, types
import beartype, jax, numpy, optax
from jaxtyping import install_import_hook

# As for a type checker, an int is a float too.
sys.modules["checker"] = types.ModuleType("checker")
sys.modules["checker"].check = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))

name = sys.argv[1]
hook = install_import_hook(name, "checker.check")
package = importlib.import_module(name)
root = pathlib.Path(package.__file__).parent
given = {"jax": jax, "jnp": jax.numpy, "np": numpy, "optax": optax, name: package}
runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
# exclude_empty, and no module: a checked function is wrapped, so doctest would take it for somebody else's.
finder = doctest.DocTestFinder(exclude_empty=True)
for path in sorted(root.rglob("*.py")):
    parts = [name, *path.relative_to(root).with_suffix("").parts]
    if parts[-1] == "__main__":
        continue
    module = importlib.import_module(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    for n, value in vars(module).items():
        # What is the module's own, under its first name; a ParamSpec has a name and a docstring too.
        own = callable(value) and getattr(value, "__module__", None) == module.__name__
        if not own or getattr(value, "__name__", None) != n:
            continue
        for test in finder.find(value, f"{module.__name__}.{n}", module=False, globs=given | vars(module)):
            runner.run(test)
    if ">>>" in (module.__doc__ or ""):
        runner.run(doctest.DocTestParser().get_doctest(module.__doc__, given | vars(module), module.__name__, None, 0))
print("tried", runner.tries, "failed", runner.failures)
sys.exit(runner.failures > 0)
"""


def _run(package: str, *path: Path) -> subprocess.CompletedProcess[str]:
    # Compiled as XLA chooses, not as tests/conftest.py does to save time.
    flags = "--xla_force_host_platform_device_count=8"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "XLA_FLAGS": flags}
    return subprocess.run([sys.executable, "-c", PROGRAM, package], env=env, capture_output=True, text=True)


def _examples(root: Path) -> int:
    """Lines of all doctests, counted in the source."""
    import doctest

    texts = []
    for path in root.rglob("*.py"):
        if path.name == "__main__.py":
            continue  # importing it is running it
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Module):
                texts.append(ast.get_docstring(node) or "")
    return sum(len(doctest.DocTestParser().get_examples(text)) for text in texts)


def test_every_doctest_runs_under_beartype() -> None:
    done = _run("fnn")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"tried {_examples(PACKAGE)} failed 0" in done.stdout


@pytest.mark.parametrize(("annotation", "returncode"), [("float", 0), ("str", 1)])
def test_a_wrong_annotation_is_found(tmp_path: Path, annotation: str, returncode: int) -> None:
    (tmp_path / "sample").mkdir()
    (tmp_path / "sample" / "__init__.py").write_text(
        f'def half(x: float) -> {annotation}:\n    """Half.\n\n    >>> half(3.0)\n    1.5\n    """\n    return x / 2\n'
    )
    done = _run("sample", tmp_path)
    assert done.returncode == returncode, done.stdout + done.stderr
    assert "tried 1 " in done.stdout
