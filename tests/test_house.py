"""The rules of the house, read from the source: floors, sizes, docstrings, annotations, public names."""

import ast
import dataclasses
import importlib
import inspect
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import fnn

# A part may import only parts of a lower floor. Each entry is a file or a folder directly under fnn/.
FLOORS = [
    {"typing"},
    {"tree", "keys", "jaxlibs", "signals"},
    {"errors"},
    {"targets", "contract", "agreed"},
    {"activations", "augment", "initializers", "losses", "metrics", "data"},
    {"optim", "nn"},
    {"inspect", "checkpoint", "parallel"},
    {"train"},
    {"interop"},
    {"population"},
    {"record"},
    {"shipping"},
    {"laws"},
    {"doctor"},
    {"plot"},
    {"__main__"},
]
FLOOR = {part: floor for floor, parts in enumerate(FLOORS) for part in parts}
# `train` takes functions, whoever wrote them: it may not know networks or losses of ours.
FORBIDDEN = {"train": {"nn", "losses"}}
# Helpers of the house itself, which a user has no need to call: a docstring is enough.
FOR_THE_HOUSE = {"agreed", "contract", "errors", "jaxlibs", "keys", "signals", "targets"}
MOST_LINES = 300
MOST_BODY_LINES = 40
DEEPEST_CLOSURE = 2

PACKAGE = Path(fnn.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
Function = ast.FunctionDef | ast.AsyncFunctionDef


def _module(path: Path) -> str:
    parts = ["fnn", *path.relative_to(PACKAGE).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _name(path: Path) -> str:
    return str(path.relative_to(PACKAGE.parent))


MODULES = {_module(path): path for path in FILES}


def _part(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every module of ours that the file imports, wherever the statement stands."""
    here = _module(path).split(".")
    for node in ast.walk(TREES[path]):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names if alias.name.split(".")[0] == "fnn")
        elif isinstance(node, ast.ImportFrom):
            package = here if path.name == "__init__.py" else here[:-1]
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            if base.split(".")[0] == "fnn":
                yield from ((node.lineno, _target(base, alias.name)) for alias in node.names)


def _target(base: str, name: str) -> str:
    return f"{base}.{name}" if f"{base}.{name}" in MODULES else base


def _functions(path: Path) -> Iterator[tuple[str, Function, list[ast.AST]]]:
    """Every function of a file, with its dotted name and what encloses it."""

    def visit(node: ast.AST, name: str, around: list[ast.AST]) -> Iterator[tuple[str, Function, list[ast.AST]]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, Function):
                yield f"{name}{child.name}", child, around
            inner = f"{name}{child.name}." if isinstance(child, Function | ast.ClassDef) else name
            yield from visit(child, inner, [*around, child] if isinstance(child, Function | ast.ClassDef) else around)

    yield from visit(TREES[path], "", [])


def _body_lines(function: Function) -> int:
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0


def _upward(path: Path) -> list[str]:
    """Imports of a file that do not lead to a lower floor, and imports of the top from inside the house."""
    here = _part(_module(path))
    if not here:
        return []
    wrong = []
    for line, target in _imports(path):
        there = _part(target)
        if there == here:
            continue
        if not there or FLOOR[there] >= FLOOR[here] or there in FORBIDDEN.get(here, ()):
            wrong.append(f"{_name(path)}:{line} imports {target}")
    return wrong


def _circles(graph: dict[str, set[str]]) -> list[str]:
    """A circle of the graph as text, or nothing."""
    done: set[str] = set()

    def visit(module: str, way: list[str]) -> list[str]:
        if module in way:
            return [" -> ".join([*way[way.index(module) :], module])]
        if module in done:
            return []
        found = [circle for there in sorted(graph.get(module, ())) for circle in visit(there, [*way, module])]
        done.add(module)
        return found

    return [circle for module in sorted(graph) for circle in visit(module, [])]


def test_every_part_has_a_floor() -> None:
    assert {_part(module) for module in MODULES} - {""} <= set(FLOOR), "give the new part its floor in FLOORS"


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_imports_lead_to_a_lower_floor(path: Path) -> None:
    assert not _upward(path)


def test_imports_make_no_circle() -> None:
    # A package's __init__ imports its files, so an import of `fnn.nn` inside fnn/nn is a circle too.
    graph = {_module(path): {target for _, target in _imports(path)} - {_module(path)} for path in FILES}
    assert not _circles(graph)


def test_a_circle_is_found() -> None:
    assert _circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b -> c -> b"]
    assert not _circles({"a": {"b", "c"}, "b": {"c"}})


def test_only_the_top_imports_plot() -> None:
    others = [path for path in FILES if _part(_module(path)) != "plot"]
    users = {_name(path) for path in others for _, target in _imports(path) if _part(target) == "plot"}
    assert users == {"fnn/__init__.py"}


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_files_and_bodies_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_LINES
    long = {name: _body_lines(node) for name, node, _ in _functions(path) if _body_lines(node) > MOST_BODY_LINES}
    assert not long


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_closures_are_at_most_two_deep(path: Path) -> None:
    deep = [
        name
        for name, _, around in _functions(path)
        if sum(isinstance(node, Function) for node in around) > DEEPEST_CLOSURE
    ]
    assert not deep


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_signatures_are_annotated(path: Path) -> None:
    bare = []
    for name, node, around in _functions(path):
        a = node.args
        arguments = [*a.posonlyargs, *a.args, *a.kwonlyargs, *filter(None, (a.vararg, a.kwarg))]
        if around and isinstance(around[-1], ast.ClassDef) and arguments[:1] and arguments[0].arg in ("self", "cls"):
            arguments = arguments[1:]
        bare += [f"{name}({x.arg})" for x in arguments if x.annotation is None]
        if node.returns is None and node.name != "__init__":
            bare.append(f"{name} -> ?")
    assert not bare


def _exported(module: ModuleType) -> dict[str, object]:
    """The public names of a module: `__all__` of a package, else what is defined in the file."""
    names = getattr(module, "__all__", None)
    if names is None:
        members = vars(module).items()
        names = [n for n, v in members if not n.startswith("_") and getattr(v, "__module__", None) == module.__name__]
    return {name: getattr(module, name) for name in names if hasattr(module, name)}


PUBLIC = {f"fnn.{part}": importlib.import_module(f"fnn.{part}") for part in sorted(FLOOR) if f"fnn.{part}" in MODULES}
EXPORTS = [
    (f"{module}.{name}", value)
    for module, loaded in PUBLIC.items()
    for name, value in _exported(loaded).items()
    if inspect.isroutine(value) or inspect.isclass(value)
]


def test_dir_shows_what_is_public() -> None:
    assert dir(fnn) == sorted([*fnn.__all__, "__version__"])


@pytest.mark.parametrize("package", [path for path in FILES if path.name == "__init__.py"], ids=_name)
def test_every_name_in_all_exists_once(package: Path) -> None:
    module = importlib.import_module(_module(package))
    names = list(getattr(module, "__all__", ()))
    assert names, "the package says in __all__ what is public"
    assert not [name for name in names if not hasattr(module, name)]
    assert not [name for name, times in Counter(names).items() if times > 1]


def test_every_public_name_has_one_module() -> None:
    # Two names in one module are allowed: `he` is also known as `he_normal`.
    homes: dict[int, set[str]] = {}
    for path, value in [*EXPORTS, *((f"fnn.{name}", getattr(fnn, name)) for name in getattr(fnn, "__all__", ()))]:
        homes.setdefault(id(value), set()).add(path.rpartition(".")[0])
    assert not {str(homes[id(value)]) for _, value in EXPORTS if len(homes[id(value)]) > 1}


@pytest.mark.parametrize(("path", "value"), EXPORTS, ids=[path for path, _ in EXPORTS])
def test_every_public_name_is_documented_with_an_example(path: str, value: object) -> None:
    text = inspect.getdoc(value) or ""
    assert text, "no docstring"
    assert text.splitlines()[0].endswith((".", ":")), "the first line is one sentence"
    assert ">>>" in text or _needs_no_example(path, value), "no Example that runs"


def _needs_no_example(path: str, value: object) -> bool:
    if _part(path) in FOR_THE_HOUSE or not value.__module__.startswith("fnn"):
        return True
    # A record, a Protocol or an error is shown by the functions that make, take or raise it.
    return inspect.isclass(value) and (
        issubclass(value, Exception)
        or getattr(value, "_is_protocol", False)
        or hasattr(value, "_fields")
        or dataclasses.is_dataclass(value)
    )


# What only some users have, or what is slow to import: each is imported where it is used.
EXTRAS = ["matplotlib", "sklearn", "scipy", "rich", "tyro", "orbax", "flax", "grain", "hypothesis", "torch", "PIL"]
EXTRAS += ["pandas", "safetensors"]


def test_import_loads_no_extra() -> None:
    program = f"import sys, fnn; print(*sorted(set({EXTRAS!r}) & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True)
    assert out.stdout.split() == []
