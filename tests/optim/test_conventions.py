"""Conventions: the table is whole and frozen, and an optimizer computes what its convention prints."""

import dataclasses
import inspect
import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from fnn import optim
from fnn.laws.transform.oracle import Oracle, value
from fnn.optim import Convention, convention, conventions

RULES = ["momentum", "rmsprop", "adagrad", "adam"]
TABLE = [convention(name, rule) for rule in RULES for name in conventions(rule)]
each = pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row.rule}-{row.name}")


# What is printed is what is computed ---------------------------------------------------------------------

# An eps as large as the gradients shows on which side of the root it stands.
NUMBERS: dict[str, dict[str, float]] = {
    "momentum": {"beta": 0.8, "dampening": 0.25},
    "rmsprop": {"decay": 0.7, "eps": 0.5, "momentum": 0.6, "initial_accumulator": 0.75},
    "adagrad": {"eps": 0.5, "initial_accumulator": 0.25, "lr_decay": 0.5},
    "adam": {"b1": 0.8, "b2": 0.9, "eps": 0.5, "weight_decay": 0.3},
}
OPTIONS: dict[str, list[list[str]]] = {
    "momentum": [[], ["nesterov"]],
    "rmsprop": [[], ["centered"]],
    "adagrad": [[]],
    "adam": [[way, *more] for way in ("decoupled", "coupled") for more in ([], ["amsgrad"])],
}
GRADS = np.random.default_rng(0).normal(size=(5, 3))
W = np.array([1.0, -2.0, 3.0])


def _printed(row: Convention, numbers: dict[str, float], options: Sequence[str], grads: np.ndarray) -> np.ndarray:
    """The parameter after each step from W, as the printed equations lead, with the learning rate 0.1 / t."""
    return Oracle(row.equations, options).run(dict(row.defaults) | numbers, list(grads), lambda t: 0.1 / (1 + t), W)


def _ours(row: Convention, numbers: dict[str, float], options: Sequence[str], grads: np.ndarray) -> np.ndarray:
    flags: dict[str, Any] = dict.fromkeys(options, True)
    if flags.pop("coupled", False):
        flags["decoupled"] = False
    tx: Any = getattr(optim, row.rule)(lambda t: 0.1 / (1 + t), **numbers, **flags, convention=row.name)
    w = jnp.asarray(W)
    state: Any = tx.init(w)
    path = []
    for g in jnp.asarray(grads):
        updates, state = tx.update(g, state, w)
        w = jnp.asarray(optax.apply_updates(w, updates))
        path.append(np.asarray(w))
    return np.array(path)


def _numbers(row: Convention, options: Sequence[str] = ()) -> dict[str, float]:
    """The numbers that this convention has."""
    arguments = {p.name: p.default for p in inspect.signature(getattr(optim, row.rule)).parameters.values()}
    having = {k: v for k, v in NUMBERS[row.rule].items() if arguments[k] is not None or k in row.defaults}
    return {k: v for k, v in having.items() if not (k == "dampening" and "nesterov" in options)}


CASES = [(row, options) for row in TABLE for options in OPTIONS[row.rule]]


@pytest.mark.parametrize(("row", "options"), CASES, ids=lambda x: "+".join(x) if isinstance(x, list) else None)
def test_an_optimizer_computes_what_its_convention_prints(row: Convention, options: list[str]) -> None:
    numbers = _numbers(row, options)
    expected = _printed(row, numbers, options, GRADS)
    with jax.enable_x64(True):
        np.testing.assert_allclose(_ours(row, numbers, options, GRADS), expected, rtol=1e-13)


@each
def test_what_is_left_out_is_the_printed_default(row: Convention) -> None:
    # Gradients as small as eps; parameters near 3 are good to 4e-16 a step.
    grads, given = 1e-8 * GRADS, {k: v for k, v in _numbers(row).items() if k not in row.defaults}
    ways = {None: [], True: ["decoupled"], False: ["coupled"]}[row.defaults.get("decoupled")]
    expected = _printed(row, given, ways, grads)
    with jax.enable_x64(True):
        np.testing.assert_allclose(_ours(row, given, [], grads) - W, expected - W, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("formula", "result"),
    [("a b1", 6), ("a - a b1", -4), ("(1 - a) b1^t / (sqrt(a a) + 1)", -3), ("a (a + (b1 / b1))", 6)],
)
def test_the_reader_of_formulas(formula: str, result: float) -> None:
    assert value(formula, {"a": 2.0, "b1": 3.0, "t": 2}) == result


def test_the_reader_of_equations() -> None:
    program = Oracle(["v <- v + g, from s", "m <- g, and v - m in place of v below", "w <- w - lr v", "x: w <- w"], [])
    assert program.assignments == [("v", "v + g"), ("m", "g"), ("w", "w - lr (v - m)")]
    assert program.starts == {"v": "s", "m": "0", "w": "0"}
    with pytest.raises(ValueError, match="not understood: as g is"):
        Oracle(["v <- g, as g is"], [])


# The table -----------------------------------------------------------------------------------------------


def test_every_rule_has_the_paper_s() -> None:
    for rule in RULES:
        assert "paper" in conventions(rule)
        assert len(set(conventions(rule))) == len(conventions(rule))
    assert [rule for rule in RULES if "lecture" in conventions(rule)] == ["momentum"]


@each
def test_a_row_is_whole(row: Convention) -> None:
    assert row is convention(row.name, row.rule)
    assert row.source
    assert any(equation.startswith("w <- ") for equation in row.equations)
    assert all(type(answer) is bool for answer in row.choices.values())
    # Only arguments that are None unless given have a default here; the others are of other conventions.
    parameters = inspect.signature(getattr(optim, row.rule)).parameters.values()
    # What decays is nobody's convention.
    left_out = {p.name for p in parameters if p.default is None} - {"decay_mask"}
    assert set(row.defaults) <= left_out
    for name in left_out - set(row.defaults):
        with pytest.raises(
            ValueError, match=rf"^{name}: got a value, expected None, as convention '{row.name}' has no"
        ):
            getattr(optim, row.rule)(0.1, **{name: 0.5}, convention=row.name)


@pytest.mark.parametrize("rule", RULES)
def test_the_rows_of_a_rule_answer_the_same_questions(rule: str) -> None:
    rows = [convention(name, rule) for name in conventions(rule)]
    assert len({frozenset(row.choices) for row in rows}) == 1
    # Rows that print the same equations are the same rule, and the other way round.
    printed = {(row.equations, *sorted(row.defaults.items())) for row in rows}
    chosen = {(*sorted(row.choices.items()), *sorted(row.defaults.items())) for row in rows}
    assert len(printed) == len(chosen)


@each
def test_printing_shows_everything(row: Convention) -> None:
    title, *equations, defaults, source = str(row).splitlines()
    assert title == f"{row.rule}, convention '{row.name}'"
    assert [line.strip() for line in equations] == list(row.equations)
    assert source == f"  source: {row.source}"
    printed = re.findall(r"(\w+) = (\S+?)(?:,|$)", defaults)
    assert defaults.startswith("  defaults: ")
    words = {"True": "1", "False": "0"}
    assert {name: float(words.get(number) or number) for name, number in printed} == row.defaults
    assert ("none" in defaults) == (not row.defaults)


@each
def test_nobody_changes_a_row(row: Convention) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'name'"):
        row.name = "mine"  # type: ignore[misc]
    for mapping in (row.defaults, row.choices):
        with pytest.raises(TypeError, match="does not support item assignment"):
            mapping["eps"] = 1.0  # type: ignore[index]
    assert isinstance(row.equations, tuple)


@pytest.mark.parametrize(
    ("name", "rule", "error", "match"),
    [
        ("paper", "adm", ValueError, r"rule: got 'adm', expected one of adagrad, adam, .* Did you mean 'adam'\?"),
        ("paper", "RMSprop", ValueError, r"rule: got 'RMSprop', .* Did you mean 'rmsprop'\?"),
        ("paper", "sgd", ValueError, r"rule: got 'sgd', expected one of adagrad, adam, momentum, rmsprop\."),
        ("paper", None, TypeError, r"rule: got None, expected one of adagrad, adam, momentum, rmsprop\."),
        # The two arguments in the wrong order.
        ("momentum", "paper", ValueError, r"rule: got 'paper', expected one of adagrad, adam, momentum, rmsprop\."),
        ("papr", "adam", ValueError, r"convention: got 'papr', expected one of .*paper.* Did you mean 'paper'\?"),
        ("lecture", "adam", ValueError, r"convention: got 'lecture', expected one of .*paper"),
        ("lectures", "momentum", ValueError, r"convention: got 'lectures', .* Did you mean 'lecture'\?"),
        (None, "adam", TypeError, r"convention: got None, expected one of .*paper"),
    ],
)
def test_unknown_names(name: Any, rule: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=f"^{match}"):
        convention(name, rule)


def test_the_conventions_of_no_rule() -> None:
    with pytest.raises(ValueError, match=r"^rule: got 'momentun', expected .* Did you mean 'momentum'\?"):
        conventions("momentun")
