"""The kit's own machinery: verdicts, searches, expectations, and what a report says."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import fnn
from fnn.laws import Broken, DoesNotApply, Law, LawViolation, Report, check_transform, law
from fnn.laws.cases import Case, nonzero, tame, wild


@law()
def always(rule: Any) -> str:
    """It always
    holds."""
    return "seen"


@law()
def never(rule: Any) -> None:
    """It never holds."""
    raise Broken("1 is not 2")


@law("adam")
def of_adam(rule: Any) -> None:
    """It is only Adam's."""


@law()
def not_here(rule: Any) -> None:
    """It says nothing here."""
    raise DoesNotApply("it is Tuesday")


@law()
def crashes(rule: Any) -> None:
    """It crashes."""
    raise ZeroDivisionError("by zero\nand more")


@law(over=tame)
def small(rule: Any, case: Case) -> None:
    """All gradients are below 2."""
    for g in case.gradients:
        if (g["w"] >= 2).any():
            raise Broken(f"{g['w'].max():g} is not below 2")


@law(over=tame)
def nothing_to_search(rule: Any, case: Case) -> None:
    """It is searched, and says nothing."""
    raise DoesNotApply("there is no such number")


def _check(*laws: Law, **options: Any) -> Report:
    return check_transform(fnn.optim.sgd, laws=laws, **options)


def test_a_law_is_its_function() -> None:
    assert (always.name, always.statement, always.needs) == ("always", "It always holds.", ())
    assert of_adam.needs == ("adam",)


@pytest.mark.parametrize(
    ("given", "verdict", "note"),
    [
        (always, "held", "seen"),
        (never, "broken", "1 is not 2"),
        (of_adam, "does not apply", "it does not claim to be adam (like='adam' would)"),
        (not_here, "does not apply", "it is Tuesday"),
        (crashes, "broken", "raises ZeroDivisionError: by zero"),
        (nothing_to_search, "does not apply", "there is no such number"),
    ],
)
def test_verdicts(given: Law, verdict: str, note: str) -> None:
    (row,) = _check(given).rows
    assert (row.law, row.statement, row.verdict, row.note) == (given.name, given.statement, verdict, note)
    assert row.seconds >= 0


def test_the_counterexample_is_the_smallest() -> None:
    row = _check(small)["small"]
    assert row.verdict == "broken"
    assert row.note == "2 is not below 2"
    # One step, and a single number in it, is enough to break the law.
    assert row.counterexample == (
        "params={'b': [0, 0], 'w': [[0, 0, 0], [0, 0, 0]]}, gradients=[{'b': [0, 0], 'w': [[0, 0, 0], [0, 0, 2]]}]"
    )


def test_the_same_counterexample_every_time() -> None:
    assert _check(small)["small"].counterexample == _check(small)["small"].counterexample


def test_expected_violations() -> None:
    report = _check(always, never, expected={"never": "numbers differ"})
    assert report["never"].verdict == "expected"
    assert report["never"].note == "numbers differ (1 is not 2)"
    assert not report.broken
    report.raise_if_broken()


def test_an_expected_violation_that_holds_is_an_error() -> None:
    report = _check(always, expected={"always": "it was so once"})
    assert report["always"].verdict == "outdated"
    with pytest.raises(
        LawViolation, match=r"always is outdated\.\n.*\n  It holds; take it out of expected, which says"
    ):
        report.raise_if_broken()


def test_the_violation_says_all() -> None:
    report = _check(always, small, never)
    with pytest.raises(
        LawViolation, match=r"^fnn\.optim\.sgd: small is broken\.\n  law: All gradients are b"
    ) as caught:
        report.raise_if_broken()
    error = caught.value
    assert (error.law, error.report) == ("small", report)
    assert error.counterexample == report["small"].counterexample
    assert "  smallest counterexample: params=" in str(error)
    assert str(error).endswith("  also: never")
    assert isinstance(error, AssertionError)


def test_the_table_shows_what_is_broken_first() -> None:
    text = str(_check(always, not_here, never))
    title, _, *lines = text.splitlines()
    assert title.startswith("fnn.optim.sgd: 1 broken, 1 held, 1 does not apply (")
    first = [line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "]
    assert first == ["broken", "held", "does"]
    assert "  held            always: seen" in lines
    assert "  does not apply  not_here: it is Tuesday" in lines
    assert lines[:3] == ["  broken          never", "      It never holds.", "      1 is not 2"]
    assert max(map(len, lines)) <= 84


def test_a_row_is_found_by_name() -> None:
    with pytest.raises(KeyError, match="odd"):
        _check(always)["odd"]


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        ({"laws": ["oddd"]}, ValueError, r"^laws: got 'oddd', expected one of .* Did you mean 'odd'"),
        ({"laws": "odd"}, TypeError, r"^laws: got 'odd', expected a list of names or laws\. Give \['odd'\]\."),
        ({"laws": ["odd"], "expected": {"memory": "?"}}, ValueError, r"^expected: got 'memory', expected one of odd\."),
        ({"examples": 0}, ValueError, r"^examples: got 0, expected an integer >= 1\."),
        ({"traits": {"od": True}}, ValueError, r"^traits: got 'od', expected one of .* Did you mean 'odd'"),
        ({"hyperparams": {"beta": 1.0}}, ValueError, r"^hyperparams: got 'beta', expected one of learning_rate\."),
        (
            {"hyperparams": {"learning_rate": lambda t: 0.1}},
            ValueError,
            r"^hyperparams, learning_rate: got a schedule, expected a number\. The laws make schedules of their own\.",
        ),
        ({"like": "adm"}, ValueError, r"^like: got 'adm', expected one of .* Did you mean 'adam'"),
        ({"like": 1}, TypeError, r"^like: got a int, expected one of .*, or a fnn\.optim\.Convention\."),
    ],
)
def test_wrong_calls(options: dict[str, Any], error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        check_transform(fnn.optim.sgd, **options)


@pytest.mark.parametrize(
    ("subject", "error", "match"),
    [
        (3, TypeError, r"^factory_or_tx: got a int, expected a factory such as optax\.adam, or a gradient transf"),
        (lambda learning_rate: 3, TypeError, r"^what .*<lambda> returns: got a int, expected an Optax gradient transf"),
        (
            lambda size: None,
            ValueError,
            r"^hyperparams: got none for size, expected what .* needs\. Give it: hyperpara",
        ),
    ],
)
def test_what_is_no_rule(subject: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        check_transform(subject)


def test_without_hypothesis_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "hypothesis", None)
    with pytest.raises(
        ImportError,
        match=r"^fnn\.laws searches counterexamples with Hypothesis, extra \[laws\]: .* -e '\.\[laws",
    ):
        _check(small)
    assert _check(always)["always"].verdict == "held"


@pytest.mark.parametrize(("cases", "least", "most"), [(tame, 0, 4), (nonzero, 1 / 8, 4), (wild, 0, 1e18)])
def test_cases_are_as_they_say(cases: Any, least: float, most: float) -> None:
    seen: list[Case] = []

    @law(over=cases)
    def look(rule: Any, case: Case) -> None:
        """It looks."""
        seen.append(case)

    assert _check(look, examples=50)["look"].verdict == "held"
    sizes = np.concatenate([np.abs(g["w"]).ravel() for case in seen for g in case.gradients])
    assert {len(case.gradients) for case in seen} == {1, 2, 3}
    assert sizes.min() >= least
    assert sizes.max() <= np.float32(most)
    assert all(case.params["w"].dtype == jnp.float32 and case.params["b"].shape == (2,) for case in seen)
