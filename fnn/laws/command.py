"""`python -m fnn laws optax.adamw`: the report on any factory that can be imported."""

import argparse
import ast
import contextlib
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax

from fnn.errors import message
from fnn.laws.transform import check_transform
from fnn.optim import Convention, convention


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of a command line.

    Example:
        >>> parse(["optax.adam", "b1=0.5", "--only", "odd"]).only
        ['odd']
    """
    parser = argparse.ArgumentParser(prog="python -m fnn laws", description=__doc__)
    parser.add_argument("factory", help="such as optax.adamw, fnn.optim.adam, my_package.my_module.my_rule")
    parser.add_argument(
        "arguments", nargs="*", metavar="name=value", help="the factory's arguments, such as weight_decay=0.1"
    )
    parser.add_argument("--like", metavar="RULE", help="what it claims to be: adam, or a convention: torch/adam")
    parser.add_argument("--only", nargs="+", metavar="LAW", help="check these laws alone")
    parser.add_argument("--examples", type=int, default=20, metavar="N", help="cases that each search tries")
    return parser.parse_intermixed_args(arguments)


def run(options: argparse.Namespace) -> int:
    """Prints the report; 1 where a law is broken, 2 where the call is wrong, else 0."""
    with contextlib.suppress(RuntimeError):  # too late, where a program of its own has begun with JAX
        jax.config.update("jax_num_cpu_devices", 8)  # the laws of sharding need more than one
    try:
        report = check_transform(
            imported(options.factory),
            hyperparams=dict(map(_argument, options.arguments)),
            like=_like(options.like),
            laws=options.only,
            examples=options.examples,
            name=options.factory,
        )
    except (ValueError, TypeError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(report)
    return 1 if report.broken else 0


def imported(path: str) -> Callable[..., Any]:
    """The object with this dotted name; modules of the current folder are found too.

    Raises:
        ValueError: there is no such module, or it has no such name.

    Example:
        >>> imported("math.sqrt")(9.0)
        3.0
    """
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    parts = path.replace(":", ".").split(".")
    for cut in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:cut])
        try:
            found: Any = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name is None or not name.startswith(error.name):
                raise
            continue
        try:
            for attribute in parts[cut:]:
                found = getattr(found, attribute)
        except AttributeError as error:
            raise ValueError(message("factory", path, f"a name in the module {name}", f"{error}.")) from error
        return found
    raise ValueError(message("factory", path, "module.function", "Such as optax.adam."))


def _argument(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(message("arguments", text, "name=value", "Such as weight_decay=0.1."))
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def _like(text: str | None) -> str | Convention | None:
    if text is None or "/" not in text:
        return text
    name, _, rule = text.partition("/")
    return convention(name, rule)
